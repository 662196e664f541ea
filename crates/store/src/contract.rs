//! The store as core's machine and its driver know it: by the trait whose checks
//! every disk must pass.

use ccpeer_core::entry::SignedEntry;
use ccpeer_core::id::{ChunkId, LogId, Seq};
use ccpeer_core::store::{Batch, Recovered};

use crate::{Store, StoreError};

macro_rules! core_store {
    ($kind:ty) => {
        impl ccpeer_core::store::Store for $kind {
            type Error = StoreError;

            fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
                Store::commit(self, batch)
            }
            fn recovered(&self) -> Result<Recovered, StoreError> {
                Store::recovered(self)
            }
            fn range(
                &self,
                log: LogId,
                after: Seq,
                upto: Seq,
                bytes_max: usize,
            ) -> Result<Vec<SignedEntry>, StoreError> {
                Store::range(self, log, after, upto, bytes_max)
            }
            fn put_chunks(&mut self, chunks: &[(ChunkId, Vec<u8>)]) -> Result<(), StoreError> {
                Store::put_chunks(self, chunks)
            }
            fn get_chunk(&self, id: &ChunkId) -> Result<Option<Vec<u8>>, StoreError> {
                Store::get_chunk(self, id)
            }
            fn has(&self, ids: &[ChunkId]) -> Result<Vec<bool>, StoreError> {
                Store::has(self, ids)
            }
        }
    };
}

core_store!(Store);
core_store!(&Store);

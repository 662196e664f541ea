//! Full text over every session that is held: an index beside the store, which
//! follows it by itself, and questions to that index.
//!
//! The index is a cache. It is never waited for by a turn, never an error for
//! whoever asks, and made anew when anything is wrong with it.

mod content;
mod files;
mod fill;
mod index;
mod keeper;
mod query;
mod snippet;
#[cfg(test)]
mod tests;
mod words;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ccpeer_core::id::SessionId;
use tokio::sync::{Notify, watch};

use index::{Fields, Index, IndexError, Sessions};

pub(crate) use fill::Wanted;
pub(crate) use keeper::run;
pub(crate) use query::Question;
pub(crate) use snippet::{Spot, marks, spot};

/// A question waits so long for what came just before it to be indexed.
const FRESHEN_MAX: Duration = Duration::from_millis(800);

/// What the agent keeps of it beside the disk.
pub(crate) struct Search {
    /// How often somebody has asked for the newest.
    asked: AtomicU64,
    bell: Notify,
    standing: watch::Sender<Standing>,
    /// Something is wrong with the index: it is to be made anew.
    anew: AtomicBool,
    way: Arc<fill::Way>,
    open: Mutex<Option<Arc<Opened>>>,
}

/// How the index stands.
#[derive(Debug, Clone, Copy, Default)]
struct Standing {
    /// The last of [`Search::asked`] that was dealt with.
    answered: u64,
    /// Not all of it could be.
    behind: bool,
}

/// The index as it stood when it was opened.
struct Opened {
    searcher: tantivy::Searcher,
    fields: Fields,
    sessions: Sessions,
}

impl Default for Search {
    fn default() -> Self {
        Self {
            asked: AtomicU64::new(0),
            bell: Notify::new(),
            standing: watch::channel(Standing::default()).0,
            anew: AtomicBool::new(false),
            way: Arc::default(),
            open: Mutex::new(None),
        }
    }
}

/// What may be found, in terms of sessions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Among {
    /// Only these.
    pub(crate) sessions: Option<Vec<SessionId>>,
    /// Not said before and not after, in seconds since 1970.
    pub(crate) since: Option<u64>,
    pub(crate) until: Option<u64>,
    /// Only sessions that touched a file whose path ends so.
    pub(crate) file: Option<String>,
}

/// The best place of a session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) session: SessionId,
    found: query::Found,
}

impl Place {
    /// Line in its file, from 1; 0 for the title.
    pub(crate) fn line(&self) -> u64 {
        self.found.line
    }

    /// Where the line begins in its file, in bytes.
    pub(crate) fn offset(&self) -> u64 {
        self.found.offset
    }

    /// Seconds since 1970.
    pub(crate) fn time(&self) -> u64 {
        self.found.time
    }

    /// It is the title.
    pub(crate) fn is_title(&self) -> bool {
        self.found.role == index::Role::Title
    }

    /// Who says it, in one word.
    pub(crate) fn role(&self) -> &'static str {
        match self.found.role {
            index::Role::Title => "title",
            index::Role::User => "user",
            index::Role::Claude => "assistant",
            index::Role::Tool => "tool",
            index::Role::Output => "output",
        }
    }
}

impl Search {
    /// Has what came just now indexed, and waits for it, but not for long. Whether
    /// all of it is in the index.
    pub(crate) async fn freshen(&self) -> bool {
        let ticket = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut standing = self.standing.subscribe();
        self.bell.notify_one();
        let dealt_with = standing.wait_for(|s| s.answered >= ticket);
        match tokio::time::timeout(FRESHEN_MAX, dealt_with).await {
            Ok(Ok(standing)) => !standing.behind,
            _ => false,
        }
    }

    /// Sessions that are in the index, of those that were to come.
    pub(crate) fn way(&self) -> (u64, u64) {
        let get = |n: &AtomicU64| n.load(Ordering::Relaxed);
        (get(&self.way.done), get(&self.way.total))
    }

    /// The places that are meant, best first; nothing where the index cannot be
    /// used, which is seen to. Blocking.
    pub(crate) fn find(
        &self,
        dir: &Path,
        question: &Question,
        among: &Among,
        limit: usize,
    ) -> Option<Vec<Place>> {
        // The library may fall over what is damaged.
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            self.find_in(&*self.opened(dir)?, question, among, limit)
        }));
        match found {
            Ok(Ok(places)) => Some(places),
            Ok(Err(e)) => {
                self.close();
                if !matches!(e, IndexError::Io(_)) {
                    self.anew.store(true, Ordering::SeqCst);
                }
                tracing::debug!(error = %e, "cannot search");
                None
            }
            Err(_panic) => {
                self.close();
                self.anew.store(true, Ordering::SeqCst);
                None
            }
        }
    }

    fn find_in(
        &self,
        opened: &Opened,
        question: &Question,
        among: &Among,
        limit: usize,
    ) -> Result<Vec<Place>, IndexError> {
        let sessions = &opened.sessions;
        let numbers = among.sessions.as_ref().map(|ids| {
            let numbers = ids.iter().filter_map(|id| sessions.by_id.get(id));
            numbers.map(|(number, _)| *number).collect()
        });
        let among = query::Among {
            sessions: numbers,
            since: among.since,
            until: among.until,
            file: among.file.clone(),
        };
        let found = query::find(&opened.searcher, opened.fields, question, &among, limit)?;
        let places = found.into_iter().filter_map(|found| {
            let session = *sessions.by_number.get(&found.session)?;
            Some(Place { session, found })
        });
        Ok(places.collect())
    }

    /// The index, kept open for the next question.
    fn opened(&self, dir: &Path) -> Result<Arc<Opened>, IndexError> {
        let mut open = self.open();
        if let Some(opened) = &*open {
            return Ok(Arc::clone(opened));
        }
        let index = Index::open(dir)?;
        let searcher = index.searcher()?;
        let sessions = Sessions::of(&searcher, index.fields)?;
        let opened = Arc::new(Opened {
            searcher,
            fields: index.fields,
            sessions,
        });
        *open = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// The next question looks at what is there then.
    fn close(&self) {
        *self.open() = None;
    }

    fn open(&self) -> MutexGuard<'_, Option<Arc<Opened>>> {
        // It holds a whole value or none, whoever fell over in between.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! The hand-off document of one transcript, and what it took to make it:
//!
//!     cargo run --release -p ccpeer-formats --example tier0 -- FILE.jsonl
//!
//! Reads the file once, understands it, and composes the document: tier 0 without
//! anything that the agent does for a session besides. The document goes to
//! standard output, the time to standard error. For a cold cache, drop the page
//! cache first.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program at the prompt"
)]

use std::fs::File;
use std::io::Read;
use std::time::Instant;

use ccpeer_core::id::SessionId;
use ccpeer_core::presence::SessionState;
use ccpeer_core::time::Timestamp;
use ccpeer_formats::claude::transcript::Digest;
use ccpeer_formats::snapshot::{Facts, compose};

/// Bytes that are read in one go, as the agent does.
const BUFFER: usize = 256 * 1024;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args_os().nth(1).ok_or("which transcript?")?;
    let begun = Instant::now();
    let mut file = File::open(path)?;
    let mut digest = Digest::default();
    let mut buffer = vec![0; BUFFER];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            n => digest.feed(buffer.get(..n).unwrap_or_default()),
        }
    }
    let summary = digest.summary();
    let facts = Facts {
        session: summary.session.unwrap_or(SessionId([0; 16])),
        project: "project".to_owned(),
        home: None,
        branch: None,
        head: None,
        dirty: None,
        todos: Vec::new(),
        last_assistant_message: None,
        device: "device".to_owned(),
        updated: Timestamp(summary.last_ms.unwrap_or_default()),
        state: SessionState::Idle,
    };
    let snapshot = compose(&summary, &facts).to_bytes();
    let passed = begun.elapsed();
    println!("{}", String::from_utf8_lossy(&snapshot));
    eprintln!(
        "{} bytes, {} records: {} ms",
        summary.bytes,
        summary.records,
        passed.as_millis()
    );
    Ok(())
}

//! What hooks tell, and how it reaches us.

use std::collections::BTreeSet;
use std::path::{Component, Path};
use std::sync::Arc;
use std::time::Duration;

use ccpeer_core::id::SessionId;
use ccpeer_formats::claude::hook::{HookEvent, HookKind};
use ccpeer_store::NoteWrite;

use tokio::sync::mpsc;

use super::{Cause, Driver, Input, Shared};
use crate::inbox::{Accepted, InboxError, Pending};
use crate::pool::blocking;
use crate::states::{self, Word};
use crate::{process, spool};

/// How long a process that said good-bye is waited for.
const GONE_MAX: Duration = Duration::from_secs(15);
/// Events that are dealt with and may stay in the inbox for a while.
const DEALT_MAX: usize = 64;

/// What is not worth a flush of its own: it is written with the next version, or
/// after a while.
#[derive(Default)]
pub(super) struct Later {
    /// Hook events that are dealt with. Until they are out of the inbox they are
    /// heeded once more after a crash, with all that came after them.
    pub(super) dealt: Vec<u64>,
    /// Sessions of which another device holds a newer version. Lost, it costs a word
    /// too many.
    pub(super) held: BTreeSet<SessionId>,
}

impl Later {
    /// It could not be written.
    pub(super) fn again(&mut self, before: Self) {
        self.dealt.extend(before.dealt);
        self.held.extend(before.held);
    }
}

impl Driver {
    /// Deals with an event that is durable in the inbox.
    pub(super) async fn on_hook(&mut self, pending: Pending) {
        if let Some(event) = pending.event {
            self.heed(event).await;
        }
        // Captures that it caused are found again by the sweep at a start, so the
        // event itself need not wait for them; nor is it worth a flush of its own.
        self.later.dealt.push(pending.key);
        if self.later.dealt.len() >= DEALT_MAX {
            self.write_later().await;
        }
    }

    /// Writes down what has waited for a transaction of somebody else's.
    pub(super) async fn write_later(&mut self) {
        let later = std::mem::take(&mut self.later);
        let notes = self.notes_of(&later);
        if notes.is_empty() {
            return;
        }
        let store = Arc::clone(&self.shared.store);
        match blocking(move || store.put_notes(&notes)).await {
            Ok(()) => self.shared.inbox.settled(&later.dealt),
            Err(e) => {
                self.failed("cannot keep notes", &e);
                self.later.again(later);
            }
        }
    }

    pub(super) fn notes_of(&self, later: &Later) -> Vec<NoteWrite> {
        let mut notes = self.shared.inbox.notes_of(&later.dealt);
        notes.extend(later.held.iter().filter_map(|s| self.expiry.note(s)));
        notes
    }

    async fn heed(&mut self, event: HookEvent) {
        let session = event.session;
        tracing::debug!(session = %session.short(), "hook");
        if event
            .transcript_path
            .is_some_and(|path| !self.is_ours(&path))
        {
            tracing::warn!(
                session = %session.short(),
                "a hook names a transcript outside Claude Code's directory: not read"
            );
        }
        let by_program = event.by_program;
        let (word, cause) = match event.kind {
            HookKind::SessionStart { source } => {
                self.begins(session, event.pid, source);
                (Some(Word::Start), None)
            }
            HookKind::Prompt => (Some(Word::Prompt), None),
            HookKind::Stop {
                last_assistant_message,
                ..
            } => (Some(Word::Stop), Some(Cause::Stop(last_assistant_message))),
            HookKind::PreCompact => {
                self.tell_before_compaction(session);
                (None, Some(Cause::Hook))
            }
            HookKind::SubagentStop => (None, Some(Cause::Hook)),
            HookKind::End { reason } => {
                let word = Word::End { reason, by_program };
                (Some(word), Some(Cause::Hook))
            }
            HookKind::Notification | HookKind::Other => (None, None),
        };
        let state = word.map(|word| states::after(self.states.get(&session).copied(), word));
        if let Some(state) = state {
            self.states.insert(session, state);
        }
        if let Some(Word::End { .. }) = word {
            let pid = self.closed(session, event.pid);
            if let Some(state) = state {
                self.ends(session, pid, state).await;
            }
            self.capture_when_gone(session, pid);
        } else {
            self.is_open_again(session);
            self.opened(session, event.pid);
        }
        match cause {
            Some(Cause::Stop(_)) if self.began_early(&session) => {
                self.no_longer_early(session).await;
            }
            Some(cause) => self.want_capture(session, cause, None),
            None => self.state_presence(session).await,
        }
    }

    /// Whether a path that a hook named could be a transcript's. It is only noted:
    /// sessions are looked for by their id, and no path of a hook is opened.
    fn is_ours(&self, path: &str) -> bool {
        let home = &self.shared.home;
        let path = Path::new(path);
        let inside = |root: &Path| path.starts_with(root.join("projects"));
        let plain = path.components().all(|part| part != Component::ParentDir);
        plain && (inside(home.claude()) || home.claude().canonicalize().is_ok_and(|c| inside(&c)))
    }

    /// Claude Code writes its last lines after SessionEnd; they belong to the
    /// version that others will go on from.
    fn capture_when_gone(&self, session: SessionId, pid: Option<u32>) {
        let Some(pid) = pid else { return };
        let tx = self.tx.clone();
        tokio::spawn(async move {
            let _stays = tokio::time::timeout(GONE_MAX, process::ended(pid)).await;
            let _ending = tx.send(Input::Capture(session, Cause::Settled, None)).await;
        });
    }

    /// Takes up events that were taken and not dealt with before a crash.
    pub(super) async fn resume_inbox(&mut self) {
        let shared = Arc::clone(&self.shared);
        match blocking(move || shared.inbox.pending()).await {
            Ok(pending) => {
                for event in pending {
                    self.on_hook(event).await;
                }
            }
            Err(e) => self.failed("cannot read waiting hook events", &e),
        }
    }

    /// Takes what hooks leave while nobody answers, off this task: at once, and
    /// whenever somebody says that there is more. One look at a time.
    pub(super) fn read_spool(&self) {
        let (shared, tx) = (Arc::clone(&self.shared), self.tx.clone());
        shared.spooled.notify_one();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = shared.spooled.notified() => {}
                    () = tx.closed() => return,
                }
                drain_spool(&shared, &tx).await;
            }
        });
    }
}

async fn drain_spool(shared: &Arc<Shared>, tx: &mpsc::Sender<Input>) {
    for path in spool::list(&shared.home) {
        let reader = Arc::clone(shared);
        let file = path.clone();
        let accepted = blocking(move || {
            let body = std::fs::read(&file).ok()?;
            Some(reader.inbox.accept(&body))
        });
        match accepted.await {
            None | Some(Err(InboxError::InFlight)) => continue,
            Some(Ok(accepted)) => {
                if let Accepted::New(pending) = accepted {
                    let _ending = tx.send(Input::Hook(pending)).await;
                }
                let _left_for_next_time = std::fs::remove_file(&path);
            }
            Some(Err(InboxError::Malformed)) => {
                tracing::warn!("a spooled hook event cannot be read; set aside");
                spool::reject(&shared.home, &path);
            }
            // The disk is full or worse: all of it stays where it is.
            Some(Err(InboxError::Store(e))) => {
                tracing::error!(error = %e, "cannot take spooled hook events");
                return;
            }
        }
    }
}

//! Which sessions of this device hold what looks like a secret, so that the user is
//! told of each once: they lie on all paired devices. Counts, kinds and a position
//! are kept, and never what was found.
//!
//! It is looked for in what the search index reads anyway, a while after a turn. A
//! session that was told of is not looked at again. Must not know who reads, nor
//! when.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ccpeer_core::id::SessionId;
use ccpeer_core::manifest::Slot;
use ccpeer_core::time::Timestamp;
use ccpeer_formats::secrets::{self, Counts};
use ccpeer_store::{Namespace, NoteWrite, Store, StoreError};
use serde::{Deserialize, Serialize};

use crate::api::{Finding, SecretsFound};
use crate::view;

/// Keys in [`Namespace::Setting`] begin so; the session's id follows.
const KEY: &[u8] = b"secret:";
/// Sessions that are remembered; of more, nothing is told.
const SESSIONS_MAX: usize = 10_000;
/// Sessions that `status` names one by one.
const TOLD_MAX: usize = 3;
/// The name of the finding in `--json`.
pub(crate) const WORD: &str = "secret_in_session";
/// What to do about one.
const HINT: &str = "change the secret if it should not lie on all of them; \
                    `ccpeer policy secrets` lists what was found and puts this notice away";

/// What was found in a session, the first time that something was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Found {
    kinds: BTreeMap<String, u32>,
    agent: Option<String>,
    line: u64,
    /// A label.
    at_ms: u64,
    seen: bool,
}

/// What is being found in a session while it is read.
#[derive(Debug, Default)]
pub(crate) struct Sighting {
    counts: Counts,
    first: Option<(Option<String>, u64)>,
}

impl Sighting {
    /// Whether nothing was found.
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Looks at a line of one of its files; lines count from 1.
    pub(crate) fn look(&mut self, slot: &Slot, line: u64, bytes: &[u8]) {
        let counts = secrets::count(&String::from_utf8_lossy(bytes));
        if counts.is_empty() {
            return;
        }
        let agent = match slot {
            Slot::Subagent(name) => Some(view::line(name.as_str())),
            _ => None,
        };
        self.first.get_or_insert((agent, line));
        for (kind, n) in counts {
            let sum = self.counts.entry(kind).or_default();
            *sum = sum.saturating_add(n);
        }
    }
}

/// All that is remembered.
pub(crate) struct Exposed(Mutex<BTreeMap<SessionId, Found>>);

impl Exposed {
    /// As it was kept. What cannot be read was never found.
    pub(crate) fn load(store: &Store) -> Result<Self, StoreError> {
        let notes = store.notes_from(Namespace::Setting, KEY, usize::MAX)?;
        let read = |(key, value): (Vec<u8>, Vec<u8>)| {
            let id = SessionId(key.strip_prefix(KEY)?.try_into().ok()?);
            Some((id, serde_json::from_slice(&value).ok()))
        };
        let all = notes.into_iter().map_while(read);
        let all = all.filter_map(|(id, found)| Some((id, found?)));
        Ok(Self(Mutex::new(all.collect())))
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<SessionId, Found>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something was found in a session already.
    pub(crate) fn knows(&self, session: &SessionId) -> bool {
        self.all().contains_key(session)
    }

    /// Remembers what was found. Blocking.
    pub(crate) fn add(
        &self,
        store: &Store,
        session: SessionId,
        sighting: Sighting,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let Some((agent, line)) = sighting.first else {
            return Ok(());
        };
        let kinds = sighting.counts.into_iter();
        let found = Found {
            kinds: kinds.map(|(kind, n)| (kind.word().to_owned(), n)).collect(),
            agent,
            line,
            at_ms: at.0,
            seen: false,
        };
        if self.knows(&session) || self.all().len() >= SESSIONS_MAX {
            return Ok(());
        }
        // Not under the lock: whoever asks must not wait for a disk.
        store.put_notes(&[note(&session, Some(&found))])?;
        tracing::info!(session = %session.short(), line, "something in it looks like a secret");
        self.all().insert(session, found);
        Ok(())
    }

    /// Forgets sessions that are held no more. Blocking.
    pub(crate) fn keep_only(
        &self,
        store: &Store,
        held: &BTreeSet<SessionId>,
    ) -> Result<(), StoreError> {
        let is_gone = |session: &&SessionId| !held.contains(*session);
        let notes: Vec<NoteWrite> = {
            let all = self.all();
            all.keys().filter(is_gone).map(|s| note(s, None)).collect()
        };
        if notes.is_empty() {
            return Ok(());
        }
        store.put_notes(&notes)?;
        self.all().retain(|session, _| held.contains(session));
        Ok(())
    }

    /// The user has seen all of it. Blocking.
    pub(crate) fn saw(&self, store: &Store) -> Result<(), StoreError> {
        let mut seen = self.all().clone();
        seen.retain(|_, found| !std::mem::replace(&mut found.seen, true));
        if seen.is_empty() {
            return Ok(());
        }
        let notes = seen.iter().map(|(session, f)| note(session, Some(f)));
        store.put_notes(&notes.collect::<Vec<_>>())?;
        let mut all = self.all();
        for session in seen.keys() {
            if let Some(found) = all.get_mut(session) {
                found.seen = true;
            }
        }
        Ok(())
    }

    /// All of it, the latest first.
    pub(crate) fn list(&self) -> Vec<SecretsFound> {
        let all = self.all();
        let mut list: Vec<_> = all.iter().collect();
        list.sort_by_key(|(_, found)| std::cmp::Reverse(found.at_ms));
        let told = |(session, found): (&SessionId, &Found)| SecretsFound {
            session_id: session.to_string(),
            kinds: found.kinds.clone(),
            agent: found.agent.clone(),
            line: found.line,
            since: view::time(Timestamp(found.at_ms)),
            seen: found.seen,
        };
        list.into_iter().map(told).collect()
    }

    /// What the user has not seen: the latest ones, and how many more there are.
    pub(crate) fn told(&self) -> Vec<Finding> {
        let new: Vec<SecretsFound> = self.list().into_iter().filter(|f| !f.seen).collect();
        let finding = |message: String, since: &str| Finding {
            kind: WORD.to_owned(),
            device: None,
            message,
            hint: HINT.to_owned(),
            since: since.to_owned(),
        };
        // One more is named as well as counted.
        let named = match new.len() {
            n if n <= TOLD_MAX + 1 => n,
            _ => TOLD_MAX,
        };
        let (named, more) = new.split_at(named);
        let mut out: Vec<Finding> = named
            .iter()
            .map(|found| finding(message(found), &found.since))
            .collect();
        out.extend(more.first().map(|first| {
            let n = more.len();
            let said =
                format!("{n} more sessions that your devices share hold what looks like secrets");
            finding(said, &first.since)
        }));
        out
    }
}

fn message(found: &SecretsFound) -> String {
    let kinds = found.kinds.iter().map(|(kind, n)| of_kind(kind, *n));
    let kinds: Vec<String> = kinds.collect();
    let place = match &found.agent {
        Some(agent) => format!("line {} of its sub-agent {agent}", found.line),
        None => format!("line {}", found.line),
    };
    format!(
        "session {}, which your devices share, holds what looks like {}, first in {place}",
        found.session_id.get(..8).unwrap_or_default(),
        kinds.join(", ")
    )
}

/// "2 tokens"
fn of_kind(kind: &str, n: u32) -> String {
    let (one, many) = match kind {
        "private_key" => ("private key", "private keys"),
        "token" => ("token", "tokens"),
        "web_token" => ("web token", "web tokens"),
        "header" => ("header with a token", "headers with tokens"),
        "login" => ("address with a password", "addresses with passwords"),
        _ => ("password or the like", "passwords and the like"),
    };
    format!("{n} {}", if n == 1 { one } else { many })
}

fn note(session: &SessionId, found: Option<&Found>) -> NoteWrite {
    NoteWrite {
        ns: Namespace::Setting,
        key: [KEY, &session.0].concat(),
        value: found.and_then(|f| serde_json::to_vec(f).ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    const SECRET: &str = "ghp_A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8S9";

    fn session(n: u8) -> SessionId {
        SessionId([n; 16])
    }

    fn sighting() -> Sighting {
        let mut sighting = Sighting::default();
        sighting.look(&Slot::Main, 1, br#"{"content":"nothing here"}"#);
        let line = format!(r#"{{"content":"use {SECRET} and DB_PASSWORD=correcthorse"}}"#);
        sighting.look(&Slot::Main, 7, line.as_bytes());
        sighting.look(&Slot::Main, 9, line.as_bytes());
        sighting
    }

    #[test]
    fn k_x02_a_session_is_told_of_once_by_counts_and_a_position_and_no_content() {
        let world = World::in_memory("ann");
        let load = || Exposed::load(&world.store).unwrap();
        let add = |n: u8| {
            let at = Timestamp(u64::from(n) * 1000);
            load()
                .add(&world.store, session(n), sighting(), at)
                .unwrap();
        };
        assert!(load().told().is_empty());
        load()
            .add(&world.store, session(1), Sighting::default(), Timestamp(1))
            .unwrap();
        assert!(!load().knows(&session(1)), "there was nothing");
        add(1);
        assert!(load().knows(&session(1)));
        let told = load().told();
        assert_eq!(told.len(), 1);
        assert!(
            told[0].message.ends_with(
                "holds what looks like 2 tokens, 2 passwords and the like, first in line 7"
            ),
            "{}",
            told[0].message
        );
        let kept = world.store.notes_from(Namespace::Setting, KEY, 9).unwrap();
        let all = format!(
            "{told:?} {:?} {}",
            load().list(),
            String::from_utf8_lossy(&kept[0].1)
        );
        assert!(!all.contains("ghp_") && !all.contains("correct"), "{all}");

        load().saw(&world.store).unwrap();
        assert!(load().told().is_empty());
        add(1);
        assert!(load().told().is_empty(), "once is enough");
        (2..=10).for_each(add);
        let told = load().told();
        assert_eq!(told.len(), TOLD_MAX + 1);
        assert!(
            told[TOLD_MAX].message.starts_with("6 more sessions"),
            "{told:?}"
        );
        assert_eq!(load().list().len(), 10);
        load()
            .keep_only(&world.store, &BTreeSet::from([session(3)]))
            .unwrap();
        assert_eq!(load().list().len(), 1);
    }

    #[test]
    fn what_cannot_be_read_was_never_found() {
        let world = World::in_memory("ann");
        let bad = NoteWrite {
            value: Some(b"{".to_vec()),
            ..note(&session(1), None)
        };
        world.store.put_notes(&[bad]).unwrap();
        assert!(Exposed::load(&world.store).unwrap().list().is_empty());
    }
}

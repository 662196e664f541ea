//! When mirrors are brought up to date by themselves. A mirror that has nothing new
//! to say costs nothing but a look at what this device has said.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::config::Mirror;
use crate::driver::{Ask, Handle};
use crate::jobs::git::Push;
use crate::pool::blocking;

/// How often somebody looks whether a mirror is due.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// The same while there is no mirror: `git add` brings a new one up to date itself.
const LOOK_EVERY_IDLE: Duration = Duration::from_secs(60);
/// Pauses after failures in a row; the last one stays.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(30),
    Duration::from_secs(300),
    Duration::from_secs(1800),
    Duration::from_secs(3600),
];

#[derive(Default)]
struct Turn {
    /// Not before.
    at: Option<Instant>,
    failures: usize,
    /// What had been said the last time it was up to date.
    said: Option<u64>,
    /// When a file's own clock lets it through.
    pending: Option<Instant>,
}

/// Keeps them up to date until the agent ends. Returns by being dropped.
pub(crate) async fn run(handle: Handle) {
    let mut turns: BTreeMap<String, Turn> = BTreeMap::new();
    let fast = crate::rounds::hurry().unwrap_or(1);
    let mut pause = LOOK_EVERY;
    loop {
        tokio::time::sleep(pause / fast).await;
        if handle.shared.pause.is_on() {
            continue;
        }
        let home = handle.shared.home.clone();
        let mirrors = blocking(move || Mirror::all(&home)).await;
        pause = match mirrors.is_empty() {
            true => LOOK_EVERY_IDLE,
            false => LOOK_EVERY,
        };
        turns.retain(|name, _| mirrors.iter().any(|m| m.name == *name));
        for mirror in mirrors {
            let every = Duration::from_secs(mirror.config.push_every_s) / fast;
            let turn = turns.entry(mirror.name.clone()).or_default();
            if turn.at.is_some_and(|at| Instant::now() < at) || mirror.state.rolled_back() {
                continue;
            }
            let Ok(known) = handle.ask(Ask::Known).await else {
                return;
            };
            // Who may read is said in our own log, too.
            let own = known
                .iter()
                .filter(|(log, _)| log.device == handle.shared.me);
            let said = own.map(|(_, seq)| seq.0).sum::<u64>();
            let waits = turn.pending.is_none_or(|at| Instant::now() < at);
            if turn.said == Some(said) && waits {
                continue;
            }
            match crate::jobs::git::bring(&handle, mirror, Push::default()).await {
                Ok((_, synced)) => {
                    turn.pending = synced.pending.map(|left| Instant::now() + left);
                    turn.failures = 0;
                    turn.said = Some(said);
                    turn.at = Some(Instant::now() + every);
                }
                Err(e) => {
                    let pause = PAUSES.get(turn.failures).or(PAUSES.last());
                    turn.failures += 1;
                    turn.at = Some(Instant::now() + *pause.unwrap_or(&every));
                    tracing::warn!(error = %e.message, "a git mirror was not brought up to date");
                }
            }
        }
    }
}

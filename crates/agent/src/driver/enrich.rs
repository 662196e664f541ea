//! The driver's part of documents that a model improves: it knows which sessions
//! have grown here, carries out what [the plan](crate::enrich) decides, and states
//! the result. Nothing waits for it, least of all a hook.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ccpeer_core::entry::{ContentRef, Payload};
use ccpeer_core::id::{EntryHash, SessionId};
use ccpeer_core::lineage::VersionNode;
use ccpeer_core::presence::SessionState;
use ccpeer_core::time::{Instant, Timestamp};
use ccpeer_store::Namespace;
use tokio::sync::oneshot;

use super::handle::stopping;
use super::{Driver, Handle, Input};
use crate::api::{ApiError, SummaryBy, SummaryPolicy, SummaryStatus};
use crate::enrich::material::{self, Job};
use crate::enrich::run::{Failure, RUN_MAX};
use crate::enrich::{Enrich, RECORDS_MIN, Refused};
use crate::policy::Policy;
use crate::pool::blocking;
use crate::{rounds, view};

/// How often the plan is asked whether something is due.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// However fast time passes, a program gets this long.
const RUN_LEAST: Duration = Duration::from_secs(10);

/// How long a command waits for its turn and the end of it.
const PATIENCE: Duration = Duration::from_secs(300);

/// What is said about it.
pub(crate) enum Enriching {
    /// It is time to ask the plan.
    Look,
    /// The user has chosen.
    Chosen(SummaryPolicy),
    /// The user wants it now.
    Force(SessionId, oneshot::Sender<Enriched>),
    /// A request came to its end.
    Done(SessionId, EntryHash, Result<ContentRef, Failure>),
}

/// What became of the user's wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Enriched {
    /// Nobody is asked.
    Off,
    /// There is a new one.
    Written,
    /// Nothing was said since the last one.
    UpToDate,
    /// It is not done now.
    Refused(String),
    /// It did not work.
    Failed(String),
}

/// The state of it.
#[derive(Default)]
pub(super) struct Telling {
    plan: Enrich,
    by: SummaryBy,
    per_day: u64,
    waiters: BTreeMap<SessionId, Vec<oneshot::Sender<Enriched>>>,
    /// The plan has changed since it was kept.
    unkept: bool,
    /// How many times faster time passes, for tests.
    hurry: u32,
    /// Asks the plan now and then; only while somebody is to be asked.
    clock: Option<tokio::task::AbortHandle>,
}

impl Handle {
    /// Has a session told by a model now, and waits for the end of it.
    pub(crate) async fn enrich(&self, session: SessionId) -> Result<Enriched, ApiError> {
        let (tx, rx) = oneshot::channel();
        self.send(Input::Enrich(Enriching::Force(session, tx)))
            .await?;
        match tokio::time::timeout(PATIENCE, rx).await {
            Ok(answer) => answer.map_err(|_| stopping()),
            Err(_) => Ok(Enriched::Refused("others are written first".to_owned())),
        }
    }
}

impl Driver {
    /// Takes up where an earlier agent stopped.
    pub(super) async fn begin_telling(&mut self) {
        self.enrich.hurry = rounds::hurry().unwrap_or(1);
        let store = Arc::clone(&self.shared.store);
        let kept = blocking(move || {
            let policy = Policy::load(&store)?.summary;
            let note = store.note(Namespace::Setting, Enrich::key());
            Ok::<_, ccpeer_store::StoreError>((policy, note))
        });
        match kept.await {
            Ok((policy, note)) => {
                self.choose_teller(&policy);
                let (now, wall) = self.told_at();
                match note {
                    Ok(None) => {}
                    Ok(Some(bytes)) => self.enrich.plan.recall(&bytes, now, wall),
                    // Not to know what was spent is to have spent it.
                    Err(_) => self.enrich.plan.recall(b"", now, wall),
                }
            }
            Err(e) => self.failed("cannot read who writes summaries", &e),
        }
    }

    /// A machine on which nobody is to be asked is not woken for it.
    fn wind_clock(&mut self) {
        let on = self.enrich.plan.is_on();
        match self.enrich.clock.take() {
            Some(clock) if !on => clock.abort(),
            None if on => {
                let tx = self.tx.clone();
                let every = LOOK_EVERY / self.enrich.hurry.min(20);
                let ticks = async move {
                    while tx.send(Input::Enrich(Enriching::Look)).await.is_ok() {
                        tokio::time::sleep(every).await;
                    }
                };
                self.enrich.clock = Some(tokio::spawn(ticks).abort_handle());
            }
            same => self.enrich.clock = same,
        }
    }

    pub(super) async fn on_enrich(&mut self, what: Enriching) {
        match what {
            Enriching::Look if self.enrich.unkept => {
                if let Err(e) = self.keep_telling().await {
                    tracing::warn!(error = %e, "what waits for a summary is not remembered");
                }
            }
            Enriching::Look => {}
            Enriching::Chosen(policy) => self.choose_teller(&policy),
            Enriching::Force(session, to) => self.force_telling(session, to),
            Enriching::Done(session, version, result) => {
                self.told(session, version, result).await;
            }
        }
        self.tell_next().await;
    }

    fn choose_teller(&mut self, policy: &SummaryPolicy) {
        self.enrich.plan.choose(policy);
        self.enrich.by = policy.by.clone();
        self.enrich.per_day = policy.per_day;
        self.wind_clock();
        if !self.enrich.plan.is_on() {
            let waiters = std::mem::take(&mut self.enrich.waiters);
            for to in waiters.into_values().flatten() {
                drop(to.send(Enriched::Off));
            }
        }
    }

    /// A version was stated.
    pub(super) fn tell_grown(&mut self, session: SessionId) {
        let closed = matches!(self.state_here(&session), SessionState::Ended(_));
        let (now, _) = self.told_at();
        self.enrich.unkept |= self.enrich.plan.grown(session, closed, now);
    }

    /// What Claude remembers of a session is about to become less.
    pub(super) fn tell_before_compaction(&mut self, session: SessionId) {
        let (now, _) = self.told_at();
        self.enrich.plan.compacting(session, now);
    }

    /// How it does.
    pub(super) fn told_summary(&self) -> SummaryStatus {
        let (now, wall) = self.told_at();
        let plan = &self.enrich.plan;
        let (failures, last) = plan.trouble(now);
        SummaryStatus {
            by: match self.enrich.by {
                SummaryBy::Off => "off",
                SummaryBy::Claude => "claude",
                SummaryBy::Command { .. } => "command",
            }
            .to_owned(),
            program: None,
            running: plan.is_running(),
            runs_today: plan.runs_today(),
            per_day: self.enrich.per_day,
            failures,
            last_failure: last.map(|(_, words)| words.to_owned()),
            last_failure_at: last.map(|(ago, _)| view::time(Timestamp(wall.0.saturating_sub(ago)))),
        }
    }

    fn force_telling(&mut self, session: SessionId, to: oneshot::Sender<Enriched>) {
        let answer = match self.teller(&session) {
            _ if !self.enrich.plan.is_on() => Enriched::Off,
            None => Enriched::Refused("no version of it was written on this device".to_owned()),
            Some(head) if self.is_told(&session, head) => Enriched::UpToDate,
            Some(_) => {
                let (now, _) = self.told_at();
                match self.enrich.plan.force(session, now) {
                    Ok(()) => {
                        self.enrich.waiters.entry(session).or_default().push(to);
                        return;
                    }
                    Err(Refused::Hour(n)) => {
                        Enriched::Refused(format!("{n} summaries were written in the last hour"))
                    }
                    Err(Refused::Day(n)) => {
                        Enriched::Refused(format!("{n} summaries were written in the last day"))
                    }
                }
            }
        };
        drop(to.send(answer));
    }

    /// Begins what is due.
    async fn tell_next(&mut self) {
        loop {
            let (now, _) = self.told_at();
            let Some((session, forced)) = self.enrich.plan.due(now) else {
                return;
            };
            let job = self.telling_of(&session, forced);
            let Some(job) = job else {
                self.enrich.plan.forget(&session);
                self.tell_waiters(&session, &Enriched::UpToDate);
                continue;
            };
            self.enrich.plan.began(session, now);
            // What is spent is remembered before it is: a crash must not make it free.
            if let Err(e) = self.keep_telling().await {
                self.failed(
                    "no summary is written, because that cannot be remembered",
                    &e,
                );
                self.end_telling(&session, Err(e.to_string()));
                return;
            }
            let (shared, tx) = (Arc::clone(&self.shared), self.tx.clone());
            tokio::spawn(async move {
                let result = material::write(&shared, &job).await;
                let done = Enriching::Done(job.session, job.version, result);
                let _ending = tx.send(Input::Enrich(done)).await;
            });
            return;
        }
    }

    async fn told(
        &mut self,
        session: SessionId,
        version: EntryHash,
        result: Result<ContentRef, Failure>,
    ) {
        let result = match result {
            Ok(snapshot) => {
                let enriched = Payload::Enriched(ccpeer_core::entry::Enriched {
                    session,
                    version,
                    snapshot,
                });
                self.append(&enriched)
                    .await
                    .map(drop)
                    .map_err(|e| e.to_string())
            }
            Err(why) => {
                tracing::warn!(session = %session.short(), error = %why, "no summary was written");
                Err(why.to_string())
            }
        };
        self.end_telling(&session, result);
        if let Err(e) = self.keep_telling().await {
            self.failed("cannot remember what was spent on summaries", &e);
        }
    }

    fn end_telling(&mut self, session: &SessionId, result: Result<(), String>) {
        let (now, _) = self.told_at();
        let answer = match &result {
            Ok(()) => Enriched::Written,
            Err(why) => Enriched::Failed(why.clone()),
        };
        self.enrich.plan.ended(result, now);
        self.tell_waiters(session, &answer);
    }

    fn tell_waiters(&mut self, session: &SessionId, answer: &Enriched) {
        for to in self.enrich.waiters.remove(session).unwrap_or_default() {
            drop(to.send(answer.clone()));
        }
    }

    /// What is to be told of a session, if there is something.
    fn telling_of(&self, session: &SessionId, forced: bool) -> Option<Job> {
        let head = self.teller(session)?;
        let enough = forced || head.version.meta.records >= RECORDS_MIN;
        if !enough || self.is_told(session, head) {
            return None;
        }
        Some(Job {
            session: *session,
            version: head.id,
            manifest: head.version.manifest?,
            snapshot: head.version.snapshot?,
            by: self.enrich.by.clone(),
            time_max: (RUN_MAX / self.enrich.hurry.max(1)).max(RUN_LEAST),
        })
    }

    /// The newest head that grew here. What was brought from elsewhere and not gone
    /// on with is its author's to tell.
    pub(super) fn teller(&self, session: &SessionId) -> Option<&VersionNode> {
        let record = self.machine.session(session)?;
        let heads = record.heads().into_iter().rev();
        let mut own = heads.filter(|h| h.log.device == self.shared.me);
        own.find(|head| {
            let parents = head.version.parents.iter();
            let mut parents = parents.filter_map(|p| record.node(p));
            let grew = |p: &VersionNode| p.version.manifest != head.version.manifest;
            // Also what was said again after a store was lost is one's own.
            parents.all(|p| grew(p) || p.log.device == self.shared.me)
        })
    }

    /// Whether the transcript is the same as when it was told last.
    fn is_told(&self, session: &SessionId, head: &VersionNode) -> bool {
        let record = self.machine.session(session);
        let told = record.and_then(|r| r.nearest_document(&head.id));
        told.is_some_and(|(of, _)| {
            (of.version.meta.bytes, of.version.meta.records)
                == (head.version.meta.bytes, head.version.meta.records)
        })
    }

    /// The plan's clock, and the wall's.
    fn told_at(&self) -> (Instant, Timestamp) {
        let now = self
            .now()
            .0
            .saturating_mul(u64::from(self.enrich.hurry.max(1)));
        (Instant(now), self.wall())
    }

    async fn keep_telling(&mut self) -> Result<(), ccpeer_store::StoreError> {
        let (now, wall) = self.told_at();
        let store = Arc::clone(&self.shared.store);
        if let Some(note) = self.enrich.plan.note(now, wall) {
            blocking(move || store.put_notes(&[note])).await?;
        }
        self.enrich.unkept = false;
        Ok(())
    }
}

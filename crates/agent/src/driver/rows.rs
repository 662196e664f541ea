//! The rows of `tasks` and `sessions`, and the order of both. A list may have ten thousand of them, and
//! nothing else is answered while it is made: versions are looked at where they lie,
//! and what is the same for many rows is found out once.

use std::collections::BTreeSet;

use ccpeer_core::id::{EntryHash, SessionId};
use ccpeer_core::lineage::{SessionRecord, VersionNode};
use ccpeer_core::manifest::Want;

use super::Driver;
use super::heads::{Authors, Head, Stated};
use crate::api::{self, ApiError, Json, Scope};
use crate::{problem, view};

/// Which sessions are listed.
#[derive(Debug)]
pub(crate) struct Listing {
    /// Those in Claude Code's directory here.
    pub(crate) local: BTreeSet<SessionId>,
    /// Which of them and of the others.
    pub(crate) scope: Scope,
    /// Only those of this project, if one is named.
    pub(crate) project: Option<String>,
}

/// A head, where it lies.
struct Row<'m> {
    record: &'m SessionRecord,
    node: &'m VersionNode,
    stated: Stated,
    /// How many the session has.
    heads: usize,
    is_newest: bool,
}

impl Driver {
    /// Every head, unfinished or not: the newest first, by the label that is shown;
    /// ties by what is really newer.
    fn rows(&self, wanted: impl Fn(&Row<'_>) -> bool) -> Vec<Row<'_>> {
        let mut rows = Vec::new();
        for (_, record) in self.machine.sessions() {
            let lines = record.lines();
            rows.extend(lines.iter().zip(1..).map(|(node, nth)| Row {
                record,
                node,
                stated: self.state_of(record, node, lines.len() == 1),
                heads: lines.len(),
                is_newest: nth == lines.len(),
            }));
        }
        rows.retain(wanted);
        rows.sort_by_key(|row| {
            let node = row.node;
            std::cmp::Reverse((node.version.meta.updated, node.lamport, node.id))
        });
        rows
    }

    fn task_rows(&self, all: bool) -> Vec<Row<'_>> {
        let is_unfinished =
            |row: &Row<'_>| view::is_unfinished(row.stated.state, &row.node.version.meta);
        self.rows(|row| all || is_unfinished(row))
    }

    /// The whole list, whose order may be remembered for its numbers.
    pub(super) fn task_list(&mut self, all: bool, remember: bool) -> Result<Json, ApiError> {
        let rows = self.task_rows(all);
        let mut authors = Authors::new();
        let tasks = rows.iter().zip(1..);
        let tasks = Json::list(tasks.map(|(row, n)| self.task(n, row, &mut authors)));
        if remember {
            let of = |row: &Row<'_>| (row.node.version.session, row.node.id);
            let list: Vec<(SessionId, EntryHash)> = rows.iter().map(of).collect();
            self.shown(list);
        }
        tasks.map_err(problem::unwritten)
    }

    /// The first unfinished ones, and how many there are.
    pub(super) fn first_tasks(&self, max: usize) -> (Vec<api::Task>, usize) {
        let rows = self.task_rows(false);
        let mut authors = Authors::new();
        let first = rows.iter().zip(1..).take(max);
        let first = first.map(|(row, n)| self.task(n, row, &mut authors));
        (first.collect(), rows.len())
    }

    fn task(&self, n: u64, row: &Row<'_>, authors: &mut Authors) -> api::Task {
        let (node, version) = (row.node, &row.node.version);
        let author = self.author(node.log.device, authors);
        let writer = self.writer_of(version);
        let manifest = version.manifest.map(|m| Want::manifest(m.id));
        let session = &version.session;
        let by = (row.heads == 1).then(|| self.taken_over(session)).flatten();
        let meta = &version.meta;
        api::Task {
            n,
            session_id: session.to_string(),
            device: author.name.clone(),
            document_only: writer.is_some(),
            hostname: writer.unwrap_or_else(|| author.hostname.clone()),
            title: view::title(meta),
            project: view::line(&meta.project),
            state: view::state_word(row.stated.state).to_owned(),
            updated: view::time(meta.updated),
            branch: view::line(&meta.branch),
            open_todos: u64::from(meta.open_todos),
            heads: row.heads as u64,
            version: node.id.to_string(),
            complete: manifest.is_none_or(|m| self.machine.is_complete(&m)),
            unreadable: manifest.is_some_and(|m| self.machine.is_unreadable(&m)),
            last_heard: row.stated.last_heard.map(view::time),
            taken_over_by: by.map(|d| self.name_of(&d)),
        }
    }

    /// A session stands in it once, by its newest head.
    pub(super) fn session_list(&self, listing: &Listing) -> Result<Json, ApiError> {
        let mut authors = Authors::new();
        let rows = self.rows(|row| row.is_newest);
        let rows = rows.iter();
        let sessions = rows.filter_map(|row| self.session_row(row, listing, &mut authors));
        Json::list(sessions).map_err(problem::unwritten)
    }

    /// The first ones of all, and how many there are.
    pub(super) fn first_sessions(
        &self,
        local: BTreeSet<SessionId>,
        max: usize,
    ) -> (Vec<api::Session>, usize) {
        let listing = Listing {
            local,
            scope: Scope::All,
            project: None,
        };
        let mut authors = Authors::new();
        let rows = self.rows(|row| row.is_newest);
        let first = rows.iter().take(max);
        let first = first.filter_map(|row| self.session_row(row, &listing, &mut authors));
        (first.collect(), rows.len())
    }

    /// The newest head of each session, and how many it has.
    pub(super) fn newest_heads(&self) -> Vec<(Head, usize)> {
        let mut authors = Authors::new();
        let rows = self.rows(|row| row.is_newest);
        let heads = rows.iter().map(|row| {
            let only = row.heads == 1;
            let head = self.head(row.record, row.node, only, &mut authors);
            (head, row.heads)
        });
        heads.collect()
    }

    fn session_row(
        &self,
        row: &Row<'_>,
        listing: &Listing,
        authors: &mut Authors,
    ) -> Option<api::Session> {
        let (meta, session) = (&row.node.version.meta, &row.node.version.session);
        let author = self.author(row.node.log.device, authors);
        let local = listing.local.contains(session);
        let is_wanted = match listing.scope {
            Scope::All => true,
            Scope::Local => local,
            Scope::Remote => !author.is_me,
        };
        let mut project = listing.project.iter();
        if !is_wanted || !project.all(|wanted| view::is_of_project(meta, wanted)) {
            return None;
        }
        Some(api::Session {
            session_id: session.to_string(),
            project: view::line(&meta.project),
            title: view::title(meta),
            device: author.name.clone(),
            bytes: meta.bytes,
            records: meta.records,
            updated: view::time(meta.updated),
            local,
            remote: !author.is_me,
            state: view::state_word(row.stated.state).to_owned(),
            heads: row.heads as u64,
            share: view::share_word(self.share_here(row.record, session)).to_owned(),
        })
    }
}

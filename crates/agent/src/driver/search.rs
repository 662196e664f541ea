//! What a search asks of the machine: what there is to index, which sessions may be
//! found, and what they are called now.

use ccpeer_core::entry::ContentRef;
use ccpeer_core::id::{DeviceId, EntryHash, SessionId};
use ccpeer_core::lineage::{SessionRecord, VersionNode};
use ccpeer_core::manifest::Want;
use tokio::sync::oneshot;

use super::{Driver, Head};
use crate::search::Wanted;
use crate::view;

/// Lines of one session that are looked into, the newest ones.
const LINES_MAX: usize = 16;

/// A question about what is searched.
pub(crate) enum AskSearch {
    /// What is to be in the index, of all sessions or of these.
    Wanted(Option<Vec<SessionId>>, oneshot::Sender<Vec<Wanted>>),
    /// The sessions of a project, and of a device.
    Among {
        /// Last part of its directory.
        project: Option<String>,
        /// Who wrote a version.
        device: Option<DeviceId>,
        /// Where to.
        to: oneshot::Sender<Vec<SessionId>>,
    },
    /// The lines of these sessions, the newest last.
    Heads(Vec<SessionId>, oneshot::Sender<Vec<Vec<Head>>>),
    /// A list was shown in this order.
    Listed(Vec<(SessionId, EntryHash)>, oneshot::Sender<()>),
}

impl Driver {
    pub(super) fn answer_search(&mut self, ask: AskSearch) {
        match ask {
            AskSearch::Wanted(only, to) => drop(to.send(self.wanted(only))),
            AskSearch::Among {
                project,
                device,
                to,
            } => drop(to.send(self.among(project.as_deref(), device))),
            AskSearch::Heads(sessions, to) => {
                let heads = sessions.iter().map(|session| {
                    let record = self.machine.session(session);
                    let mut heads = record.map_or_else(Vec::new, |r| self.heads(r));
                    let older = heads.len().saturating_sub(LINES_MAX);
                    heads.split_off(older)
                });
                drop(to.send(heads.collect()));
            }
            AskSearch::Listed(list, to) => {
                self.shown(list);
                let _gone = to.send(());
            }
        }
    }

    /// A list was shown: numbers mean its rows until the next one.
    pub(super) fn shown(&mut self, list: Vec<(SessionId, EntryHash)>) {
        if list != self.last_list {
            self.last_list = list;
            self.save(crate::lists::note(&self.last_list));
        }
    }

    fn wanted(&self, only: Option<Vec<SessionId>>) -> Vec<Wanted> {
        let wanted = |session: &SessionId, record: &SessionRecord| {
            let newest = &record.latest()?.version;
            let lines = record.lines();
            let newest_lines = lines.iter().rev().take(LINES_MAX);
            let manifests = newest_lines.filter_map(|node| self.held_of(session, node));
            let title = format!("{}\n{}", view::title(&newest.meta), newest.meta.project);
            Some(Wanted {
                session: *session,
                title,
                updated: newest.meta.updated.0 / 1000,
                manifests: manifests.collect(),
                own: record
                    .nodes()
                    .any(|n| self.machine.current(&n.log.device) == self.shared.me),
            })
        };
        match only {
            Some(only) => {
                let known = only
                    .iter()
                    .filter_map(|s| Some((s, self.machine.session(s)?)));
                known.filter_map(|(s, record)| wanted(s, record)).collect()
            }
            None => {
                let all = self.machine.sessions();
                all.filter_map(|(s, record)| wanted(s, record)).collect()
            }
        }
    }

    /// What is here in full of a line: its newest version, or until that has come the
    /// nearest that it grew from.
    fn held_of(&self, session: &SessionId, node: &VersionNode) -> Option<ContentRef> {
        let held = |m: &ContentRef| self.machine.is_complete(&Want::manifest(m.id));
        let manifest = node.version.manifest;
        manifest.filter(held).or_else(|| {
            let older = self.relatives(session, node.id).grew_from;
            older.into_iter().filter_map(|(_, m)| m).find(held)
        })
    }

    fn among(&self, project: Option<&str>, device: Option<DeviceId>) -> Vec<SessionId> {
        let is_by = |record: &SessionRecord| {
            device.is_none_or(|device| {
                let mut authors = record.nodes().map(|n| self.machine.current(&n.log.device));
                authors.any(|author| author == device)
            })
        };
        let is_of = |record: &SessionRecord| {
            project.is_none_or(|project| {
                let newest = record.latest();
                newest.is_some_and(|n| n.version.meta.project == project)
            })
        };
        let sessions = self.machine.sessions();
        sessions
            .filter(|(_, record)| is_of(record) && is_by(record))
            .map(|(session, _)| *session)
            .collect()
    }
}

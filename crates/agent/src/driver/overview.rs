//! What somebody is told who looks at everything at once: when there was work, and
//! what is on its way here. Only counts and labels; nothing is decided by them.

use std::collections::BTreeMap;

use ccpeer_core::manifest::Want;
use ccpeer_core::time::Timestamp;

use super::Driver;
use crate::api::{Activity, Coming, Lane};
use crate::view;

/// How far back work is told of.
const HOURS: u64 = 14 * 24;
/// Lanes that are told.
const LANES_MAX: usize = 60;
/// Versions on their way that are told.
const COMING_MAX: usize = 100;
const HOUR_MS: u64 = 3600 * 1000;

impl Driver {
    /// Work by device and project, the last hours up to now.
    pub(super) fn activity(&self, now: Timestamp) -> Activity {
        let last = now.0 / HOUR_MS;
        let first = last.saturating_sub(HOURS - 1);
        let mut lanes: BTreeMap<_, BTreeMap<u32, u32>> = BTreeMap::new();
        for (_, record) in self.machine.sessions() {
            for node in record.nodes() {
                let hour = node.version.meta.updated.0 / HOUR_MS;
                // A clock that goes ahead is not shown: it would be all there is.
                if !(first..=last).contains(&hour) {
                    continue;
                }
                let author = self.machine.current(&node.log.device);
                let lane = (author, &node.version.meta.project);
                let hour = u32::try_from(hour - first).unwrap_or(u32::MAX);
                *lanes.entry(lane).or_default().entry(hour).or_default() += 1;
            }
        }
        let mut lanes: Vec<Lane> = lanes
            .into_iter()
            .map(|((device, project), hours)| Lane {
                device: self.name_of(&device),
                project: view::line(project),
                total: hours.values().map(|n| u64::from(*n)).sum(),
                hours: hours.into_iter().collect(),
            })
            .collect();
        lanes.sort_by_key(|lane| std::cmp::Reverse(lane.total));
        let more_lanes = lanes.len() > LANES_MAX;
        lanes.truncate(LANES_MAX);
        Activity {
            first_hour: first,
            hours: HOURS,
            lanes,
            more_lanes,
        }
    }

    /// Heads that are not here as a whole.
    pub(super) fn coming(&self) -> Vec<Coming> {
        let records = self.machine.sessions().map(|(_, record)| record);
        let heads = records.flat_map(|record| self.heads(record));
        let lacking = heads.filter(|head| !head.complete && !head.unreadable);
        lacking
            .take(COMING_MAX)
            .map(|head| {
                let meta = &head.version.meta;
                let want = head.version.manifest.map(|m| Want::manifest(m.id));
                let progress = want.and_then(|w| self.machine.progress(&w));
                let (missing, known) = progress.map_or((0, 0), |p| (p.missing, p.known));
                let holders = want.map(|w| self.machine.holders(&w)).unwrap_or_default();
                Coming {
                    session_id: head.version.session.to_string(),
                    version: head.id.to_string(),
                    title: view::title(meta),
                    project: view::line(&meta.project),
                    missing,
                    known,
                    held_by: holders.iter().map(|d| self.name_of(d)).collect(),
                    device: head.device,
                }
            })
            .collect()
    }
}

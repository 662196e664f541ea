//! The rows, and answers of an agent for all tests of the view.

use super::*;
use crate::tui::words::Seen;
use ccpeer_agent::api::{Expiring, PeerStatus, StoreStatus};

pub(crate) fn id(n: u64) -> String {
    format!("{n:08x}-b7a7-41b7-a51f-ceeccfa4623b")
}

pub(crate) fn task(n: u64, title: &str) -> Task {
    Task {
        n,
        session_id: id(n),
        device: DeviceName {
            id: "00".repeat(32),
            name: "desk".to_owned(),
        },
        hostname: "desk".to_owned(),
        document_only: false,
        title: title.to_owned(),
        project: "shop".to_owned(),
        state: "idle".to_owned(),
        updated: "2026-11-20T10:00:00Z".to_owned(),
        branch: "main".to_owned(),
        open_todos: 0,
        heads: 1,
        version: "00".repeat(32),
        complete: true,
        unreadable: false,
        last_heard: None,
        taken_over_by: None,
    }
}

pub(crate) fn session(n: u64, project: &str) -> Session {
    Session {
        session_id: id(n),
        project: project.to_owned(),
        title: format!("session {n}"),
        device: task(n, "").device,
        bytes: 2048,
        records: 12,
        updated: "2026-11-20T10:00:00Z".to_owned(),
        local: !n.is_multiple_of(3),
        remote: n.is_multiple_of(2),
        state: "ended".to_owned(),
        heads: 1,
        share: "sync".to_owned(),
    }
}

pub(crate) fn device(n: u64, name: &str) -> Device {
    Device {
        id: format!("{n:064x}"),
        name: name.to_owned(),
        os: "linux".to_owned(),
        state: "connected".to_owned(),
        trust: "paired".to_owned(),
        theirs: "accepted".to_owned(),
        offered_by: Vec::new(),
        revoked_by: Vec::new(),
        last_seen: None,
    }
}

pub(crate) fn status() -> Status {
    Status {
        agent: "running".to_owned(),
        version: "0.1.0".to_owned(),
        pid: Some(42),
        device: Some(task(1, "").device),
        listen: vec!["192.0.2.1:4001".to_owned()],
        peers: vec![PeerStatus {
            id: "01".repeat(32),
            name: "lap".to_owned(),
            state: "connected".to_owned(),
            theirs: "accepted".to_owned(),
            path: Some("direct".to_owned()),
            behind: 2,
            rtt_ms: Some(3),
        }],
        store: StoreStatus {
            bytes: 5_000_000,
            sessions: 200,
            chunks: 9000,
        },
        spool: 1,
        hooks_received: 77,
        hooks: "installed".to_owned(),
        claude_dir: "/home/u/.claude".to_owned(),
        home: "/home/u/.local/share/ccpeer".to_owned(),
        last_error: None,
        taken_over: Vec::new(),
        expiring: Expiring::default(),
        findings: Vec::new(),
        mdns: None,
        listen_only: None,
        paused: None,
        relay: None,
        summary: None,
    }
}

pub(crate) fn seen(tasks: Vec<Task>, sessions: Vec<Session>) -> Seen {
    Seen {
        status: status(),
        devices: Vec::new(),
        tasks: Some(tasks),
        sessions: Some(sessions),
    }
}

#[test]
fn sessions_stand_below_their_project_newest_first() {
    let list = [
        session(1, "b"),
        session(2, "a"),
        session(3, "b"),
        session(4, ""),
    ];
    let names = |rows: &[Row]| -> Vec<String> {
        let name = |row: &Row| match row.is_heading {
            true => row.cells[0].clone(),
            false => row.cells[5].clone(),
        };
        rows.iter().map(name).collect()
    };
    let mut rows = sessions(&list, 0);
    let all = "b (2),session 1,session 3,a (1),session 2,(no project) (1),session 4";
    assert_eq!(names(&rows).join(","), all);
    filter(&mut rows, "SESSION 3");
    assert_eq!(names(&rows).join(","), "b (2),session 3");
    let mut rows = sessions(&list, 0);
    filter(&mut rows, "nothing has this");
    assert!(rows.is_empty());
}

#[test]
fn what_is_on_its_way_comes_first() {
    let mut coming = task(7, "a long one");
    coming.complete = false;
    let rows = super::status(&status(), &[task(1, "here"), coming]);
    let shown: Vec<String> = rows.iter().take(3).map(|r| r.cells.join(" ")).collect();
    assert_eq!(shown[0], "coming a long one, from desk");
    assert_eq!(rows[0].task, Some(id(7)));
    assert_eq!(
        shown[1],
        "peer lap: connected, direct, 3 ms, 2 entries to come"
    );
    assert_eq!(shown[2], "agent running, version 0.1.0, process 42");
    assert!(rows.iter().any(|r| r.cells[1].ends_with("1 waiting")));
}

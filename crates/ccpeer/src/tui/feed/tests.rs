//! What is asked of the agent, and how often.

use super::*;
use crate::tui::rows::tests::{session, status, task};

/// An agent that says always the same, and what it was asked.
struct Agent {
    asked: Vec<&'static str>,
    status: Status,
    tasks: Vec<Task>,
}

impl Agent {
    fn new() -> Self {
        let mut status = status();
        status.peers[0].behind = 0;
        Self {
            asked: Vec::new(),
            status,
            tasks: vec![task(1, "x")],
        }
    }

    fn answer(&mut self, request: &Request) -> Result<Json, ApiError> {
        let (name, answer) = match request {
            Request::Status => ("status", Json::of(&self.status)),
            Request::Devices => ("devices", Json::of(&[(); 0])),
            Request::Sessions { .. } => ("sessions", Json::of(&[session(1, "p")])),
            Request::Tasks { .. } => ("tasks", Json::of(&self.tasks)),
            other => panic!("{other:?}"),
        };
        self.asked.push(name);
        Ok(answer.unwrap())
    }

    /// One look: what was asked, and whether the next one is soon.
    fn look(&mut self, eye: &mut Eye, wish: Wish) -> (String, bool) {
        self.asked.clear();
        let (_, pause) = eye.look(wish, &mut |r| self.answer(r)).unwrap();
        (self.asked.join(" "), pause == PACE_BUSY)
    }
}

#[test]
fn a_list_gets_new_numbers_only_when_there_is_news() {
    let (mut agent, mut eye) = (Agent::new(), Eye::default());
    let wish = Wish::default();
    let all = "status devices sessions tasks";
    let mut check = |agent: &mut Agent, wish, want: &str, busy| {
        let (asked, soon) = agent.look(&mut eye, wish);
        assert_eq!((asked.as_str(), soon), (want, busy));
    };
    check(&mut agent, wish, all, true);
    check(&mut agent, wish, "status devices", false);
    // A round trip is never the same twice.
    agent.status.peers[0].rtt_ms = Some(99);
    check(&mut agent, wish, "status devices", false);
    agent.status.hooks_received += 1;
    check(&mut agent, wish, "status devices tasks", true);
    let looked_at = Wish {
        sessions: true,
        ..wish
    };
    check(&mut agent, looked_at, "status devices sessions", false);
    let with_ended = Wish { all: true, ..wish };
    check(&mut agent, with_ended, "status devices tasks", false);
    check(&mut agent, with_ended, "status devices", false);
    // While something is on its way, it is looked at again soon.
    agent.tasks[0].complete = false;
    agent.status.store.chunks += 1;
    check(&mut agent, with_ended, "status devices tasks", true);
    check(&mut agent, with_ended, "status devices tasks", true);
}

#[test]
fn after_a_failure_everything_is_asked_again() {
    let (mut agent, mut eye) = (Agent::new(), Eye::default());
    agent.look(&mut eye, Wish::default());
    let gone = || ApiError::new(ccpeer_agent::api::ErrorCode::Agent, "gone").hint("try");
    let failed = eye.look(Wish::default(), &mut |_| Err(gone()));
    assert_eq!(words(&failed.unwrap_err()), "gone; try");
    let (asked, _) = agent.look(&mut eye, Wish::default());
    assert_eq!(asked, "status devices sessions tasks");
}

#[test]
fn a_wish_wakes_whoever_waits() {
    let desk = Arc::new(Desk::default());
    let (there, heard) = (Arc::clone(&desk), sync_channel(1));
    let waiting = std::thread::spawn(move || {
        there.wait(Duration::from_secs(600));
        heard.0.send(()).unwrap();
    });
    desk.change(|wanted| wanted.show = Some("x".to_owned()));
    heard.1.recv_timeout(Duration::from_secs(30)).unwrap();
    waiting.join().unwrap();
    assert_eq!(desk.open().show.as_deref(), Some("x"));
}

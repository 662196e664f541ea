//! Tests of the plan, minute by minute.

use super::*;

const A: SessionId = SessionId([1; 16]);
const B: SessionId = SessionId([2; 16]);

fn at(minutes: u64) -> Instant {
    Instant(minutes * MINUTE_MS)
}

fn policy() -> SummaryPolicy {
    SummaryPolicy {
        by: SummaryBy::Claude,
        chosen: true,
        every_min: EVERY_MIN,
        per_hour: PER_HOUR,
        per_day: PER_DAY,
    }
}

fn plan() -> Enrich {
    let mut plan = Enrich::default();
    plan.choose(&policy());
    plan
}

/// A request that ends at once.
fn run(plan: &mut Enrich, now: u64, result: Result<(), &str>) {
    let (session, _) = plan.due(at(now)).unwrap();
    plan.began(session, at(now));
    assert_eq!(plan.due(at(now)), None, "two at once");
    plan.ended(result.map_err(str::to_owned), at(now));
}

/// The first minute, from `from` on, at which something is due.
fn next(plan: &Enrich, from: u64) -> Option<u64> {
    let mut plan = plan.clone();
    (from..from + 3000).find(|n| plan.due(at(*n)).is_some())
}

#[test]
fn off_by_default_and_nothing_is_remembered_then() {
    let mut plan = Enrich::default();
    assert!(!plan.grown(A, true, at(0)) && !plan.is_on());
    assert_eq!(next(&plan, 0), None);
    plan.choose(&policy());
    assert_eq!(next(&plan, 0), None);
}

#[test]
fn when_it_is_idle_closed_compacted_or_long_at_work() {
    let mut idle = plan();
    idle.grown(A, false, at(0));
    assert_eq!(next(&idle, 0), Some(3));
    let mut closed = plan();
    closed.grown(A, true, at(0));
    assert_eq!(next(&closed, 0), Some(0));
    let mut compacted = plan();
    compacted.grown(A, false, at(0));
    compacted.compacting(A, at(1));
    assert_eq!(next(&compacted, 1), Some(1));
    let mut busy = plan();
    for minute in 0..90 {
        busy.grown(A, false, at(minute));
        assert_eq!(busy.due(at(minute)).is_some(), minute >= 30, "{minute}");
    }
}

#[test]
fn once_in_half_an_hour_for_a_session_and_only_if_it_grew() {
    let mut plan = plan();
    plan.grown(A, true, at(0));
    run(&mut plan, 0, Ok(()));
    assert_eq!(next(&plan, 0), None);
    plan.grown(A, true, at(5));
    assert_eq!(next(&plan, 5), Some(30));
    plan.compacting(A, at(6));
    assert_eq!(next(&plan, 6), Some(30));
    plan.grown(B, true, at(7));
    assert_eq!(next(&plan, 7), Some(7), "another session is another matter");
}

#[test]
fn force_passes_the_pause_and_the_failures_but_not_the_budget() {
    let mut plan = plan();
    plan.grown(A, true, at(0));
    run(&mut plan, 0, Err("no"));
    for n in 0..5 {
        plan.force(A, at(1)).unwrap();
        assert_eq!(plan.due(at(1)), Some((A, true)), "{n}");
        run(&mut plan, 1, Ok(()));
    }
    assert_eq!(plan.force(A, at(2)), Err(Refused::Hour(6)));
    assert_eq!(plan.force(A, at(59)), Err(Refused::Hour(6)));
    assert_eq!(plan.force(A, at(60)), Ok(()));
}

#[test]
fn what_grows_during_a_request_waits_for_the_next() {
    let mut plan = plan();
    plan.grown(A, true, at(0));
    plan.began(A, at(0));
    plan.grown(A, false, at(1));
    plan.ended(Ok(()), at(2));
    assert_eq!(next(&plan, 2), Some(30));
}

#[test]
fn a_budget_for_an_hour_and_a_day() {
    let mut plan = plan();
    let mut runs = 0;
    // A new session every minute, for two days.
    for minute in 0..2 * 24 * 60u64 {
        let mut id = [9; 16];
        id[..8].copy_from_slice(&minute.to_be_bytes());
        plan.grown(SessionId(id), true, at(minute));
        if plan.due(at(minute)).is_some() {
            runs += 1;
            run(&mut plan, minute, Ok(()));
        }
        assert!(plan.runs_in(HOUR_MS, shifted(at(minute))) <= 6);
        assert!(plan.runs_today() <= 40);
        assert!(plan.waiting.len() <= WAITING_MAX);
    }
    assert_eq!(runs, 80);
}

#[test]
fn failures_make_the_pauses_longer_up_to_a_bound() {
    let mut plan = plan();
    plan.choose(&SummaryPolicy {
        every_min: 5,
        ..policy()
    });
    let mut pauses = Vec::new();
    let mut now = 0;
    for n in 0..9u8 {
        plan.grown(SessionId([n + 10; 16]), true, at(now));
        let due = next(&plan, now).unwrap();
        pauses.push(due - now);
        now = due;
        run(&mut plan, now, Err("offline"));
    }
    assert_eq!(pauses, [0, 5, 10, 20, 40, 80, 160, 320, 360]);
    assert_eq!(plan.trouble(at(now + 1)), (9, Some((MINUTE_MS, "offline"))));
    plan.grown(B, true, at(now));
    let due = next(&plan, now).unwrap();
    run(&mut plan, due, Ok(()));
    assert_eq!(plan.trouble(at(due)), (0, None));
}

#[test]
fn a_session_that_always_fails_is_left_alone_until_it_grows() {
    let mut plan = plan();
    plan.grown(A, true, at(0));
    let mut now = 0;
    for _ in 0..TRIES_MAX {
        now = next(&plan, now).unwrap();
        run(&mut plan, now, Err("rubbish"));
    }
    assert_eq!(next(&plan, now), None);
    plan.grown(A, true, at(now));
    assert!(next(&plan, now).is_some());
}

#[test]
fn what_was_spent_is_remembered_whatever_the_clock_says() {
    let mut plan = plan();
    for n in 0..6 {
        plan.grown(SessionId([n; 16]), true, at(10));
        run(&mut plan, 10, Ok(()));
    }
    plan.grown(A, true, at(11));
    let wall = Timestamp(1_800_000_000_000);
    let note = plan.note(at(20), wall).unwrap().value.unwrap();
    let again = |wall: u64| {
        let mut plan = Enrich::default();
        plan.choose(&policy());
        plan.recall(&note, at(0), Timestamp(wall));
        assert_eq!(plan.runs_today(), 6);
        next(&plan, 0)
    };
    // Ten minutes had passed of the hour; it goes on where it was.
    assert_eq!(again(wall.0), Some(50));
    assert_eq!(again(wall.0 + 30 * MINUTE_MS), Some(20));
    // A clock that went back counts as no time at all.
    assert_eq!(again(wall.0 - DAY_MS), Some(60));
    assert_eq!(again(0), Some(60));
    let mut plan = Enrich::default();
    plan.choose(&policy());
    plan.recall(b"rubbish", at(0), wall);
    plan.grown(A, true, at(0));
    assert_eq!(next(&plan, 0), Some(24 * 60));
}

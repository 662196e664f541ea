//! How long backups are kept, and which times placed files have.

use super::*;

const DAY: u64 = 24 * 3600 * 1000;

/// Places and takes further `count` versions, each over the one before.
fn placements(pair: &mut Pair, work: &Path, code: &Path, from: u32, count: u32, now: Timestamp) {
    let main_a = pair.main(&pair.a, work);
    for n in from..from + count {
        append(&main_a, &turn(work, n));
        let version = pair.carry(true);
        let asked = PlaceRequest {
            now,
            new_id: SessionId(u128::from(n).to_be_bytes()),
            ..request(pair, version, code)
        };
        put(&pair.b, &asked).unwrap();
    }
}

fn backups(world: &World) -> usize {
    fs::read_dir(world.home.backups()).map_or(0, Iterator::count)
}

#[test]
fn a_backup_goes_when_it_is_old_by_every_measure() {
    let mut pair = Pair::small();
    let (work, code) = (project(&pair.a, "work/proj"), project(&pair.b, "code/p2"));
    let start = Timestamp(1_000 * DAY);
    placements(&mut pair, &work, &code, 1, 40, start);
    assert_eq!(backups(&pair.b), 39, "the first one replaced nothing");
    let sweep = |now| sweep_backups(&pair.b.store, &pair.b.home, now).unwrap();
    assert_eq!(sweep(start), 0);
    // A clock that jumps to and fro is no month.
    for n in 0..29 {
        let wrong = if n % 2 == 0 { 400 * DAY } else { 9_000 * DAY };
        assert_eq!(sweep(Timestamp(wrong)), 0, "{n}");
    }
    assert_eq!(backups(&pair.b), 39);
    // Days on which we ran, with a clock that says it is still the same month.
    assert_eq!(sweep(Timestamp(start.0 + 29 * DAY)), 0);
    // Now it is a month by both, and those that can be taken back stay.
    assert_eq!(sweep(Timestamp(start.0 + 31 * DAY)), 7);
    assert_eq!(backups(&pair.b), 32);
    assert_eq!(sweep(Timestamp(start.0 + 400 * DAY)), 0);
    for _ in 0..32 {
        undo(&pair.b.store, &pair.b.home).unwrap();
    }
    assert_eq!(backups(&pair.b), 0);
    let again = undo(&pair.b.store, &pair.b.home);
    assert!(matches!(again, Err(PlaceError::NothingToUndo)));
}

#[test]
fn a_backup_that_nobody_remembers_is_kept_from_now_on() {
    let pair = Pair::small();
    let lost = pair
        .b
        .home
        .backups()
        .join("0123456789abcdef0123456789abcdef");
    let other = pair.b.home.backups().join("settings");
    for dir in [&lost, &other] {
        fs::create_dir_all(dir).unwrap();
        fs::write(dir.join("1"), "mine").unwrap();
    }
    let sweep = |day: u64| sweep_backups(&pair.b.store, &pair.b.home, Timestamp(day * DAY));
    for day in 100..200 {
        sweep(day).unwrap();
    }
    assert_eq!(
        fs::read(lost.join("1")).unwrap(),
        b"mine",
        "one of the last 32"
    );
    assert!(other.join("1").exists(), "what is not ours stays");
}

#[test]
fn k_a08_in_the_background_files_keep_their_times_unless_they_are_old() {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};
    let now = SystemTime::now();
    let label = u64::try_from(now.duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let ago = |days: u64| now - Duration::from_secs(days * 24 * 3600);
    for (days, kept) in [(3, true), (24, true), (26, false), (400, false)] {
        let mut pair = Pair::small();
        for name in files(pair.a.claude()).keys() {
            let path = pair.a.claude().join(name);
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_modified(ago(days)).unwrap();
        }
        let code = project(&pair.b, "code/p2");
        let one = pair.carry(true);
        let asked = PlaceRequest {
            now: Timestamp(label),
            keep_times: true,
            ..request(&pair, one, &code)
        };
        put(&pair.b, &asked).unwrap();
        for name in files(pair.b.claude()).keys() {
            let path = pair.b.claude().join(name);
            let age = fs::metadata(path).unwrap().modified().unwrap().elapsed();
            let age = age.unwrap_or_default().as_secs() / (24 * 3600);
            assert_eq!(age, if kept { days } else { 0 }, "{name}");
        }
        assert_eq!(
            captured(&pair.b, pair.session, EntryHash([9; 32])),
            None,
            "a kept time is no change"
        );
    }
    // A time from the future is none.
    let mut pair = Pair::small();
    let code = project(&pair.b, "code/p2");
    let one = pair.carry(true);
    let asked = PlaceRequest {
        now: Timestamp(1),
        keep_times: true,
        ..request(&pair, one, &code)
    };
    put(&pair.b, &asked).unwrap();
}

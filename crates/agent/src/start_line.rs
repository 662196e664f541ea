//! The one line that may be said at the start of a session: a fixed text of ours,
//! with a count and the beginning of the session's own id. What it says enters a
//! model's context, so that nothing in it comes from another device.

use ccpeer_core::id::SessionId;
use ccpeer_formats::claude::hook::StartSource;

/// What is known at the start of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    /// Another device went on with it, or has taken it over.
    pub(crate) went_on: bool,
    /// Another device has it open.
    pub(crate) open_elsewhere: bool,
    /// Unfinished sessions of other devices.
    pub(crate) unfinished: u64,
}

/// The line, if there is something to say. A warning about the session itself is
/// told whenever it goes on from what is here; the count only to somebody who
/// has just come, and not in the middle of his work.
pub(crate) fn line(session: &SessionId, source: StartSource, known: Known) -> Option<String> {
    let id = session.short();
    let (goes_on, comes) = match source {
        StartSource::Startup | StartSource::Resume | StartSource::Other => (true, true),
        StartSource::Compact => (true, false),
        StartSource::Clear | StartSource::Fork => (false, false),
    };
    if goes_on && known.went_on {
        return Some(format!(
            "ccpeer: another machine went on with this session; what is written here \
             becomes a line of its own. `ccpeer why {id}` says more."
        ));
    }
    if goes_on && comes && known.open_elsewhere {
        return Some(format!(
            "ccpeer: this session is open on another machine, too; what is written on \
             both becomes two lines. `ccpeer why {id}` says more."
        ));
    }
    let count = known.unfinished;
    let sessions = if count == 1 { "session" } else { "sessions" };
    (comes && count > 0).then(|| {
        format!(
            "ccpeer: {count} unfinished {sessions} on other machines. \
             Run `ccpeer tasks` if the user asks."
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCES: [StartSource; 6] = [
        StartSource::Startup,
        StartSource::Resume,
        StartSource::Clear,
        StartSource::Compact,
        StartSource::Fork,
        StartSource::Other,
    ];

    /// Whatever is known, the line is one of three texts of ours.
    #[test]
    fn k_i01_the_line_is_a_template_of_ours() {
        let session: SessionId = "aa21a64c-b7a7-41b7-a51f-ceeccfa4623b".parse().unwrap();
        for source in SOURCES {
            for went_on in [false, true] {
                for open_elsewhere in [false, true] {
                    for unfinished in [0, 1, 2, u64::MAX] {
                        let known = Known {
                            went_on,
                            open_elsewhere,
                            unfinished,
                        };
                        let Some(line) = line(&session, source, known) else {
                            continue;
                        };
                        assert!(line.len() <= 300, "{line}");
                        let plain = line
                            .replace(&session.short(), "ID")
                            .replace(&unfinished.to_string(), "N")
                            .replace("sessions", "session");
                        assert!(
                            [
                                "ccpeer: N unfinished session on other machines. Run `ccpeer \
                                 tasks` if the user asks.",
                                "ccpeer: another machine went on with this session; what is \
                                 written here becomes a line of its own. `ccpeer why ID` says \
                                 more.",
                                "ccpeer: this session is open on another machine, too; what is \
                                 written on both becomes two lines. `ccpeer why ID` says more.",
                            ]
                            .contains(&plain.as_str()),
                            "{line}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn each_way_to_start_is_told_what_concerns_it() {
        let session = SessionId([7; 16]);
        let count = Known {
            went_on: false,
            open_elsewhere: false,
            unfinished: 3,
        };
        let gone_on = Known {
            went_on: true,
            ..count
        };
        let both = Known {
            open_elsewhere: true,
            ..count
        };
        let says = |source, known, word: &str| {
            line(&session, source, known).is_some_and(|l| l.contains(word))
        };
        use StartSource as S;
        for source in SOURCES {
            let comes = matches!(source, S::Startup | S::Resume | S::Other);
            assert_eq!(says(source, count, "3 unfinished"), comes, "{source:?}");
            assert_eq!(says(source, both, "open on another"), comes, "{source:?}");
            let warned = comes || source == S::Compact;
            assert_eq!(says(source, gone_on, "went on"), warned, "{source:?}");
        }
        let nothing = Known {
            unfinished: 0,
            ..count
        };
        assert_eq!(line(&session, S::Startup, nothing), None);
    }
}

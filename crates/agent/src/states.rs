//! Where a session stands after what was learned of it, and whether a list of
//! unfinished tasks shows it. Pure: the table is the tests.
//!
//! The idea is that of a task in a terminal: closing the terminal ends it, a
//! crash keeps it. Where the events do not tell, it is kept: a task too many
//! costs a `ccpeer done`, a task too few costs the work.

use ccpeer_core::presence::{EndReason, SessionState};

/// What was learned of a session here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// A process opened it.
    Start,
    /// The user asked for something.
    Prompt,
    /// The turn has ended.
    Stop,
    /// The registry says that the process is at work.
    Busy,
    /// The registry, or a long silence, says that it waits for its user: also
    /// after a turn that failed or was broken off, of which no hook tells.
    Waiting,
    /// The process said good-bye.
    End {
        /// How.
        reason: EndReason,
        /// It was started by a program, for one task.
        by_program: bool,
    },
    /// The process is gone and said nothing.
    Gone,
    /// The terminal went on with another conversation, and that one has something
    /// to show by now.
    Replaced,
    /// The terminal went on with another conversation that never came to
    /// anything, and was then closed.
    ClosedAfter(EndReason),
    /// The machine went down right after its terminal was closed.
    WentDown,
}

/// The state after that.
pub(crate) fn after(before: Option<SessionState>, word: Word) -> SessionState {
    match word {
        Word::Start | Word::Stop | Word::Waiting => SessionState::Idle,
        Word::Prompt | Word::Busy => SessionState::Live,
        Word::Gone => SessionState::Interrupted,
        Word::End {
            reason: EndReason::Other | EndReason::Closed,
            by_program: true,
        } if before != Some(SessionState::Live) => SessionState::Ended(EndReason::Script),
        Word::End { reason, .. } => SessionState::Ended(reason),
        Word::Replaced => match before {
            Some(SessionState::Ended(EndReason::Clear | EndReason::Switched)) => {
                SessionState::Ended(EndReason::Replaced)
            }
            other => other.unwrap_or(SessionState::Interrupted),
        },
        Word::ClosedAfter(reason) => match before {
            Some(SessionState::Ended(EndReason::Clear | EndReason::Switched)) => {
                SessionState::Ended(reason)
            }
            other => other.unwrap_or(SessionState::Interrupted),
        },
        Word::WentDown => match before {
            Some(SessionState::Ended(EndReason::Closed)) => SessionState::Interrupted,
            other => other.unwrap_or(SessionState::Interrupted),
        },
    }
}

/// Whether a task is unfinished as a person means it.
pub(crate) fn is_unfinished(state: SessionState, open_todos: u32) -> bool {
    match state {
        SessionState::Live | SessionState::Idle | SessionState::Interrupted => true,
        SessionState::Ended(reason) => match reason {
            EndReason::PromptExit
            | EndReason::Logout
            | EndReason::Closed
            | EndReason::Replaced
            | EndReason::Script => open_todos > 0,
            EndReason::Clear | EndReason::Switched | EndReason::Other => true,
            EndReason::Unseen => false,
        },
        SessionState::Done | SessionState::Archived => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(reason: EndReason) -> Word {
        let by_program = false;
        Word::End { reason, by_program }
    }

    fn script(reason: EndReason) -> Word {
        let by_program = true;
        Word::End { reason, by_program }
    }

    /// What happens → where it stands → whether it is listed without and with
    /// open items in its task list.
    #[test]
    fn what_happens_and_what_is_listed() {
        use EndReason as E;
        use SessionState as S;
        use Word as W;
        let turn = [W::Start, W::Prompt, W::Stop];
        let check = |what: &str, then: &[Word], want: SessionState, listed: (bool, bool)| {
            let words = turn.iter().chain(then);
            let state = words.fold(None, |before, word| Some(after(before, *word)));
            assert_eq!(state, Some(want), "{what}");
            let is = (is_unfinished(want, 0), is_unfinished(want, 2));
            assert_eq!(is, listed, "{what}");
        };
        let always = (true, true);
        let todos = (false, true);
        check("waits", &[], S::Idle, always);
        check("in a turn", &[W::Prompt], S::Live, always);
        check("registry: in a turn", &[W::Busy], S::Live, always);
        check(
            "a turn that failed",
            &[W::Prompt, W::Waiting],
            S::Idle,
            always,
        );
        check("crash", &[W::Gone], S::Interrupted, always);
        check(
            "crash in a turn",
            &[W::Prompt, W::Gone],
            S::Interrupted,
            always,
        );
        check(
            "/exit",
            &[end(E::PromptExit)],
            S::Ended(E::PromptExit),
            todos,
        );
        check("/logout", &[end(E::Logout)], S::Ended(E::Logout), todos);
        check(
            "window closed",
            &[end(E::Closed)],
            S::Ended(E::Closed),
            todos,
        );
        check(
            "window closed in a turn",
            &[W::Prompt, end(E::Closed)],
            S::Ended(E::Closed),
            todos,
        );
        check(
            "window closed by a shutdown",
            &[end(E::Closed), W::WentDown],
            S::Interrupted,
            always,
        );
        check(
            "/exit and then a shutdown",
            &[end(E::PromptExit), W::WentDown],
            S::Ended(E::PromptExit),
            todos,
        );
        check("a signal", &[end(E::Other)], S::Ended(E::Other), always);
        check("/clear", &[end(E::Clear)], S::Ended(E::Clear), always);
        check(
            "/clear, and the next one has a turn",
            &[end(E::Clear), W::Replaced],
            S::Ended(E::Replaced),
            todos,
        );
        check(
            "/clear, and the terminal is closed",
            &[end(E::Clear), W::ClosedAfter(E::PromptExit)],
            S::Ended(E::PromptExit),
            todos,
        );
        check(
            "/resume",
            &[end(E::Switched)],
            S::Ended(E::Switched),
            always,
        );
        check(
            "/branch, and the branch has a turn",
            &[end(E::Switched), W::Replaced],
            S::Ended(E::Replaced),
            todos,
        );
        check(
            "left, and opened again before it was replaced",
            &[end(E::Clear), W::Start, W::Replaced],
            S::Idle,
            always,
        );
        check(
            "print mode",
            &[script(E::Other)],
            S::Ended(E::Script),
            todos,
        );
        check(
            "print mode without a terminal",
            &[script(E::Closed)],
            S::Ended(E::Script),
            todos,
        );
        check(
            "print mode, the turn failed",
            &[W::Prompt, script(E::Other)],
            S::Ended(E::Other),
            always,
        );
        check(
            "print mode, killed",
            &[W::Prompt, W::Gone],
            S::Interrupted,
            always,
        );
        for state in [S::Done, S::Archived, S::Ended(E::Unseen)] {
            assert!(!is_unfinished(state, 2), "{state:?}");
        }
    }
}

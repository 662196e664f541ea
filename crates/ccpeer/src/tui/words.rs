//! What the loop, the model and the threads of the view say to each other: what is
//! wanted, what is to be done, and what there is to tell.

use ccpeer_agent::api::{Device, Session, Status, Task};

/// One of the four lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tab {
    Tasks,
    Sessions,
    Devices,
    Status,
}

impl Tab {
    pub(crate) const ALL: [Self; 4] = [Self::Tasks, Self::Sessions, Self::Devices, Self::Status];

    /// So many further, around.
    pub(crate) fn beside(self, steps: usize) -> Self {
        let at = self as usize + steps;
        Self::ALL[at % Self::ALL.len()]
    }
}

/// What is wanted of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Wish {
    /// Also the tasks that are finished.
    pub(crate) all: bool,
    /// The sessions are looked at now.
    pub(crate) sessions: bool,
}

/// Something that changes a session, or brings it somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Job {
    Push(String),
    Pull(String),
    Undo(String),
    Mark { task: String, done: bool },
}

/// What the loop has to do after a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    Quit,
    /// Leave the view and go on with this one.
    Continue(String),
    /// Something else is wanted of the agent.
    Look(Wish),
    Show(String),
    Do(Job),
    /// The terminal shows something else than it should.
    Redraw,
}

/// What the agent said last. What was not asked for is not there.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) status: Status,
    pub(crate) devices: Vec<Device>,
    pub(crate) tasks: Option<Vec<Task>>,
    pub(crate) sessions: Option<Vec<Session>>,
}

/// What the threads behind the view have to tell.
#[derive(Debug)]
pub(crate) enum News {
    Seen(Box<Seen>),
    /// The agent does not answer: why, and what to do.
    Gone(String),
    /// A task that was to be shown; or why not.
    Shown {
        task: String,
        answer: Result<String, String>,
    },
    /// How far a job is.
    Working(String),
    /// What came of a job.
    Did(String),
}

/// What the bottom line is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Bottom {
    Keys,
    Note(String),
    Working(String),
    Filter,
    /// Whether the last placement of this one is to be taken back.
    Undo(String),
}

//! What every command is given: the home, the way to the agent, and the two
//! voices. Standard output is data, standard error is talk.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use ccpeer_agent::api::{Done, Progress, Request};
use ccpeer_agent::client::Client;
use ccpeer_agent::home::Home;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::CommandError;
use crate::json;
use crate::terminal::Bar;

/// Given to every command.
pub(crate) struct Context {
    /// Whose agent.
    pub(crate) home: Home,
}

impl Context {
    /// From the environment of this process.
    ///
    /// # Errors
    /// When nothing says where home is.
    pub(crate) fn new() -> Result<Self, CommandError> {
        Ok(Self {
            home: Home::from_process()?,
        })
    }

    /// Connects to the agent.
    ///
    /// # Errors
    /// Exit code 3 when none answers.
    pub(crate) fn agent(&self) -> Result<Client, CommandError> {
        Ok(Client::connect(&self.home)?)
    }

    /// Asks the agent for something that is answered at once.
    ///
    /// # Errors
    /// What the agent says, or that there is none.
    pub(crate) fn get<T: DeserializeOwned>(&self, request: &Request) -> Result<T, CommandError> {
        Ok(self.agent()?.get(request)?)
    }

    /// Asks for something that takes time: a bar on a terminal, silence in a
    /// pipe. `item` sees each step.
    ///
    /// # Errors
    /// As [`Context::get`], and what `item` returns.
    pub(crate) fn stream<T: DeserializeOwned>(
        &self,
        request: &Request,
        item: &mut dyn FnMut(serde_json::Value) -> Result<(), CommandError>,
    ) -> Result<T, CommandError> {
        let bar = std::cell::RefCell::new(Bar::new());
        let mut failed = None;
        let answer = self.agent()?.ask(
            request,
            &mut |_, value| {
                bar.borrow_mut().clear();
                // The agent goes on with its batch even if we cannot print it.
                if let Err(e) = item(value) {
                    failed.get_or_insert(e);
                }
                Ok(())
            },
            &mut |progress: Progress| bar.borrow_mut().show(&progress),
        );
        bar.borrow_mut().clear();
        match failed {
            Some(e) => Err(e),
            None => Ok(answer?),
        }
    }
}

/// One line of data.
///
/// # Errors
/// When standard output is gone.
pub(crate) fn say(line: impl Display) -> Result<(), CommandError> {
    Ok(writeln!(io::stdout(), "{line}")?)
}

/// One JSON document in one line, as data.
///
/// # Errors
/// When standard output is gone.
pub(crate) fn say_json(value: &impl Serialize) -> Result<(), CommandError> {
    say(json::line(value)?)
}

/// The agent's answer to a question, as data.
///
/// # Errors
/// What the agent says, or that there is none; when standard output is gone.
pub(crate) fn say_answer(context: &Context, request: &Request) -> Result<(), CommandError> {
    say(json::passed_on(&context.agent()?.get_json(request)?)?)
}

/// That something was done: a sentence for people, or the same for programs.
///
/// # Errors
/// When standard output is gone.
pub(crate) fn tell(done: &Done, as_json: bool) -> Result<(), CommandError> {
    if as_json {
        return say_json(done);
    }
    talk(&done.message);
    Ok(())
}

/// One line of talk. Nobody listening is no failure.
pub(crate) fn talk(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Whether somebody sits in front of us who can be asked.
pub(crate) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

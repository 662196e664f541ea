//! The blocking client of the local protocol: what every command is, beneath its
//! flags. Knows nothing of tokio, so that a command starts as fast as a process.

use std::io::{self, Read, Write};
use std::time::Duration;

use ccpeer_core::limits;
use serde::de::DeserializeOwned;

use crate::api::{ApiError, ErrorCode, FRAME_REQUEST, Json, Progress, Reply, Request};
use crate::home::Home;
use crate::ipc::{self, ConnectError, Connection};

/// How long a silent agent is waited for. It reports progress or a heartbeat
/// more often than this while it works.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// One request under way.
pub struct Client {
    connection: Connection,
}

impl Client {
    /// Connects to the agent of this home.
    ///
    /// # Errors
    /// With [`ErrorCode::Agent`] when none answers.
    pub fn connect(home: &Home) -> Result<Self, ApiError> {
        let connection = ipc::connect(home, SILENCE_MAX).map_err(|e| unreachable_agent(&e))?;
        Ok(Self { connection })
    }

    /// Over a connection that waits as long as it was opened for.
    pub(crate) fn over(connection: Connection) -> Self {
        Self { connection }
    }

    /// Whether anything comes back.
    pub(crate) fn is_answered(&mut self) -> bool {
        self.send(&Request::Status).is_ok() && self.reply().is_ok()
    }

    /// Asks and waits for the answer; `item` sees every step of a streamed one,
    /// `progress` every report of progress.
    ///
    /// # Errors
    /// What the agent says, or [`ErrorCode::Agent`] when it goes away.
    pub fn ask<T: DeserializeOwned>(
        &mut self,
        request: &Request,
        item: &mut dyn FnMut(&mut Self, serde_json::Value) -> Result<(), ApiError>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<T, ApiError> {
        let answer = self.ask_json(request, item, progress)?;
        answer.read().map_err(|_| garbled())
    }

    fn ask_json(
        &mut self,
        request: &Request,
        item: &mut dyn FnMut(&mut Self, serde_json::Value) -> Result<(), ApiError>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Json, ApiError> {
        self.send(request)?;
        loop {
            match self.reply()? {
                Reply::Item(step) => item(self, step.read().map_err(|_| garbled())?)?,
                // One without words only says that the agent is still there.
                Reply::Progress(p) if p.what.is_empty() => {}
                Reply::Progress(p) => progress(p),
                Reply::Error(e) => return Err(e),
                Reply::Ok(answer) => return Ok(answer),
            }
        }
    }

    /// Asks for something that is answered at once and only passed on.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub fn get_json(&mut self, request: &Request) -> Result<Json, ApiError> {
        self.ask_json(request, &mut |_, _| Ok(()), &mut |_| {})
    }

    /// Asks for something that is answered at once.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub fn get<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, ApiError> {
        self.ask(request, &mut |_, _| Ok(()), &mut |_| {})
    }

    /// Sends a request without waiting: for `Answer` while `Pair` runs.
    ///
    /// # Errors
    /// [`ErrorCode::Agent`] when the agent is gone.
    pub fn send(&mut self, request: &Request) -> Result<(), ApiError> {
        let body = serde_json::to_vec(request).map_err(|_| garbled())?;
        write_frame(&mut self.connection, FRAME_REQUEST, &body).map_err(|e| lost(&e))
    }

    fn reply(&mut self) -> Result<Reply, ApiError> {
        let (kind, body) = read_frame(&mut self.connection).map_err(|e| lost(&e))?;
        Reply::of_frame(kind, body).ok_or_else(garbled)
    }
}

/// Writes one frame in one call.
///
/// # Errors
/// When the other side is gone or the body is too long.
pub fn write_frame(to: &mut impl Write, kind: u8, body: &[u8]) -> io::Result<()> {
    if body.len() >= limits::API_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "frame is too long",
        ));
    }
    let mut frame = Vec::with_capacity(body.len() + 5);
    let len = u32::try_from(body.len() + 1).unwrap_or(u32::MAX);
    frame.extend_from_slice(&len.to_le_bytes());
    frame.push(kind);
    frame.extend_from_slice(body);
    to.write_all(&frame)?;
    to.flush()
}

/// Reads one frame; its length is checked before anything is allocated.
///
/// # Errors
/// When the other side is gone, silent for too long, or talks rubbish.
pub fn read_frame(from: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut len = [0u8; 4];
    from.read_exact(&mut len)?;
    let len = u32::from_le_bytes(len) as usize;
    if len == 0 || len > limits::API_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "frame has an impossible length",
        ));
    }
    let mut kind = [0u8; 1];
    from.read_exact(&mut kind)?;
    // Memory that nothing comes for is never touched.
    let mut body = Vec::with_capacity(len - 1);
    from.take(len as u64 - 1).read_to_end(&mut body)?;
    if body.len() + 1 != len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((u8::from_le_bytes(kind), body))
}

fn unreachable_agent(e: &ConnectError) -> ApiError {
    let hint = match e {
        ConnectError::Absent => "start it with `ccpeer up`",
        ConnectError::OtherUser => {
            "check who owns CCPEER_HOME, or set it to a directory of your own"
        }
        ConnectError::PathTooLong => "set CCPEER_HOME to a shorter path",
        ConnectError::Io(_) => "see `ccpeer status` and the log in CCPEER_HOME",
    };
    ApiError {
        code: ErrorCode::Agent,
        message: e.to_string(),
        hint: Some(hint.to_owned()),
        choices: Vec::new(),
        elsewhere: None,
    }
}

fn lost(e: &io::Error) -> ApiError {
    let message = match e.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "the agent does not answer",
        _ => "the agent went away in the middle of the answer",
    };
    ApiError {
        code: ErrorCode::Agent,
        message: message.to_owned(),
        hint: Some("see the log in CCPEER_HOME, then `ccpeer down` and `ccpeer up`".to_owned()),
        choices: Vec::new(),
        elsewhere: None,
    }
}

fn garbled() -> ApiError {
    ApiError {
        code: ErrorCode::Agent,
        message: "the agent speaks another version of the local protocol".to_owned(),
        hint: Some("restart it: `ccpeer down`, then `ccpeer up`".to_owned()),
        choices: Vec::new(),
        elsewhere: None,
    }
}

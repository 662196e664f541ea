//! The page in the browser: what it is made of, who may ask, and what is answered.
//!
//! Off unless `ccpeer ui` runs. It shows and changes nothing: there is no request
//! here that states, places or remembers anything. Must not know how bytes travel,
//! nor what a list holds; those are `net::web`'s and the jobs' business.
//!
//! The order of checks: what a head alone tells is dealt with before a request gets
//! here; then the files that anybody may have, then the token, then the form of the
//! question, then the question.

mod files;
pub(crate) mod keys;
mod neighbour;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ccpeer_net::web::{Answer, Answers, Asked, Upload};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::api::{ApiError, ErrorCode, Search, TranscriptAsk};
use crate::driver::Handle;
use crate::jobs::page;
use crate::pool::blocking;

use keys::Keys;

/// A question is short.
const QUESTION_BYTES_MAX: usize = 4096;
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// What every answer says to the browser: nothing from elsewhere, nothing inline,
/// nothing that makes text into code, in nobody's frame, kept nowhere.
pub(crate) const HEADERS: &[(&str, &str)] = &[
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("x-frame-options", "DENY"),
    (
        "permissions-policy",
        "camera=(), geolocation=(), microphone=(), clipboard-read=()",
    ),
];

/// Who answers. A clone is the same desk, for whoever waits until nobody uses it.
#[derive(Clone)]
pub(crate) struct Desk {
    handle: Handle,
    keys: Arc<Mutex<Keys>>,
}

/// A desk, and what lets in whoever has it.
pub(crate) fn desk(handle: &Handle) -> Result<(Desk, Zeroizing<String>), ApiError> {
    let (keys, launch) =
        Keys::new(Instant::now()).map_err(|e| ApiError::new(ErrorCode::Bug, e.to_string()))?;
    let desk = Desk {
        handle: handle.clone(),
        keys: Arc::new(Mutex::new(keys)),
    };
    Ok((desk, launch))
}

impl Answers for Desk {
    async fn answer(&self, asked: Asked, body: &mut Upload) -> Answer {
        if asked.method == "GET"
            && let Some(file) = files::of(&asked.path)
        {
            return Answer::new(200, file.media, file.text);
        }
        let said = asked.token.as_ref().map(|t| t.as_str());
        if asked.method == "POST" && asked.path == "/api/enter" {
            return self.enter(&asked).await;
        }
        if !self.keys().knows(said, Instant::now()) {
            return stranger();
        }
        if asked.method != "POST" || !asked.query.is_empty() {
            return self.refusal(404);
        }
        if !asked.is_json {
            return self.refusal(415);
        }
        let Ok(question) = body.read(QUESTION_BYTES_MAX).await else {
            return self.refusal(413);
        };
        match self.question(&asked.path, &question).await {
            Ok(answer) => answer,
            Err(e) => failed(&e),
        }
    }

    fn refusal(&self, status: u16) -> Answer {
        Answer::new(status, TEXT, "refused\n")
    }
}

impl Desk {
    /// How long it may stay without use.
    pub(crate) fn left(&self) -> Duration {
        self.keys().left(Instant::now())
    }

    /// Lets in whoever has the link, unless it is somebody else's program that has
    /// read it.
    async fn enter(&self, asked: &Asked) -> Answer {
        let said = asked.token.as_ref().map(|t| t.as_str());
        if self.keys().opens(said, Instant::now()) {
            let (from, to) = (asked.from, asked.to);
            if blocking(move || neighbour::is_other_user(from, to)).await {
                tracing::warn!("another user of this machine has the link of the page");
                return stranger();
            }
        }
        let entered = self.keys().enter(said, Instant::now());
        match entered {
            Ok(Some(bearer)) => json(&Entered { bearer: &bearer }),
            Ok(None) => stranger(),
            Err(_) => self.refusal(500),
        }
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn question(&self, path: &str, question: &[u8]) -> Result<Answer, ApiError> {
        let handle = &self.handle;
        match path {
            "/api/overview" => {
                let seen: Seen = parsed(question)?;
                fresh(&page::overview(handle).await?, &seen)
            }
            "/api/sessions" => {
                let seen: Seen = parsed(question)?;
                fresh(&page::sessions(handle).await?, &seen)
            }
            "/api/activity" => {
                let seen: Seen = parsed(question)?;
                fresh(&page::activity(handle).await?, &seen)
            }
            "/api/policy" => {
                let seen: Seen = parsed(question)?;
                fresh(&page::policy(handle).await?, &seen)
            }
            "/api/session" => {
                let Which { session } = parsed(question)?;
                Ok(json(&page::show(handle, session).await?))
            }
            "/api/search" => {
                let search: Search = parsed(question)?;
                Ok(json(&page::search(handle, search).await?))
            }
            "/api/transcript" => {
                let ask: TranscriptAsk = parsed(question)?;
                Ok(json(&page::transcript(handle, ask).await?))
            }
            _ => Err(ApiError::new(ErrorCode::NotFound, "there is no such place")),
        }
    }
}

/// What the page has got for its link.
#[derive(Serialize)]
struct Entered<'t> {
    bearer: &'t str,
}

/// What the page has shown already, if anything.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Seen {
    mark: String,
}

#[derive(Deserialize)]
struct Which {
    session: String,
}

fn parsed<'q, T: Deserialize<'q>>(question: &'q [u8]) -> Result<T, ApiError> {
    serde_json::from_slice(question)
        .map_err(|_| ApiError::new(ErrorCode::Usage, "the question cannot be read"))
}

/// An answer with its mark, or only that it is the one that was seen.
fn fresh(value: &impl Serialize, seen: &Seen) -> Result<Answer, ApiError> {
    let value = serde_json::value::to_raw_value(value)
        .map_err(|_| ApiError::new(ErrorCode::Bug, "an answer cannot be encoded"))?;
    let mark = blake3::hash(value.get().as_bytes()).to_hex();
    if seen.mark == mark.as_str() {
        return Ok(Answer::new(200, JSON, "{\"same\":true}"));
    }
    let body = format!("{{\"mark\":\"{mark}\",\"value\":{}}}", value.get());
    Ok(Answer::new(200, JSON, body))
}

fn json(value: &impl Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(body) => Answer::new(200, JSON, body),
        Err(_) => Answer::new(500, TEXT, "refused\n"),
    }
}

/// The one answer to everybody who has shown nothing that lets in.
fn stranger() -> Answer {
    Answer::new(401, TEXT, "refused\n")
}

fn failed(e: &ApiError) -> Answer {
    let status = match e.code {
        ErrorCode::NotFound | ErrorCode::Ambiguous => 404,
        ErrorCode::Usage => 400,
        ErrorCode::Incomplete | ErrorCode::Unplaceable | ErrorCode::Refused => 409,
        ErrorCode::Agent => 503,
        _ => 500,
    };
    Answer { status, ..json(e) }
}

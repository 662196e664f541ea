//! The HTTP server for the unmodified claude-sync-sessions extension: its contract,
//! with the answers of its reference server.
//!
//! Off unless `ccpeer serve` runs. What a client pushes becomes a version that this
//! device states, and any session held here can be pulled as a bundle. Must not
//! know how bytes travel, nor what a bundle looks like inside.

pub(crate) mod give;
mod route;
pub(crate) mod tokens;

use std::collections::BTreeSet;
use std::sync::Arc;

use ccpeer_core::entry::ContentRef;
use ccpeer_core::id::SessionId;
use ccpeer_core::limits;
use ccpeer_core::manifest::Manifest;
use ccpeer_formats::bundle_v1::http::{self, Listed, Refusal};
use ccpeer_formats::bundle_v1::{Bounds, OpenError};
use ccpeer_formats::secrets;
use ccpeer_net::web::{Answer, Answers, Asked, Upload, UploadError};
use ccpeer_store::Store;
use tokio::sync::mpsc;

use crate::api::{ApiError, ErrorCode, Gate, ServeEvent, Share};
use crate::driver::{Ask, Handle, Head, wall};
use crate::intake::{self, NotTaken};
use crate::mirror::gate;
use crate::policy::Policy;
use crate::pool::blocking;
use crate::{problem, view};

use give::{Form, GiveError};
use route::{Route, route};

/// What is no JSON, as the reference server types its refusals.
const TEXT: &str = "text/plain; charset=utf-8";

/// What all servers of an agent share.
#[derive(Debug, Default)]
pub(crate) struct Serving {
    /// Tokens are changed by one at a time.
    pub(crate) tokens: tokio::sync::Mutex<()>,
    /// Bundles are taken in and made by one at a time: each may be large.
    pub(crate) bundles: tokio::sync::Mutex<()>,
}

/// Who answers.
pub(crate) struct Desk {
    pub(crate) handle: Handle,
    /// What is told to whoever started the server.
    pub(crate) events: mpsc::Sender<ServeEvent>,
}

impl Answers for Desk {
    async fn answer(&self, asked: Asked, body: &mut Upload) -> Answer {
        let route = route(&asked.method, &asked.path, &asked.query);
        match route {
            Route::Health => return json(http::OK),
            Route::Nowhere => return Answer::new(404, TEXT, "404 page not found\n"),
            Route::Method(allow) => {
                return Answer {
                    allow: Some(allow),
                    ..Answer::new(405, TEXT, "Method Not Allowed\n")
                };
            }
            _ => {}
        }
        let client = match self.client(&asked).await {
            Ok(Some(client)) => client,
            Ok(None) => {
                tracing::info!(from = %asked.from.ip(), "refused: no token, or none that is known");
                return said(Refusal::Token);
            }
            Err(e) => return self.failed(&e),
        };
        if self.handle.shared.pause.is_on() {
            return refuse(503, "ccpeer is paused");
        }
        match route {
            Route::Push(Ok(pushed)) => match self.push(pushed, &client, body).await {
                Ok(()) => json(http::OK),
                Err(answer) => *answer,
            },
            Route::Push(Err(refusal)) => {
                self.tell_refused(&client, &refusal.to_string());
                said(refusal)
            }
            Route::List => match self.list().await {
                Ok(list) => json(http::list(list)),
                Err(e) => self.failed(&e),
            },
            Route::Get(prefix) => match self.get(prefix.as_deref(), &client).await {
                Ok(Given::Bundle(bundle)) => Answer::new(200, http::BUNDLE_TYPE, bundle),
                Ok(Given::Held) => refuse(403, "held back: it holds what looks like a secret"),
                Ok(Given::Nothing) => said(Refusal::NotFound),
                Err(e) => self.failed(&e),
            },
            Route::Delete => refuse(403, "sessions are not deleted from here"),
            Route::Admin => refuse(403, "admin access required"),
            Route::Health | Route::Method(_) | Route::Nowhere => self.refusal(500),
        }
    }

    fn refusal(&self, status: u16) -> Answer {
        refuse(
            status,
            match status {
                403 => "not for web pages, and not under this name",
                503 => "too busy",
                _ => "refused",
            },
        )
    }
}

/// What a client gets who asks for a session.
enum Given {
    Bundle(Vec<u8>),
    /// It holds what looks like a secret, and that does not leave.
    Held,
    /// There is none such.
    Nothing,
}

/// Whether something in a version looks like a secret. What cannot be read is not
/// given, either.
fn is_held(store: &Store, head: &Head, manifest: ContentRef) -> Result<bool, GiveError> {
    let meta = &head.version.meta;
    let said = format!("{}\n{}\n{}", meta.title, meta.project, meta.branch);
    if secrets::holds(&said) {
        return Ok(true);
    }
    let bytes = store.get_chunk(&manifest.id)?;
    let bytes = bytes.ok_or(GiveError::Incomplete)?;
    let manifest = Manifest::from_bytes(&bytes).map_err(|_| GiveError::Unreadable)?;
    let found = gate::in_files(store, &manifest, &BTreeSet::new(), &|| false)?;
    found.ok_or(GiveError::Incomplete)
}

impl Desk {
    /// Whose token came with a request.
    async fn client(&self, asked: &Asked) -> Result<Option<String>, ApiError> {
        let Some(said) = asked.token.clone() else {
            return Ok(None);
        };
        let store = Arc::clone(&self.handle.shared.store);
        let found = blocking(move || {
            let tokens = tokens::load(&store)?;
            Ok(tokens::whose(&tokens, &said).map(|t| t.name.clone()))
        });
        found.await.map_err(|e| problem::store(&e))
    }

    async fn push(
        &self,
        session: SessionId,
        client: &str,
        body: &mut Upload,
    ) -> Result<(), Box<Answer>> {
        // Before its body: so many bodies would not fit into memory.
        let _turn = self.handle.shared.serving.bundles.lock().await;
        let packed = match body.read(limits::SERVE_PUSH_BYTES_MAX).await {
            Ok(packed) => packed,
            Err(e) => {
                self.tell_refused(client, &e.to_string());
                return Err(Box::new(match e {
                    UploadError::TooLarge => said(Refusal::TooLarge),
                    UploadError::TooSlow => refuse(408, "the upload did not come in time"),
                    UploadError::Broken => refuse(400, "the upload broke off"),
                }));
            }
        };
        let bounds = Bounds {
            packed_bytes_max: limits::SERVE_PUSH_BYTES_MAX,
            ..Bounds::default()
        };
        match intake::take_in(&self.handle, session, packed, bounds).await {
            Ok(taken) => {
                tracing::info!(%session, client, result = taken.result, "pushed");
                self.tell(ServeEvent::Pushed {
                    session_id: session.to_string(),
                    title: taken.title,
                    client: client.to_owned(),
                    result: taken.result.to_owned(),
                });
                Ok(())
            }
            Err(NotTaken::Bundle(e)) => {
                self.tell_refused(client, &e.to_string());
                Err(Box::new(match e {
                    OpenError::TooLong(_) => said(Refusal::TooLarge),
                    _ => said(Refusal::Bundle),
                }))
            }
            Err(NotTaken::Content(e)) => {
                let e = ApiError::new(ErrorCode::Disk, e.to_string());
                Err(Box::new(self.failed(&e)))
            }
            Err(NotTaken::Other(e)) => Err(Box::new(self.failed(&e))),
        }
    }

    /// Every session that is held here whole, once.
    async fn list(&self) -> Result<Vec<Listed>, ApiError> {
        let heads = self.heads().await?;
        let gate = self.gate().await?;
        let shown = |text: &str| match gate {
            Gate::Warn => text.to_owned(),
            Gate::Redact | Gate::Hold => secrets::redact(text),
        };
        Ok(heads
            .iter()
            .map(|(head, _)| Listed {
                session: head.version.session,
                project: shown(&head.version.meta.project),
                first_prompt: shown(&view::title(&head.version.meta)),
                updated: head.version.meta.updated,
            })
            .collect())
    }

    /// The bundle of the newest session whose id begins so.
    async fn get(&self, prefix: Option<&str>, client: &str) -> Result<Given, ApiError> {
        let Some(prefix) = prefix else {
            return Ok(Given::Nothing);
        };
        let heads = self.heads().await?;
        let mut fitting = heads.into_iter();
        let found = fitting.find(|(h, _)| http::begins(&h.version.session, prefix));
        let Some((head, manifest)) = found else {
            return Ok(Given::Nothing);
        };
        let session = head.version.session;
        let device = self.handle.ask(Ask::Me).await?.name;
        let gate = self.gate().await?;
        let _turn = self.handle.shared.serving.bundles.lock().await;
        let store = Arc::clone(&self.handle.shared.store);
        let made = blocking(move || {
            let form = match gate {
                Gate::Hold if is_held(&store, &head, manifest)? => return Err(GiveError::Secret),
                Gate::Hold | Gate::Warn => Form::Whole,
                Gate::Redact => Form::Redacted,
            };
            give::bundle(&store, (manifest, form), &device, wall())
        });
        match made.await {
            Ok(bundle) => Ok(Given::Bundle(bundle)),
            Err(e @ GiveError::Secret) => {
                tracing::info!(%session, "held back: it holds what looks like a secret");
                self.tell_refused(client, &e.to_string());
                Ok(Given::Held)
            }
            Err(GiveError::Store(e)) => Err(problem::store(&e)),
            Err(e) => {
                tracing::warn!(%session, error = %e, "cannot be given as a bundle");
                Ok(Given::Nothing)
            }
        }
    }

    /// What becomes of secrets on their way to a client.
    async fn gate(&self) -> Result<Gate, ApiError> {
        let store = Arc::clone(&self.handle.shared.store);
        let policy = blocking(move || Policy::load(&store)).await;
        policy.map(|p| p.serve_gate).map_err(|e| problem::store(&e))
    }

    /// The line of each session that a client is given, the newest first: of
    /// several the newest that is here.
    async fn heads(&self) -> Result<Vec<(Head, ContentRef)>, ApiError> {
        let sessions = self.handle.ask(|to| Ask::Held(None, to)).await?;
        let mut out = Vec::new();
        for lines in sessions {
            let whole = lines.into_iter().rev().map(|held| held.head);
            let mut whole = whole.filter(|h| h.complete && !h.unreadable && h.share == Share::Sync);
            let fits = |h: &Head| h.version.meta.bytes <= limits::SERVE_PULL_BYTES_MAX;
            let found = whole.find_map(|h| {
                let manifest = h.version.manifest.filter(|_| fits(&h))?;
                Some((h, manifest))
            });
            out.extend(found);
        }
        out.sort_by_key(|(h, _)| std::cmp::Reverse(h.version.meta.updated));
        Ok(out)
    }

    fn tell(&self, event: ServeEvent) {
        // Nobody waits for whoever reads along.
        let _dropped = self.events.try_send(event);
    }

    fn tell_refused(&self, client: &str, reason: &str) {
        tracing::warn!(client, reason, "a push was refused");
        self.tell(ServeEvent::Refused {
            client: client.to_owned(),
            reason: reason.to_owned(),
        });
    }

    fn failed(&self, e: &ApiError) -> Answer {
        tracing::error!(error = %e.message, "a request could not be answered");
        match e.code {
            // It stops: another time will do.
            ErrorCode::Agent => refuse(503, "the agent is stopping"),
            ErrorCode::Disk => refuse(507, "it could not be kept"),
            _ => refuse(500, "internal error"),
        }
    }
}

fn json(body: impl Into<Vec<u8>>) -> Answer {
    Answer::new(200, http::JSON_TYPE, body)
}

/// A refusal of the reference server.
fn said(refusal: Refusal) -> Answer {
    Answer::new(refusal.status(), TEXT, refusal.body())
}

/// One that it does not know, in its form.
fn refuse(status: u16, why: &str) -> Answer {
    let body = serde_json::json!({ "error": why });
    Answer::new(status, TEXT, body.to_string())
}

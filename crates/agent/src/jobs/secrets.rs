//! `policy secrets`: what becomes of what looks like a secret on its way to a
//! bridge, and that the user has seen where there is some.

use std::sync::Arc;

use super::git;
use crate::api::{ApiError, BridgeGate, ErrorCode, Gate};
use crate::driver::Handle;
use crate::mirror::MirrorError;
use crate::mirror::config::Mirror;
use crate::mirror::run::without_login;
use crate::policy::Policy;
use crate::pool::blocking;
use crate::problem;

/// The bridge that is no mirror.
const SERVE: &str = "serve";

/// Every bridge and how it is dealt with.
pub(super) async fn bridges(handle: &Handle, policy: &Policy) -> Vec<BridgeGate> {
    let of = |mirror: &Mirror| BridgeGate {
        bridge: mirror.name.clone(),
        kind: mirror.kind().to_owned(),
        url: Some(without_login(&mirror.config.url)),
        how: mirror.config.gate(),
    };
    let serve = BridgeGate {
        bridge: SERVE.to_owned(),
        kind: SERVE.to_owned(),
        url: None,
        how: policy.serve_gate,
    };
    let mirrors = git::load(handle).await;
    std::iter::once(serve)
        .chain(mirrors.iter().map(of))
        .collect()
}

/// Changes how one is dealt with. That of a mirror is kept with it, that of the
/// server in the policy, which the caller keeps.
pub(super) async fn change(
    handle: &Handle,
    policy: &mut Policy,
    bridge: &str,
    how: Gate,
) -> Result<(), ApiError> {
    if bridge == SERVE {
        policy.serve_gate = how;
        return Ok(());
    }
    let _turn = handle.shared.mirrors.lock().await;
    let mut mirror = git::named(handle, bridge).await?;
    if mirror.config.encrypted && how == Gate::Redact {
        return Err(ApiError::new(
            ErrorCode::Usage,
            "nothing can be taken out of an encrypted mirror: what is in it is signed",
        )
        .hint("`hold` keeps such sessions out of it; your own devices alone can read it"));
    }
    mirror.config.secrets = Some(how);
    let kept = blocking(move || mirror.save_config()).await;
    kept.map_err(|e| MirrorError::Disk(e).into())
}

/// The user has seen all that was found.
pub(super) async fn seen(handle: &Handle) -> Result<(), ApiError> {
    let shared = Arc::clone(&handle.shared);
    let kept = blocking(move || shared.exposed.saw(&shared.store)).await;
    kept.map_err(|e| problem::store(&e))
}

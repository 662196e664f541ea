//! `accept` and `revoke`: the user's word about other devices, as entries of our
//! own log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ccpeer_core::entry::{Payload, TrustChange};
use ccpeer_core::id::DeviceId;

use crate::api::{Accepted, ApiError, Device, ErrorCode};
use crate::driver::{Ask, Handle};

/// How long an accepted device may take to show up before the answer is given.
const LINK_MAX: Duration = Duration::from_millis(1500);
/// How often it is looked whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Takes a device in that another one offers, or that another one has revoked.
pub(super) async fn accept(handle: &Handle, device: String) -> Result<Accepted, ApiError> {
    let acceptance = handle.ask(|to| Ask::Acceptance(device, to)).await??;
    let changed = !acceptance.changes.is_empty();
    for change in acceptance.changes {
        handle.append(Payload::Trust(change)).await?;
    }
    Arc::clone(&handle.shared).net.dial_now();
    let begun = Instant::now();
    loop {
        let devices: Vec<Device> = handle.ask(Ask::Devices).await?;
        let row = devices.into_iter().find(|d| d.id == acceptance.device.id);
        let theirs = row.map_or_else(|| "unknown".to_owned(), |d| d.theirs);
        let settled = matches!(theirs.as_str(), "accepted" | "revoked");
        if settled || !changed || begun.elapsed() > LINK_MAX {
            return Ok(Accepted {
                device: acceptance.device,
                changed,
                theirs,
            });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Takes a device out for good.
pub(super) async fn revoke(handle: &Handle, device: String) -> Result<String, ApiError> {
    let device = handle.ask(|to| Ask::Device(device, to)).await??;
    let id: DeviceId = device
        .id
        .parse()
        .map_err(|_| ApiError::new(ErrorCode::Bug, "a device id does not parse"))?;
    let revoke = Payload::Trust(TrustChange::Revoke(id));
    handle.append(revoke).await?;
    Ok(format!(
        "{} is out for good; what it already has cannot be called back",
        device.name
    ))
}

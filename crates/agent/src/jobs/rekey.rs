//! `rekey`: a new key for this device, or a new device for a copy of a home. The
//! driver signs the old key's last word; here the files change places.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::api::{ApiError, Device, DeviceName, ErrorCode, RekeyHow, Rekeyed};
use crate::driver::{Ask, Handle, Input};
use crate::keys::{self, DeviceKey, KeyError};
use crate::pool::blocking;
use crate::server::Out;

/// Connected devices have this long to hear of the new key.
const TOLD_MAX: Duration = Duration::from_secs(10);
/// How often it is looked whether they have.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Replaces the key, or says that it may stay. When it has been replaced, the
/// server starts the agent anew once this was answered.
pub(super) async fn rekey(handle: &Handle, out: &Out, how: RekeyHow) -> Result<Rekeyed, ApiError> {
    let me = handle.ask(Ask::Me).await?;
    let paired: Vec<Device> = handle.ask(Ask::Devices).await?;
    let paired = paired.into_iter().filter(|d| d.trust == "paired").collect();
    match how {
        RekeyHow::Keep => {
            handle.ask(Ask::Settle).await?;
            Ok(Rekeyed {
                device: me,
                replaced: None,
                told: Vec::new(),
                untold: Vec::new(),
            })
        }
        RekeyHow::Roll => roll(handle, out, me, paired).await,
        RekeyHow::Separate => separate(handle, me).await,
    }
}

async fn roll(
    handle: &Handle,
    out: &Out,
    me: DeviceName,
    paired: Vec<Device>,
) -> Result<Rekeyed, ApiError> {
    let next = draw(handle).await?;
    let device = next.device;
    let (tx, rx) = oneshot::channel();
    handle.send(Input::Roll(Box::new(next.signing), tx)).await?;
    rx.await
        .map_err(|_| ApiError::new(ErrorCode::Agent, "the agent is stopping"))??;
    let told = wait(handle, out, &paired).await?;
    switch(handle).await?;
    let (told, untold) = paired
        .into_iter()
        .map(|d| DeviceName {
            id: d.id,
            name: d.name,
        })
        .partition(|d| told.contains(&d.id));
    Ok(Rekeyed {
        device: DeviceName {
            id: device.to_string(),
            name: me.name,
        },
        replaced: Some(me.id),
        told,
        untold,
    })
}

async fn separate(handle: &Handle, me: DeviceName) -> Result<Rekeyed, ApiError> {
    let next = draw(handle).await?;
    let device = next.device.to_string();
    handle.ask(Ask::Settle).await?;
    switch(handle).await?;
    Ok(Rekeyed {
        device: DeviceName {
            id: device,
            name: me.name,
        },
        replaced: Some(me.id),
        told: Vec::new(),
        untold: Vec::new(),
    })
}

async fn draw(handle: &Handle) -> Result<DeviceKey, ApiError> {
    let path = handle.shared.home.next_key();
    let drawn = blocking(move || DeviceKey::create(&path)).await;
    drawn.map_err(|e| not_written(&e))
}

/// The old key goes aside, the new one takes its place.
async fn switch(handle: &Handle) -> Result<(), ApiError> {
    let (home, me) = (handle.shared.home.clone(), handle.shared.me);
    let switched = blocking(move || keys::switch(&home, &me)).await;
    switched.map_err(|e| not_written(&e))
}

fn not_written(e: &KeyError) -> ApiError {
    ApiError::new(ErrorCode::Disk, e.to_string())
        .hint("check the disk and the permissions of CCPEER_HOME; start the agent anew")
}

/// Whoever has heard that the key was replaced ends its link: it does not speak
/// with the old one any more. Returns the ids of those who did.
async fn wait(handle: &Handle, out: &Out, paired: &[Device]) -> Result<BTreeSet<String>, ApiError> {
    let linked: BTreeSet<String> = paired
        .iter()
        .filter(|d| d.state == "connected")
        .map(|d| d.id.clone())
        .collect();
    let begun = Instant::now();
    loop {
        let now: Vec<Device> = handle.ask(Ask::Devices).await?;
        let left: BTreeSet<String> = now
            .into_iter()
            .filter(|d| d.state == "connected" && linked.contains(&d.id))
            .map(|d| d.id)
            .collect();
        out.progress(
            "telling",
            (linked.len() - left.len()) as u64,
            linked.len() as u64,
        );
        if left.is_empty() || begun.elapsed() > TOLD_MAX {
            return Ok(linked.difference(&left).cloned().collect());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

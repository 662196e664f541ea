//! Pairing, as seen from the local socket: the handshake is the network's, the
//! yes is the user's, the trust is an entry of our log.

use std::net::SocketAddr;
use std::time::Duration;

use ccpeer_core::entry::{DeviceInfo, Payload, TrustChange};
use ccpeer_core::id::DeviceId;
use ccpeer_core::{limits, safety, text};
use ccpeer_net::{
    InviteEvent, InviteOptions, JoinEvent, JoinOptions, JoinSecret, PeerCard, SecretKind,
};

use super::done;
use crate::api::{ApiError, Device, DeviceName, ErrorCode, Json, PairEvent, Request, Safety};
use crate::driver::{Ask, Handle};
use crate::server::Out;

/// How long the user is asked for the yes.
const YES_DEADLINE: Duration = Duration::from_secs(120);

/// Opens a window and sees one device through it.
pub(super) async fn invite(
    handle: &Handle,
    mut out: Out,
    ticket: bool,
    yes: bool,
) -> Result<Json, ApiError> {
    if yes && !ticket {
        return Err(
            ApiError::new(ErrorCode::Usage, "a code is too short to say yes unseen")
                .hint("use `--yes` together with `--ticket`"),
        );
    }
    handle.shared.pause.refuse("nobody can be paired")?;
    let me = handle.ask(Ask::Me).await?;
    let mut invite = handle
        .shared
        .net
        .invite(InviteOptions {
            name: me.name,
            os: std::env::consts::OS.to_owned(),
        })
        .await
        .map_err(|e| ApiError::new(ErrorCode::Pairing, e.to_string()))?;
    if ticket {
        out.item(&PairEvent::Ticket {
            ticket: invite.ticket.to_string(),
        })
        .await?;
    } else {
        let expires_s = invite.expires_ms / 1000;
        out.item(&PairEvent::Code {
            code: invite.code.to_string(),
            expires_s,
        })
        .await?;
    }
    loop {
        let event = tokio::select! {
            event = invite.events.recv() => event,
            () = out.closed() => return Err(failed("the command that showed the code has ended")),
        };
        match event {
            Some(InviteEvent::WrongCode { from }) => {
                let reason = format!("wrong code from {from}; the code is void");
                return fail(&out, reason).await;
            }
            Some(InviteEvent::Tombstoned { device }) => {
                let device = handle.ask(|to| Ask::Name(device, to)).await?;
                out.item(&PairEvent::Tombstoned { device }).await?;
            }
            Some(InviteEvent::Joined { card, addr, by }) => {
                let device = named(&card);
                let addr = addr.map_or_else(|| "an unknown address".to_owned(), |a| a.to_string());
                let os = text::one_line(&card.os, limits::DEVICE_NAME_CHARS_MAX);
                out.item(&PairEvent::Joined {
                    device: device.clone(),
                    os,
                    addr,
                })
                .await?;
                // Only a ticket is long enough to be let in unseen.
                let unseen = yes && by == SecretKind::Ticket;
                if !(unseen || said_yes(&mut out).await) {
                    invite.answer(false);
                    return fail(&out, "not let in".to_owned()).await;
                }
                // Ours is durable before the other side hears of it.
                trust(handle, &card, Vec::new()).await?;
                invite.answer(true);
                while let Some(event) = invite.events.recv().await {
                    match event {
                        InviteEvent::Done => break,
                        InviteEvent::Failed(reason) => {
                            tracing::warn!(%reason, "the joining side may not know yet");
                            break;
                        }
                        InviteEvent::WrongCode { .. }
                        | InviteEvent::Joined { .. }
                        | InviteEvent::BrokenOff { .. }
                        | InviteEvent::Tombstoned { .. }
                        | InviteEvent::Expired => {}
                    }
                }
                return paired(handle, &out, &card).await;
            }
            Some(InviteEvent::Failed(reason)) => return fail(&out, reason.to_string()).await,
            Some(InviteEvent::Expired) | None => {
                return fail(&out, "nobody joined in time; the code is void".to_owned()).await;
            }
            Some(InviteEvent::BrokenOff { from }) => {
                out.item(&PairEvent::BrokenOff { addr: from }).await?;
            }
            Some(InviteEvent::Done) => {}
        }
    }
}

/// Joins a device that shows a code or a ticket.
pub(super) async fn join(handle: &Handle, out: Out, secret: String) -> Result<Json, ApiError> {
    let secret = JoinSecret::parse(&secret).map_err(|e| {
        ApiError::new(ErrorCode::Usage, e.to_string())
            .hint("`ccpeer pair` on the other machine shows a code, or with `--ticket` a ticket")
    })?;
    handle.shared.pause.refuse("nobody can be paired")?;
    let me = handle.ask(Ask::Me).await?;
    let mut join = handle
        .shared
        .net
        .join(
            secret,
            JoinOptions {
                name: me.name,
                os: std::env::consts::OS.to_owned(),
                candidates: Vec::new(),
            },
        )
        .await
        .map_err(|e| ApiError::new(ErrorCode::Pairing, e.to_string()))?;
    loop {
        let event = tokio::select! {
            event = join.events.recv() => event,
            () = out.closed() => return Err(failed("the command that joined has ended")),
        };
        match event {
            Some(JoinEvent::Searching) => out.item(&PairEvent::Searching { found: 0 }).await?,
            Some(JoinEvent::Found { n }) => {
                out.item(&PairEvent::Searching { found: n as u64 }).await?;
            }
            Some(JoinEvent::WaitingForYes(card)) => {
                out.item(&PairEvent::Waiting {
                    device: named(&card),
                })
                .await?;
            }
            Some(JoinEvent::Accepted {
                card,
                addrs,
                relays,
            }) => {
                super::relay::keep(handle, &relays).await?;
                trust(handle, &card, addrs).await?;
                for relay in relays {
                    let url = relay.place();
                    out.item(&PairEvent::Relay { url }).await?;
                }
                return paired(handle, &out, &card).await;
            }
            Some(JoinEvent::Failed(reason)) => return fail(&out, reason.to_string()).await,
            None => return fail(&out, "the other device went away".to_owned()).await,
        }
    }
}

/// Remembers where a device can be reached.
pub(super) async fn address(handle: &Handle, device: String, addr: &str) -> Result<Json, ApiError> {
    let addr: SocketAddr = addr.parse().map_err(|_| {
        ApiError::new(ErrorCode::Usage, "not an address").hint("write it as 192.0.2.7:4433")
    })?;
    let device = handle.ask(|to| Ask::Device(device, to)).await??;
    let id: DeviceId = device
        .id
        .parse()
        .map_err(|_| ApiError::new(ErrorCode::Bug, "a device id does not parse"))?;
    handle.shared.net.add_address(id, addr);
    done(format!("{} is tried at {addr}", device.name))
}

/// What the people at both ends compare. Nothing is kept of it.
pub(super) async fn safety(
    handle: &Handle,
    device: Option<String>,
) -> Result<Vec<Safety>, ApiError> {
    let devices = match device {
        Some(device) => vec![handle.ask(|to| Ask::Device(device, to)).await??],
        None => {
            let all = handle.ask(Ask::Devices).await?;
            let paired = all.into_iter().filter(|d| d.trust == "paired");
            let named = |d: Device| DeviceName {
                id: d.id,
                name: d.name,
            };
            paired.map(named).collect()
        }
    };
    let me = handle.shared.me;
    let with = |device: DeviceName| {
        let id: DeviceId = device
            .id
            .parse()
            .map_err(|_| ApiError::new(ErrorCode::Bug, "a device id does not parse"))?;
        Ok(Safety {
            number: safety::number(&me, &id),
            device,
        })
    };
    devices.into_iter().map(with).collect()
}

async fn said_yes(out: &mut Out) -> bool {
    tokio::select! {
        answer = out.answers.recv() => matches!(answer, Some(Request::Answer { yes: true })),
        () = tokio::time::sleep(YES_DEADLINE) => false,
    }
}

async fn trust(handle: &Handle, card: &PeerCard, addrs: Vec<SocketAddr>) -> Result<(), ApiError> {
    let (device, name, os) = (card.device, card.name.clone(), card.os.clone());
    let info = DeviceInfo {
        name: text::one_line(&name, limits::DEVICE_NAME_CHARS_MAX),
        os: text::one_line(&os, limits::DEVICE_NAME_CHARS_MAX),
    };
    let learn = crate::driver::Input::Ask(Ask::Learn {
        device,
        name,
        os,
        addrs,
    });
    handle.send(learn).await?;
    handle
        .append(Payload::Trust(TrustChange::Add { device, info }))
        .await?;
    Ok(())
}

async fn paired(handle: &Handle, out: &Out, card: &PeerCard) -> Result<Json, ApiError> {
    let device = named(card);
    handle.shared.net.dial_now();
    out.item(&PairEvent::Paired {
        device: device.clone(),
    })
    .await?;
    done(format!("paired with {}", device.name))
}

async fn fail(out: &Out, reason: String) -> Result<Json, ApiError> {
    out.item(&PairEvent::Failed {
        reason: reason.clone(),
    })
    .await?;
    Err(failed(&reason))
}

fn failed(reason: &str) -> ApiError {
    ApiError::new(ErrorCode::Pairing, reason)
        .hint("run `ccpeer pair` again for a new code, or `ccpeer pair --ticket`")
}

fn named(card: &PeerCard) -> DeviceName {
    let name = text::one_line(&card.name, limits::DEVICE_NAME_CHARS_MAX);
    let name = if name.is_empty() {
        card.device.short()
    } else {
        name
    };
    DeviceName {
        id: card.device.to_string(),
        name,
    }
}

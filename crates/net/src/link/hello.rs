//! The first words on a link. Until both have said them, nothing else is said
//! and nothing else is read.

use ccpeer_core::limits;
use ccpeer_core::text;
use ccpeer_core::wire::{Hello, Message};
use iroh::endpoint::{Connection, RecvStream, SendStream};
use tokio::time::timeout;

use crate::error::LinkFault;
use crate::frame::{self, FrameEnd};
use crate::timing::Timing;

/// Says hello first and hears the answer. Only then has the peer accepted us: a
/// connection alone means nothing, because the side that dials finishes the
/// handshake before the other one has decided.
pub(crate) async fn greet(
    conn: &Connection,
    own: &Hello,
    timing: &Timing,
) -> Result<(Hello, SendStream, RecvStream), Option<LinkFault>> {
    let both = async {
        let (mut send, mut recv) = conn.open_bi().await.map_err(|_| None)?;
        say_hello(&mut send, own, timing).await?;
        let hello = hear_hello(&mut recv, timing).await?;
        Ok((hello, send, recv))
    };
    timeout(timing.hello, both)
        .await
        .unwrap_or(Err(Some(LinkFault::FrameCut)))
}

/// Hears the hello of a peer that dialled us. The answer is given with
/// [`say_hello`] once the link is wanted.
pub(crate) async fn be_greeted(
    conn: &Connection,
    timing: &Timing,
) -> Result<(Hello, SendStream, RecvStream), Option<LinkFault>> {
    let heard = async {
        let (send, mut recv) = conn.accept_bi().await.map_err(|_| None)?;
        let hello = hear_hello(&mut recv, timing).await?;
        Ok((hello, send, recv))
    };
    timeout(timing.hello, heard)
        .await
        .unwrap_or(Err(Some(LinkFault::FrameCut)))
}

pub(crate) async fn say_hello(
    send: &mut SendStream,
    own: &Hello,
    timing: &Timing,
) -> Result<(), Option<LinkFault>> {
    // The control stream goes before all content.
    let _ = send.set_priority(1);
    let mut bytes = Vec::new();
    let message = Message::Hello(own.clone()).to_bytes();
    frame::put_frame(&mut bytes, &message, limits::MESSAGE_BYTES_MAX);
    frame::write_all(send, &bytes, timing.hello)
        .await
        .map_err(|_| None)
}

async fn hear_hello(recv: &mut RecvStream, timing: &Timing) -> Result<Hello, Option<LinkFault>> {
    let limit = limits::MESSAGE_BYTES_MAX;
    let bytes = match frame::read_frame(recv, limit, Some(timing.hello), timing.hello).await {
        Ok(bytes) => bytes,
        Err(FrameEnd::Over) => return Err(None),
        Err(FrameEnd::Fault(fault)) => return Err(Some(fault)),
    };
    match Message::from_bytes(&bytes) {
        Ok(Message::Hello(hello)) => Ok(hello),
        Ok(_) => Err(Some(LinkFault::OutOfPlace)),
        Err(error) => Err(Some(LinkFault::Message(error))),
    }
}

/// The texts of a hello, fit to be shown.
pub(crate) fn shown(hello: Hello) -> Hello {
    Hello {
        incarnation: hello.incarnation,
        name: text::one_line(&hello.name, limits::DEVICE_NAME_CHARS_MAX),
        os: text::one_line(&hello.os, 16),
        version: text::one_line(&hello.version, 32),
    }
}

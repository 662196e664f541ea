//! A wire between two endpoints that can be listened to, and that loses packets
//! when it is told to.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::UdpSocket;

use super::*;

/// One direction is of interest: what is sent towards `target`.
pub(super) struct Wire {
    /// Where to send instead.
    pub(super) addr: SocketAddr,
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
    /// Of so many long packets one is lost; 0 for none.
    pub(super) loses_one_of: Arc<AtomicUsize>,
    pub(super) lost: Arc<AtomicUsize>,
    _task: AbortOnDrop,
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Longer packets carry content.
const LONG_BYTES: usize = 900;

impl Wire {
    pub(super) async fn to(target: SocketAddr) -> Self {
        let front = UdpSocket::bind(loopback()).await.unwrap();
        let back = UdpSocket::bind(loopback()).await.unwrap();
        back.connect(target).await.unwrap();
        let addr = front.local_addr().unwrap();
        let sent = Arc::new(Mutex::new(Vec::new()));
        let (loses_one_of, lost) = (Arc::new(AtomicUsize::new(0)), Arc::default());
        let task = {
            let (sent, of, lost) = (sent.clone(), loses_one_of.clone(), Arc::clone(&lost));
            tokio::spawn(carry(front, back, sent, of, lost))
        };
        Self {
            addr,
            sent,
            loses_one_of,
            lost,
            _task: AbortOnDrop(task),
        }
    }

    /// What was sent since the last call.
    pub(super) fn take(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.sent.lock().unwrap())
    }
}

async fn carry(
    front: UdpSocket,
    back: UdpSocket,
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
    loses_one_of: Arc<AtomicUsize>,
    lost: Arc<AtomicUsize>,
) {
    const KEPT_MAX: usize = 64;
    let (mut there, mut here) = (vec![0; 65_536], vec![0; 65_536]);
    let (mut client, mut long) = (None, 0);
    loop {
        tokio::select! {
            Ok((n, from)) = front.recv_from(&mut there) => {
                client = Some(from);
                {
                    let mut sent = sent.lock().unwrap();
                    if sent.len() < KEPT_MAX {
                        sent.push(there[..n].to_vec());
                    }
                }
                long += usize::from(n > LONG_BYTES);
                let of = loses_one_of.load(Ordering::Relaxed);
                if n > LONG_BYTES && of > 0 && long % of == 0 {
                    lost.fetch_add(1, Ordering::Relaxed);
                } else {
                    let _ = back.send(&there[..n]).await;
                }
            }
            Ok(n) = back.recv(&mut here) => {
                if let Some(client) = client {
                    let _ = front.send_to(&here[..n], client).await;
                }
            }
            else => return,
        }
    }
}

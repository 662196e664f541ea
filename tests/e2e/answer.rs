//! What a web server of ours answers, read from a plain connection.

use std::io::Read;
use std::net::TcpStream;

/// An answer.
#[derive(Clone)]
pub(super) struct Got {
    pub(super) status: u16,
    /// All of it in lower case.
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

/// Reads up to the end of the connection.
pub(super) fn read(stream: &mut TcpStream) -> Got {
    let mut bytes = Vec::new();
    let _reset = stream.read_to_end(&mut bytes);
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(&bytes)));
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    Got {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_lowercase(),
        body: bytes[end + 4..].to_vec(),
    }
}

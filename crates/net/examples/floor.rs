//! What nothing can beat by much: the new bytes of one file, through one warm zstd
//! stream, over one open TCP connection. Not encrypted, not durable, not checked:
//! a measure for the bench and nothing else.
//!
//! ```text
//! floor take ADDRESS FILE          appends what comes to FILE
//! floor give ADDRESS FILE BELL     sends what FILE has beyond its length at the
//!                                  start, at each byte that is read from BELL
//! ```

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};

/// Bytes read in one go.
const PIECE: usize = 64 * 1024;

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["take", address, file] => take(address, file),
        ["give", address, file, bell] => give(address, file, bell),
        _ => Err(io::Error::other(
            "take ADDRESS FILE, or give ADDRESS FILE BELL",
        )),
    }
}

fn take(address: &str, file: &str) -> io::Result<()> {
    let (stream, _) = TcpListener::bind(address)?.accept()?;
    stream.set_nodelay(true)?;
    let mut unpacked = zstd::stream::Decoder::new(stream)?;
    let mut file = OpenOptions::new().append(true).open(file)?;
    let mut piece = vec![0; PIECE];
    loop {
        match unpacked.read(&mut piece)? {
            0 => return Ok(()),
            n => file.write_all(piece.get(..n).unwrap_or_default())?,
        }
    }
}

fn give(address: &str, file: &str, bell: &str) -> io::Result<()> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut packed = zstd::stream::Encoder::new(stream, 3)?;
    let mut file = File::open(file)?;
    file.seek(SeekFrom::End(0))?;
    let mut bell = File::open(bell)?;
    let mut piece = vec![0; PIECE];
    while bell.read(&mut [0])? > 0 {
        loop {
            match file.read(&mut piece)? {
                0 => break,
                n => packed.write_all(piece.get(..n).unwrap_or_default())?,
            }
        }
        packed.flush()?;
    }
    Ok(())
}

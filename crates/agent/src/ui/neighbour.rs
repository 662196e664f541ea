//! Whose process asks, where the system tells: another user of this machine may
//! have read the link among the arguments of the browser.

use std::net::SocketAddr;

/// Whether the connection from there to here is known to be another user's. Reads a
/// table of the system; blocking.
#[cfg(target_os = "linux")]
pub(super) fn is_other_user(from: SocketAddr, to: SocketAddr) -> bool {
    let me = nix::unistd::geteuid().as_raw();
    ["tcp", "tcp6"].iter().any(|table| {
        let text = std::fs::read_to_string(format!("/proc/self/net/{table}"));
        let owner = owner(&text.unwrap_or_default(), from, to);
        // Whoever is root reads everything anyway.
        owner.is_some_and(|uid| uid != me && uid != 0)
    })
}

/// Elsewhere the system does not tell without more rights.
#[cfg(not(target_os = "linux"))]
pub(super) fn is_other_user(_from: SocketAddr, _to: SocketAddr) -> bool {
    false
}

/// The owner of a connection, in Linux's table of them.
#[cfg(any(target_os = "linux", test))]
fn owner(table: &str, from: SocketAddr, to: SocketAddr) -> Option<u32> {
    let (from, to) = (written(from)?, written(to)?);
    // An address of version 4 ends the one of version 6 that stands for it.
    let is = |field: Option<&str>, addr: &str| field.is_some_and(|f| f.ends_with(addr));
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let fits = is(fields.next(), &from) && is(fields.next(), &to);
        fits.then(|| fields.nth(4)?.parse().ok()).flatten()
    })
}

/// An address as it stands in the table: in the order of this machine's bytes.
#[cfg(any(target_os = "linux", test))]
fn written(addr: SocketAddr) -> Option<String> {
    match addr {
        SocketAddr::V4(v4) => Some(format!(
            "{:08X}:{:04X}",
            u32::from_ne_bytes(v4.ip().octets()),
            v4.port()
        )),
        SocketAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn the_owner_of_a_connection() {
        let tcp = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 1 1\n\
             1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 2 1\n\
             2: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1001        0 3 1\n";
        let tcp6 = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0000000000000000FFFF00000100007F:C351 0000000000000000FFFF00000100007F:1F90 01 00000000:00000000 00:00000000 00000000  1002        0 4 1\n";
        let addr = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!(owner(tcp, addr(50_000), addr(8080)), Some(1001));
        assert_eq!(owner(tcp6, addr(50_001), addr(8080)), Some(1002));
        assert_eq!(owner(tcp, addr(50_001), addr(8080)), None);
        assert_eq!(owner(tcp, addr(50_000), addr(8081)), None);
        assert_eq!(owner("", addr(50_000), addr(8080)), None);
        assert_eq!(owner("x\n0: y\n", addr(50_000), addr(8080)), None);
    }

    #[test]
    fn k_l08_ones_own_connection_is_no_other_users() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(to).unwrap();
        assert!(!is_other_user(client.local_addr().unwrap(), to));
    }
}

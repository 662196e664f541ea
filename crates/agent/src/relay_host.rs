//! `ccpeer relay`: a relay of one's own, for the devices that this home trusts and
//! for whoever brings its token. A process of its own, which needs no agent; whom
//! the home trusts it reads from the copy that the agent keeps beside its store,
//! again and again.
//!
//! It writes below one directory of the home and nowhere else.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ccpeer_core::limits;
use ccpeer_net::relay::RelayAddress;
use ccpeer_net::relay::host::{
    Admitted, HostConfig, HostError, HostStats, RelayHost, make_certificate,
};
use ccpeer_net::relay::to_word;
use tokio::time::interval;
use zeroize::Zeroizing;

use crate::api::{ApiError, ErrorCode};
use crate::home::Home;
use crate::keys;
use crate::random;
use crate::spare::SpareTrust;
use crate::start::told_to_end;

/// Where it listens unless told otherwise: on all interfaces.
const PORT: u16 = 7842;
/// How often it looks whom the home trusts.
const LOOK: Duration = Duration::from_secs(1);
/// How often refused attempts are told, together.
const TELL_EVERY: u32 = 10;

/// What it is started with.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// Whose devices are let in.
    pub home: Home,
    /// Where to listen.
    pub listen: Option<SocketAddr>,
    /// Under which name or address devices reach it.
    pub name: Option<String>,
    /// How it is encrypted.
    pub tls: HostTls,
    /// Draw a new token; devices that know only the old one stay out.
    pub new_token: bool,
    /// MiB a second that are taken from one connection.
    pub rate_mib: Option<u32>,
}

/// How a relay is encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostTls {
    /// With a certificate that it makes itself; its address says which.
    Own,
    /// With this certificate chain and this key, in PEM; authorities vouch for it.
    Files(PathBuf, PathBuf),
    /// Not at all.
    Plain,
}

/// What is known when it accepts connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostReady {
    /// The address for devices that this home trusts. Nothing in it is secret.
    pub address: String,
    /// The file with the address that holds the token.
    pub address_file: PathBuf,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// Devices that are let in by their key.
    pub devices: usize,
}

/// Runs a relay until it is told to end. `ready` is called once, `told` now and
/// then, with a line for the person who watches.
///
/// # Errors
/// When it cannot listen, its certificate cannot be used, or home cannot be
/// written.
pub fn run(
    options: &HostOptions,
    ready: &mut dyn FnMut(&HostReady),
    told: &mut dyn FnMut(&str),
) -> Result<(), ApiError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| ApiError::new(ErrorCode::Bug, format!("cannot start threads: {e}")))?;
    let ran = runtime.block_on(host(options, ready, told));
    runtime.shutdown_timeout(Duration::from_millis(200));
    ran
}

/// The address that holds the token, of the relay that was last started here.
///
/// # Errors
/// If there was none.
pub fn address(home: &Home) -> Result<Zeroizing<String>, ApiError> {
    match fs::read_to_string(home.relay_address()) {
        Ok(text) => Ok(Zeroizing::new(text.trim().to_owned())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(ApiError::new(
            ErrorCode::NotFound,
            "no relay was started with this home yet",
        )
        .hint("start one with `ccpeer relay`")),
        Err(e) => Err(unusable(&home.relay_address(), &e)),
    }
}

async fn host(
    options: &HostOptions,
    ready: &mut dyn FnMut(&HostReady),
    told: &mut dyn FnMut(&str),
) -> Result<(), ApiError> {
    let home = &options.home;
    for dir in [home.root().to_path_buf(), home.relay_dir()] {
        crate::start::private_dir(&dir).map_err(|e| unusable(&dir, &e))?;
    }
    let token = token(home, options.new_token)?;
    let all = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT));
    let config = HostConfig {
        listen: options.listen.unwrap_or(all),
        tls: certificate(options)?,
        token: token.clone(),
        rate: rate(options.rate_mib),
    };
    let encrypted = config.tls.is_some();
    let host = RelayHost::start(config).await.map_err(|e| cannot(&e))?;
    let admitted = admitted(home);
    let devices = admitted.devices.len();
    host.admit(admitted);
    let open = reached_at(options, &host, None)?;
    let secret = reached_at(options, &host, Some(token))?;
    let file = home.relay_address();
    let mut line = Zeroizing::new(String::with_capacity(limits::RELAY_ADDRESS_BYTES_MAX));
    line.push_str(&secret.to_text());
    line.push('\n');
    keys::write_private(&file, line.as_bytes()).map_err(|e| unusable(&file, &e))?;
    ready(&HostReady {
        address: open.open_text(),
        address_file: file,
        encrypted,
        devices,
    });
    serve(home, &host, told).await;
    host.shutdown().await;
    Ok(())
}

/// Until it is told to end.
async fn serve(home: &Home, host: &RelayHost, told: &mut dyn FnMut(&str)) {
    let mut look = interval(LOOK);
    let mut looks = 0u32;
    let mut before = HostStats::default();
    let end = told_to_end();
    tokio::pin!(end);
    loop {
        tokio::select! {
            _by_whom = &mut end => return,
            _ = look.tick() => {}
        }
        host.admit(admitted(home));
        looks = looks.wrapping_add(1);
        let now = host.stats();
        if looks.is_multiple_of(TELL_EVERY) {
            let refused = now.refused.saturating_sub(before.refused);
            let crowded = now.crowded.saturating_sub(before.crowded);
            if refused + crowded > 0 {
                told(&format!(
                    "{refused} attempts were refused, {crowded} connections came too fast"
                ));
            }
            before = now;
        }
    }
}

/// Whom the home trusts, by the copy beside its store: this device and its paired
/// ones, without those that were revoked.
fn admitted(home: &Home) -> Admitted {
    let spare = SpareTrust::load(home);
    let trusted = spare.trusted().into_iter().map(|(device, ..)| device);
    Admitted {
        devices: trusted.chain(spare.said_by()).collect(),
        revoked: spare.revoked(),
    }
}

/// Made once, and private.
fn token(home: &Home, anew: bool) -> Result<Zeroizing<String>, ApiError> {
    let path = home.relay_token();
    if !anew && let Ok(text) = fs::read_to_string(&path) {
        let text = Zeroizing::new(text.trim().to_owned());
        if !text.is_empty() {
            return Ok(text);
        }
    }
    let bytes: Zeroizing<[u8; 16]> =
        Zeroizing::new(random::bytes().map_err(|e| ApiError::new(ErrorCode::Bug, e.to_string()))?);
    let text = Zeroizing::new(to_word(bytes.as_slice()));
    keys::write_private(&path, text.as_bytes()).map_err(|e| unusable(&path, &e))?;
    Ok(text)
}

/// Its own is made once: the pin in its address stays the same.
fn certificate(options: &HostOptions) -> Result<Option<(String, Zeroizing<String>)>, ApiError> {
    let read = |path: &Path| fs::read_to_string(path).map_err(|e| unusable(path, &e));
    let (chain, key) = match &options.tls {
        HostTls::Plain => return Ok(None),
        HostTls::Files(chain, key) => (chain.clone(), key.clone()),
        HostTls::Own => {
            let home = &options.home;
            let (chain, key) = (home.relay_certificate(), home.relay_key());
            if !(chain.exists() && key.exists()) {
                let (made, secret) = make_certificate().map_err(|e| cannot(&e))?;
                keys::write_private(&key, secret.as_bytes()).map_err(|e| unusable(&key, &e))?;
                keys::write_private(&chain, made.as_bytes()).map_err(|e| unusable(&chain, &e))?;
            }
            (chain, key)
        }
    };
    Ok(Some((read(&chain)?, Zeroizing::new(read(&key)?))))
}

fn rate(mib: Option<u32>) -> NonZeroU32 {
    let bytes = mib.map_or(limits::RELAY_RATE_BYTES, |m| m.saturating_mul(1024 * 1024));
    NonZeroU32::new(bytes).unwrap_or(NonZeroU32::MAX)
}

/// What devices are told.
fn reached_at(
    options: &HostOptions,
    host: &RelayHost,
    token: Option<Zeroizing<String>>,
) -> Result<RelayAddress, ApiError> {
    let encrypted = host.pin().is_some();
    let port = host.addr().port();
    // A certificate that authorities vouch for is renewed; its pin would not last.
    let pin = host.pin().filter(|_| options.tls == HostTls::Own);
    let name = options.name.clone().unwrap_or_else(|| {
        let ip = host.addr().ip();
        SocketAddr::from((if ip.is_unspecified() { own_ip() } else { ip }, port)).to_string()
    });
    let name = if has_port(&name) {
        name
    } else {
        format!("{name}:{port}")
    };
    let scheme = if encrypted { "https" } else { "http" };
    let url = format!("{scheme}://{name}");
    RelayAddress::new(&url, pin, encrypted.then_some(port), token).map_err(|_| {
        ApiError::new(ErrorCode::Usage, "no relay can have that name")
            .hint("give `--name` a host name or an address, and perhaps a port")
    })
}

fn has_port(name: &str) -> bool {
    name.parse::<SocketAddr>().is_ok()
        || (name.parse::<IpAddr>().is_err()
            && name
                .rsplit_once(':')
                .is_some_and(|(_, port)| port.parse::<u16>().is_ok()))
}

/// The address with which this machine would speak to others; nothing is sent.
fn own_ip() -> IpAddr {
    let local = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    };
    local().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |addr: SocketAddr| {
        addr.ip()
    })
}

fn cannot(e: &HostError) -> ApiError {
    let hint = match e {
        HostError::Listen { .. } => "choose another address with `--listen`",
        HostError::Certificate(_) => "check `--tls-cert` and `--tls-key`: both are PEM",
    };
    ApiError::new(ErrorCode::Disk, e.to_string()).hint(hint)
}

fn unusable(path: &Path, e: &io::Error) -> ApiError {
    let hint = match e.kind() {
        io::ErrorKind::NotFound => "give a file that is there",
        _ => "check who owns it and its permissions",
    };
    ApiError::new(
        ErrorCode::Disk,
        format!("cannot use {}: {e}", path.display()),
    )
    .hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_a_port_keep_it() {
        let check = |name: &str, want: bool| assert_eq!(has_port(name), want, "{name}");
        check("relay.example", false);
        check("relay.example:443", true);
        check("192.0.2.1", false);
        check("192.0.2.1:443", true);
        check("2001:db8::1", false);
        check("[2001:db8::1]:443", true);
    }

    #[test]
    fn a_token_is_drawn_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_owned();
        let home = Home::from_env(&|name| {
            matches!(name, "CCPEER_HOME" | "HOME").then(|| root.clone().into_os_string())
        })
        .unwrap();
        fs::create_dir_all(home.relay_dir()).unwrap();
        let first = token(&home, false).unwrap();
        assert_eq!(first.len(), 26, "128 bits");
        assert_eq!(token(&home, false).unwrap(), first);
        assert_ne!(token(&home, true).unwrap(), first);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(home.relay_token())
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }
}

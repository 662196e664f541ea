//! The agent's log: structured, in `CCPEER_HOME`, bounded. Never contains what
//! a session says.

use std::fs;
use std::io;
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;

use crate::home::Home;

/// A log that has grown beyond this is set aside at the next start; one older
/// file is kept.
const LOG_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// What is logged unless `CCPEER_LOG` says otherwise. The network stack says
/// "error" for ordinary shutdowns and lost paths, so it is held back.
const FILTER: &str = "info,iroh=off,iroh_relay=off,noq=off,noq_proto=off,noq_udp=off,netwatch=off,portmapper=off,hickory_resolver=off,hickory_proto=off";

/// Starts logging to the home's log file. A second call in one process (tests)
/// is harmless.
pub(crate) fn start(home: &Home) -> io::Result<()> {
    fs::create_dir_all(home.log_dir())?;
    let path = home.log();
    if fs::metadata(&path).is_ok_and(|m| m.len() > LOG_BYTES_MAX) {
        fs::rename(&path, path.with_extension("log.1"))?;
    }
    let mut options = fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&path)?;
    let filter = std::env::var("CCPEER_LOG").ok().filter(|f| !f.is_empty());
    let filter = EnvFilter::builder().parse_lossy(filter.as_deref().unwrap_or(FILTER));
    let logger = tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .with_writer(Mutex::new(file))
        .finish();
    let _already_set = tracing::subscriber::set_global_default(logger);
    Ok(())
}

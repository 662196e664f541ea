//! Starting and ending an agent.
//!
//! Order: lock → store → recovery of placements → machine → network → socket →
//! "ready". It ends in reverse, within a bound; being killed anywhere is safe.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ccpeer_core::id::{ChunkId, DeviceId};
use ccpeer_core::limits;
use ccpeer_core::sync::machine::Machine;
use ccpeer_core::wire::Hello;
use ccpeer_net::relay::Relay;
use ccpeer_net::{ChunkAnswer, ChunkSource, Config, NetError};
use ccpeer_store::Store;
use tokio::sync::{Notify, mpsc, watch};

use crate::api::{ApiError, DeviceName, ErrorCode};
use crate::binding::{self, Standing};
use crate::client::Client;
use crate::driver::{
    Arrival, Driver, End, Endings, Expiry, Handle, Input, OwnSession, Parts, Shared, classify,
    load_taken_in,
};
use crate::exposed::Exposed;
use crate::findings::{Findings, Kind};
use crate::former;
use crate::home::Home;
use crate::inbox::Inbox;
use crate::keys::{DeviceKey, KeyError};
use crate::listen::Listener;
use crate::pause::Pausing;
use crate::peers::PeerBook;
use crate::sharing::Rules;
use crate::sharing::gate::{Gate, Manifests};
use crate::spare::SpareTrust;
use crate::{
    dumps, ipc, lists, logging, mirror, parcels, pause, place, problem, random, relays, rounds,
    search, server, spool, starts, unasked, wake,
};

mod store;

/// What an agent is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its places.
    pub home: Home,
    /// Listen on this address only.
    pub listen: Option<SocketAddr>,
    /// Announce and look for devices in the local network.
    pub mdns: bool,
    /// The relay to use from now on: an address, `n0`, or `off`. None leaves it
    /// as it was.
    pub relay: Option<String>,
    /// Leave the terminal's session: nobody waits for this process.
    pub background: bool,
    /// Set a damaged store aside and save into a new one what can be read of it.
    pub salvage: bool,
}

/// What is known when it accepts work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// This device.
    pub device: DeviceName,
    /// Addresses on which peers reach it.
    pub listen: Vec<String>,
    /// This process.
    pub pid: u32,
}

/// An agent that holds the lock and does not answer gets this long to end.
const ENDING_MAX: Duration = Duration::from_secs(5);
/// How long whoever holds the lock may take to answer.
const ANSWER_MAX: Duration = Duration::from_millis(500);
/// How often it is looked at meanwhile.
const LOCK_LOOK: Duration = Duration::from_millis(20);
/// Peers are told good-bye for no longer than this: one that is gone as well does
/// not answer.
const GOODBYE_MAX: Duration = Duration::from_millis(1500);
/// Work that is under way at the end gets this long.
const SHUTDOWN_MAX: Duration = Duration::from_secs(8);
/// Threads for async work; disk work has its own pool.
const WORKERS: usize = 2;

/// Runs an agent until it is told to end. `ready` is called once.
///
/// # Errors
/// [`ErrorCode::Agent`] when another one runs, [`ErrorCode::Damaged`] when the
/// store is, [`ErrorCode::Disk`] when home cannot be written.
pub fn run(options: Options, ready: &mut dyn FnMut(&Ready)) -> Result<(), ApiError> {
    dumps::forbid();
    if options.background {
        leave_terminal();
    }
    prepare_home(&options.home).map_err(|e| unwritable(&options.home, &e))?;
    let _lock = lock(&options.home)?;
    starts::may_start(&options.home)?;
    logging::start(&options.home).map_err(|e| unwritable(&options.home, &e))?;
    // Anew when the key was replaced: everything that knew the old one ends.
    let mut options = options;
    while one_life(&options, ready)? == End::Again {
        // What was said at the start is kept by now, or was changed since.
        options.relay = None;
    }
    Ok(())
}

/// From one start to the end that belongs to it.
fn one_life(options: &Options, ready: &mut dyn FnMut(&Ready)) -> Result<End, ApiError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .map_err(|e| ApiError::new(ErrorCode::Bug, format!("cannot start threads: {e}")))?;
    let mut attempt = starts::Attempt::new(&options.home);
    let result = runtime.block_on(agent(options, &mut |is| {
        attempt.succeeded();
        ready(is);
    }));
    runtime.shutdown_timeout(SHUTDOWN_MAX);
    if let Err(e) = &result {
        tracing::error!(error = %e.message, "agent ended");
        attempt.failed(e);
    }
    result
}

async fn agent(options: &Options, ready: &mut dyn FnMut(&Ready)) -> Result<End, ApiError> {
    let home = options.home.clone();
    let had_key = home.key().exists();
    let mut key = DeviceKey::load_or_create(&home.key()).map_err(|e| bad_key(&home, &e))?;
    let (store, stored, how) = store::open(options, key.device)?;
    if let Some(next) = key
        .finish_roll(&home, &stored)
        .map_err(|e| bad_key(&home, &e))?
    {
        key = next;
    }
    let me = key.device;
    let mut arrival = Arrival {
        spare: SpareTrust::load(&home),
        ..Arrival::default()
    };
    match binding::standing(&home) {
        Standing::Same => {}
        Standing::Copied => arrival.copied = true,
        Standing::Unbound | Standing::Moved => {
            binding::bind(&home).map_err(|e| unwritable(&home, &e))?;
        }
    }
    match how {
        store::Opened::AsItWas => {}
        store::Opened::New if !had_key => {}
        store::Opened::New => arrival.found.push(Kind::StoreAnew),
        store::Opened::Salvaged => arrival.found.push(Kind::Salvaged),
    }
    let store = Arc::new(store);
    spool::clean(&home);
    for line in place::recover(&store, &home).map_err(ApiError::from)? {
        tracing::warn!("{line}");
    }
    if let Err(e) = place::sweep_backups(&store, &home, crate::driver::wall()) {
        tracing::warn!(error = %e, "old backups are left for later");
    }
    let seed = u64::from_le_bytes(random::bytes().map_err(|e| no_randomness(&e))?);
    let mut machine = Machine::recover(me, stored, seed);
    // Another key that did not follow from that one is another device: it has to
    // be paired anew.
    if let Some(before) = arrival.spare.said_by()
        && machine.current(&before) != me
    {
        arrival.spare.distrust_all();
    }
    let taken_in = load_taken_in(&store).map_err(|e| problem::store(&e))?;
    // Before there is anybody to talk to.
    let rules = Rules::load(&home, &store).map(Arc::new);
    let own = OwnSession::all(&machine, &taken_in);
    let sharing = classify(&rules, own, &store, &home).map_err(|e| problem::store(&e))?;
    machine.set_sharing(sharing);
    let keys = former::keys(&home, &machine).into_iter();
    let gate = Arc::new(Gate::new(keys.chain([key.signing.clone()])));
    gate.close(&machine, &Manifests::of(&machine), &store);
    let peers = PeerBook::load(&store).map_err(|e| problem::store(&e))?;
    let findings = Findings::load(&store).map_err(|e| problem::store(&e))?;
    let exposed = Exposed::load(&store).map_err(|e| problem::store(&e))?;
    let pause = Pausing::load(&store).map_err(|e| problem::store(&e))?;
    let hostname = Some(arrival.spare.name.clone())
        .filter(|n| !n.is_empty())
        .unwrap_or_else(hostname);
    let named = machine
        .device_info(&me)
        .map_or_else(|| hostname.clone(), |i| i.name.clone());
    let config = Config {
        secret: key.secret(),
        listen: store::listen(options, &store)?,
        mdns: options.mdns,
        hello: Hello {
            incarnation: random::bytes().map_err(|e| no_randomness(&e))?,
            name: named.clone(),
            os: std::env::consts::OS.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        trusted: machine.trusted().copied().collect(),
        addresses: peers.addresses(),
        relays: relays(options, &store)?,
        paused: pause.is_on(),
    };
    let chunks = Arc::new(Chunks(Arc::clone(&store), Arc::clone(&gate)));
    let (net, events) = ccpeer_net::start(config, chunks)
        .await
        .map_err(|e| no_network(&e))?;
    if options.listen.is_none() {
        store::keep_port(&store, &net.listen_addrs())?;
    }
    former::tell(&net, &home, (&store, &gate), &machine);
    let inbox = Inbox::open(Arc::clone(&store), &home.events()).map_err(|e| problem::store(&e))?;
    let expiry = Expiry::load(&store).map_err(|e| problem::store(&e))?;
    let endings = Endings::load(&store).map_err(|e| problem::store(&e))?;
    let last_list = lists::load(&store).map_err(|e| problem::store(&e))?;
    let notices = Shared::notices();
    let shared = Arc::new(Shared {
        home: home.clone(),
        store,
        net: net.clone(),
        inbox,
        recent: crate::capture::Recent::default(),
        spooled: Notify::new(),
        me,
        mdns: options.mdns,
        listen: options.listen,
        notices,
        mirrors: tokio::sync::Mutex::default(),
        bell: unasked::Bell::default(),
        placing: tokio::sync::Mutex::new(()),
        serving: crate::serve::Serving::default(),
        search: crate::search::Search::default(),
        pause,
        exposed: Arc::new(exposed),
        gate,
        ruling: tokio::sync::Mutex::new(()),
        choosing: tokio::sync::Mutex::new(()),
    });
    let (tx, rx) = mpsc::channel(limits::DRIVER_QUEUE_MAX);
    let handle = Handle {
        tx: tx.clone(),
        shared: Arc::clone(&shared),
    };
    let parts = Parts {
        shared,
        machine,
        key: key.signing,
        seed,
        peers,
        last_list,
        findings,
        arrival,
        expiry,
        endings,
        taken_in,
        rules,
    };
    let driver = Driver::new(parts, tx.clone());
    let rounds = tokio::spawn(rounds::rounds(handle.clone(), std::time::Instant::now()));
    let placing = tokio::spawn(unasked::run(handle.clone()));
    let mirroring = tokio::spawn(mirror::clock::run(handle.clone()));
    let indexing = tokio::spawn(search::run(handle.clone()));
    let pausing = tokio::spawn(pause::run(handle.clone()));
    let waking = tokio::spawn(wake::watch(net.clone()));
    let driving = tokio::spawn(async move { driver.run(rx, events, &hostname).await });

    let listener = Listener::bind(&home).map_err(|e| unwritable(&home, &e))?;
    // Hooks that came just before found nobody to tell.
    handle.shared.spooled.notify_one();
    let (stop, stopped) = watch::channel(false);
    let serving = tokio::spawn(server::serve(listener, handle, stopped));
    ready(&Ready {
        device: DeviceName {
            id: me.to_string(),
            name: named,
        },
        listen: net.listen_addrs().iter().map(ToString::to_string).collect(),
        pid: std::process::id(),
    });
    tracing::info!(device = %me, "ready");

    let mut driving = driving;
    let ended = tokio::select! {
        ended = &mut driving => ended,
        by_system = told_to_end() => {
            let input = if by_system { Input::GoingDown } else { Input::Shutdown };
            let _full_or_ended = tx.try_send(input);
            match tokio::time::timeout(SHUTDOWN_MAX, &mut driving).await {
                Ok(ended) => ended,
                Err(_) => { driving.abort(); Ok(End::ForGood) }
            }
        }
    };
    let _nobody_listens = stop.send(true);
    let _late = tokio::time::timeout(GOODBYE_MAX, net.shutdown()).await;
    serving.abort();
    rounds.abort();
    placing.abort();
    mirroring.abort();
    indexing.abort();
    pausing.abort();
    waking.abort();
    let _gone = fs::remove_file(home.socket());
    tracing::info!("ended");
    ended.map_err(|_| {
        ApiError::new(ErrorCode::Bug, "the agent's driver failed").hint("see the agent's log")
    })
}

/// Serves chunks to devices that we have a link with. Who can name a chunk has
/// been shown the manifest that names it: ids cannot be guessed. What others may not
/// have any more is not served to those who were shown it once either.
struct Chunks(Arc<Store>, Arc<Gate>);

impl ChunkSource for Chunks {
    fn get(&self, peer: &DeviceId, id: &ChunkId) -> ChunkAnswer {
        if !self.1.serves(id) {
            return ChunkAnswer::NotHeld;
        }
        match self.0.get_chunk(id) {
            Ok(Some(content)) => ChunkAnswer::Content(content),
            Ok(None) => ChunkAnswer::NotHeld,
            Err(e) => {
                tracing::error!(peer = %peer.short(), error = %e, "cannot read a chunk");
                ChunkAnswer::NotHeld
            }
        }
    }

    fn beyond(&self, manifest: &[u8], since: &ChunkId) -> Vec<ChunkId> {
        parcels::beyond(manifest, since, |id| self.0.get_chunk(id).ok().flatten())
    }
}

/// The user's choice: the one that was given, else the one that is kept.
fn relays(options: &Options, store: &Store) -> Result<Vec<Relay>, ApiError> {
    match &options.relay {
        Some(text) => {
            let wanted = relays::parse(&options.home, text)?;
            relays::save(store, &wanted).map_err(|e| problem::store(&e))?;
            Ok(wanted)
        }
        None => relays::load(store).map_err(|e| problem::store(&e)),
    }
}

fn prepare_home(home: &Home) -> io::Result<()> {
    for dir in [
        home.root().to_path_buf(),
        home.spool(),
        home.log_dir(),
        home.backups(),
        home.run(),
    ] {
        private_dir(&dir)?;
    }
    Ok(())
}

#[cfg(unix)]
pub(crate) fn private_dir(dir: &std::path::Path) -> io::Result<()> {
    crate::ipc::prepare_dir(dir)
}

#[cfg(not(unix))]
pub(crate) fn private_dir(dir: &std::path::Path) -> io::Result<()> {
    fs::create_dir_all(dir)
}

/// Held for life. The system lets go of it when the process ends, however.
fn lock(home: &Home) -> Result<fs::File, ApiError> {
    let mut options = fs::OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options
        .open(home.lock())
        .map_err(|e| unwritable(home, &e))?;
    let begin = std::time::Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::Error(e)) => return Err(unwritable(home, &e)),
            Err(fs::TryLockError::WouldBlock) => {}
        }
        // Who holds it and does not answer is about to end, or to begin.
        if answers(home) || begin.elapsed() > ENDING_MAX {
            return Err(ApiError::new(
                ErrorCode::Agent,
                format!("another agent already runs on {}", home.root().display()),
            )
            .hint("use it, stop it with `ccpeer down`, or set CCPEER_HOME to another directory"));
        }
        std::thread::sleep(LOCK_LOOK);
    }
}

/// Whether an agent answers. A socket that can be connected to is not enough: a
/// program that a killed agent was about to run holds lock and socket for a moment.
fn answers(home: &Home) -> bool {
    match ipc::connect(home, ANSWER_MAX) {
        Ok(connection) => Client::over(connection).is_answered(),
        Err(_) => false,
    }
}

/// Whether an agent holds this home, also one that just begins or ends.
#[must_use]
pub fn is_running(home: &Home) -> bool {
    let Ok(file) = fs::File::open(home.lock()) else {
        return false;
    };
    matches!(file.try_lock_shared(), Err(fs::TryLockError::WouldBlock))
}

#[cfg(unix)]
fn leave_terminal() {
    // Fails only for a process group's leader, which has left already.
    let _already = nix::unistd::setsid();
}

#[cfg(not(unix))]
fn leave_terminal() {}

/// Resolves when the process is told to end: whether by the system, and not by
/// somebody at a keyboard.
#[cfg(unix)]
pub(crate) async fn told_to_end() -> bool {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int), Ok(mut hup)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
        signal(SignalKind::hangup()),
    ) else {
        return std::future::pending().await;
    };
    loop {
        tokio::select! {
            _ = term.recv() => return true,
            _ = int.recv() => return false,
            // A closing terminal is no reason to end.
            _ = hup.recv() => {}
        }
    }
}

#[cfg(not(unix))]
pub(crate) async fn told_to_end() -> bool {
    let _no_console = tokio::signal::ctrl_c().await;
    false
}

#[cfg(unix)]
fn hostname() -> String {
    let name = nix::unistd::gethostname()
        .ok()
        .and_then(|n| n.into_string().ok());
    // The part before the first dot is what people call the machine.
    let name = name.unwrap_or_default();
    name.split('.')
        .next()
        .filter(|n| !n.is_empty())
        .unwrap_or("device")
        .to_owned()
}

#[cfg(not(unix))]
fn hostname() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_else(|_| "device".to_owned())
}

fn unwritable(home: &Home, e: &io::Error) -> ApiError {
    ApiError::new(
        ErrorCode::Disk,
        format!("cannot use {}: {e}", home.root().display()),
    )
    .hint("make it a directory of your own that can be written, or set CCPEER_HOME")
}

fn bad_key(home: &Home, e: &KeyError) -> ApiError {
    let hint = match e {
        KeyError::Damaged => "restore it from a backup, or move it aside and pair anew",
        KeyError::Exposed => "take the permissions of others away: `chmod 600` on the file",
        KeyError::Random | KeyError::Io(_) => "check the permissions of CCPEER_HOME",
    };
    let code = if matches!(e, KeyError::Damaged) {
        ErrorCode::Damaged
    } else {
        ErrorCode::Disk
    };
    ApiError::new(code, format!("{e} ({})", home.key().display())).hint(hint)
}

fn no_network(e: &NetError) -> ApiError {
    ApiError::new(
        ErrorCode::Disk,
        format!("cannot open the network endpoint: {e}"),
    )
    .hint("check `--listen`; another program may use the port")
}

fn no_randomness(e: &random::NoRandomness) -> ApiError {
    ApiError::new(ErrorCode::Bug, e.to_string())
}

//! Networks made of namespaces: hosts with wires to one or more bridges, and
//! everything that can go wrong with a wire. Linux, root and iproute2; where a
//! network cannot be made, a test says so and ends ([`Lan::new`] is `None`).
//!
//! A **site** is a bridge with the network 10.77.SITE.0/24; host `n` is
//! 10.77.SITE.(n+1) on its interface `ethSITE`. Nothing leads outside: the router
//! 10.77.SITE.254 of the default route does not exist, so that whatever would go
//! to the internet shows as a question for it (see [`super::wire`]).
//!
//! ```text
//! let Some(lan) = Lan::new(3) else { return };             // three hosts, one bridge
//! let Some(lan) = Lan::sites(&[&[0], &[1], &[0, 1]]) …     // 0 and 1 never meet, 2 meets both
//! let a = lan.device(&world, 0, "desk");                   // an agent that runs on host 0
//! lan.multicast(1, false); lan.loss(1, 20); lan.unplug(1, 0);  // what happens to a wire
//! let seen = lan.capture(0); … seen.end();                 // what passed on it
//! lan.inside(2, || UdpSocket::bind("0.0.0.0:5353"));        // anything else, from there
//! ```
//!
//! All of it is gone when the value is dropped, also by a panic; what a killed
//! test left behind goes with the next network that is made.
#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

use std::fs::File;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

use super::wire::Capture;
use super::world::{Device, World};

/// Prefix of all our namespaces; what follows is the process that made it.
const PREFIX: &str = "ccpeer-test-";

/// Hosts on bridges.
pub(super) struct Lan {
    tag: String,
    /// For each host, the sites it is wired to.
    hosts: Vec<Vec<u8>>,
    /// The kernel can drop packets for us.
    filters: bool,
}

impl Lan {
    /// So many hosts on one bridge.
    pub(super) fn new(hosts: usize) -> Option<Self> {
        Self::sites(&vec![&[0][..]; hosts])
    }

    /// For each host, the sites it is wired to. Nobody forwards between sites.
    pub(super) fn sites(hosts: &[&[u8]]) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        static SWEPT: Once = Once::new();
        SWEPT.call_once(sweep);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mut lan = Self {
            tag: format!("{PREFIX}{}-{number}", std::process::id()),
            hosts: hosts.iter().map(|sites| sites.to_vec()).collect(),
            filters: true,
        };
        if !lan.possible() {
            println!("skipped: network namespaces cannot be made here");
            return None;
        }
        lan.make();
        Some(lan)
    }

    /// Whether there can be a bridge with a wire to it. What fails after that is
    /// a failure.
    fn possible(&mut self) -> bool {
        let hub = self.hub();
        let can = ip(&["netns", "add", &hub])
            && ip(&["-n", &hub, "link", "add", "probe", "type", "bridge"])
            && ip(&[
                "-n", &hub, "link", "add", "x", "type", "veth", "peer", "name", "y",
            ])
            && ip(&["-n", &hub, "link", "del", "x"])
            && self.try_inside(&hub, || ()).is_ok();
        self.filters = can
            && tc(&hub, "qdisc add dev probe clsact")
            && tc(
                &hub,
                &format!(
                    "filter add dev probe egress pref 1 bpf da bytecode {}",
                    dropped(1)
                ),
            );
        can && ip(&["-n", &hub, "link", "del", "probe"])
    }

    fn make(&self) {
        let mut sites: Vec<u8> = self.hosts.concat();
        sites.sort_unstable();
        sites.dedup();
        for site in sites {
            self.hub_ip(&format!("link add br{site} type bridge mcast_snooping 0"));
            self.hub_ip(&format!("link set br{site} up"));
        }
        for (n, sites) in self.hosts.iter().enumerate() {
            assert!(ip(&["netns", "add", &self.ns(n)]), "cannot add host {n}");
            self.ip(n, "link set lo up");
            for site in sites {
                let (port, wire) = (port(n, *site), eth(*site));
                let ns = self.ns(n);
                self.hub_ip(&format!(
                    "link add {port} type veth peer name {wire} netns {ns}"
                ));
                self.hub_ip(&format!("link set {port} master br{site} up"));
                if self.filters {
                    assert!(tc(&self.hub(), &format!("qdisc add dev {port} clsact")));
                }
                self.ip(
                    n,
                    &format!("addr add {}/24 dev {wire}", self.address(n, *site)),
                );
                self.ip(n, &format!("link set {wire} up"));
            }
            self.default_route(n);
        }
    }

    /// The way to the internet, where nobody is. A change of addresses takes it
    /// away.
    pub(super) fn default_route(&self, n: usize) {
        let site = self.hosts[n][0];
        let via = Ipv4Addr::new(10, 77, site, 254);
        self.ip(
            n,
            &format!("route replace default via {via} dev {}", eth(site)),
        );
    }

    /// A device of its own on a host; its agent runs.
    pub(super) fn device(&self, world: &World, n: usize, name: &'static str) -> Device {
        let mut device = self.idle(world, n, name);
        device.start();
        device.ok(&["rename", name]);
        device
    }

    /// A device on a host, whose agent does not run yet.
    pub(super) fn idle(&self, world: &World, n: usize, name: &'static str) -> Device {
        let mut device = world.device(name);
        device.netns = Some(self.ns(n));
        device
    }

    /// The address that a host was given in the beginning.
    pub(super) fn address(&self, n: usize, site: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, site, u8::try_from(n + 1).unwrap())
    }

    /// `ip` on a host. It must succeed.
    pub(super) fn ip(&self, n: usize, line: &str) {
        run_ip(&self.ns(n), line);
    }

    fn hub_ip(&self, line: &str) {
        run_ip(&self.hub(), line);
    }

    /// Takes a host's wire to a site out: both ends of it see that.
    pub(super) fn unplug(&self, n: usize, site: u8) {
        self.hub_ip(&format!("link set {} down", port(n, site)));
    }

    /// Puts it in again.
    pub(super) fn plug(&self, n: usize, site: u8) {
        self.hub_ip(&format!("link set {} up", port(n, site)));
    }

    /// Takes it out for so long.
    pub(super) fn cut(&self, n: usize, site: u8, span: Duration) {
        self.unplug(n, site);
        // Nothing is waited for: the span is what is tested.
        let (_end, never) = channel::<()>();
        let _over = never.recv_timeout(span);
        self.plug(n, site);
    }

    /// Gives a host another address in its first site, as a DHCP server would.
    pub(super) fn move_to(&self, n: usize, from: Ipv4Addr, to: Ipv4Addr) {
        let wire = eth(self.hosts[n][0]);
        self.ip(n, &format!("addr del {from}/24 dev {wire}"));
        self.ip(n, &format!("addr add {to}/24 dev {wire}"));
        self.default_route(n);
    }

    /// Whether multicast passes on a host's wires, in either direction. False if
    /// this kernel cannot do it.
    #[must_use]
    pub(super) fn multicast(&self, n: usize, passes: bool) -> bool {
        // IPv4: everything to 224/4. IPv6: UDP to ff00::/8; the rest is needed to
        // find neighbours.
        const MULTICAST: &str = "13,40 0 0 12,21 0 4 2048,48 0 0 30,84 0 0 240,21 7 0 224,\
             6 0 0 4294967295,21 0 4 34525,48 0 0 38,21 0 2 255,48 0 0 20,21 1 0 17,\
             6 0 0 4294967295,6 0 0 2";
        self.filter(n, 1, (!passes).then_some(MULTICAST))
    }

    /// Loses so many of a hundred packets to a host and from it. False if this
    /// kernel cannot do it.
    #[must_use]
    pub(super) fn loss(&self, n: usize, percent: u32) -> bool {
        // Else one packet that is lost is a whole burst.
        for site in &self.hosts[n] {
            self.ip(n, &format!("link set {} gso_max_segs 1", eth(*site)));
        }
        self.filter(n, 2, (percent > 0).then(|| dropped(percent)).as_deref())
    }

    fn filter(&self, n: usize, pref: u8, program: Option<&str>) -> bool {
        if !self.filters {
            if program.is_none() {
                return true;
            }
            println!("skipped: this kernel does not drop packets for us");
            return false;
        }
        for site in &self.hosts[n] {
            for way in ["ingress", "egress"] {
                let which = format!("dev {} {way} pref {pref}", port(n, *site));
                let _there_was_none = tc(&self.hub(), &format!("filter del {which}"));
                if let Some(program) = program {
                    let line = format!("filter add {which} bpf da bytecode {program}");
                    assert!(tc(&self.hub(), &line), "{line}");
                }
            }
        }
        true
    }

    /// What a host gets, it gets no faster than so many kilobits in a second.
    /// False if this kernel cannot do it.
    #[must_use]
    pub(super) fn narrow(&self, n: usize, kilobits: u32) -> bool {
        let made = self.hosts[n].iter().all(|site| {
            let shape = format!("tbf rate {kilobits}kbit burst 16k latency 400ms");
            tc(
                &self.hub(),
                &format!("qdisc replace dev {} root {shape}", port(n, *site)),
            )
        });
        if !made {
            println!("skipped: this kernel does not slow a wire down");
        }
        made
    }

    /// Packets of at most so many bytes on a host's wires, and the host knows it.
    pub(super) fn mtu(&self, n: usize, bytes: u32) {
        for site in &self.hosts[n] {
            self.ip(n, &format!("link set {} mtu {bytes}", eth(*site)));
        }
        self.black_hole(n, bytes);
    }

    /// Longer packets vanish on a host's wires, in either direction, and nobody
    /// is told.
    pub(super) fn black_hole(&self, n: usize, bytes: u32) {
        for site in &self.hosts[n] {
            // An end of such a wire takes in nothing that is longer than its own
            // bound; what leaves through it is cut off by the bridge.
            self.hub_ip(&format!("link set {} mtu {bytes}", port(n, *site)));
        }
    }

    /// Keeps what passes on all interfaces of a host, loopback as well.
    pub(super) fn capture(&self, n: usize) -> Capture {
        let namespace = namespace(&self.ns(n));
        Capture::begin(move || enter(&namespace))
    }

    /// Does something on a host: sockets opened and processes started in there
    /// belong to it.
    pub(super) fn inside<T: Send>(&self, n: usize, does: impl FnOnce() -> T + Send) -> T {
        self.try_inside(&self.ns(n), does).unwrap()
    }

    fn try_inside<T: Send>(&self, ns: &str, does: impl FnOnce() -> T + Send) -> std::io::Result<T> {
        let namespace = File::open(format!("/run/netns/{ns}"))?;
        // A namespace is a matter of one thread.
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&namespace, CloneFlags::CLONE_NEWNET)?;
                Ok(does())
            });
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn ns(&self, n: usize) -> String {
        format!("{}-{n}", self.tag)
    }

    fn hub(&self) -> String {
        format!("{}-hub", self.tag)
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for n in 0..self.hosts.len() {
            ip(&["netns", "del", &self.ns(n)]);
        }
        ip(&["netns", "del", &self.hub()]);
    }
}

fn namespace(ns: &str) -> File {
    File::open(format!("/run/netns/{ns}")).unwrap()
}

fn enter(namespace: &File) {
    setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
}

/// Takes away what tests that were killed have left behind.
fn sweep() {
    let Ok(all) = std::fs::read_dir("/run/netns") else {
        return;
    };
    for name in all
        .flatten()
        .filter_map(|e| e.file_name().into_string().ok())
    {
        let pid = name.strip_prefix(PREFIX).and_then(|n| n.split('-').next());
        if pid.is_some_and(|pid| !std::path::Path::new("/proc").join(pid).exists()) {
            ip(&["netns", "del", &name]);
        }
    }
}

/// A host's interface in a site.
pub(super) fn eth(site: u8) -> String {
    format!("eth{site}")
}

/// The bridge's end of the wire.
fn port(n: usize, site: u8) -> String {
    format!("p{n}s{site}")
}

/// A program of the kernel's packet filter that drops by chance.
fn dropped(percent: u32) -> String {
    let threshold = u64::from(u32::MAX) * u64::from(100 - percent.min(100)) / 100;
    format!("4,32 0 0 4294963256,53 0 1 {threshold},6 0 0 2,6 0 0 4294967295")
}

fn run_ip(ns: &str, line: &str) {
    let mut args = vec!["-n", ns];
    args.extend(line.split_whitespace());
    let run = Command::new("ip").args(&args).output().unwrap();
    let told = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "ip {line}: {told}");
}

fn ip(args: &[&str]) -> bool {
    quiet(Command::new("ip").args(args))
}

fn tc(ns: &str, line: &str) -> bool {
    // The words of a program hold blanks.
    let (line, program) = line
        .split_once(" bytecode ")
        .map_or((line, None), |(l, p)| (l, Some(p)));
    let mut command = Command::new("tc");
    command.args(["-n", ns]).args(line.split_whitespace());
    if let Some(program) = program {
        command.args(["bytecode", program]);
    }
    quiet(&mut command)
}

fn quiet(command: &mut Command) -> bool {
    let run = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    run.is_ok_and(|s| s.success())
}

/// The network is what it says: a test of what the other tests rely on.
#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, UdpSocket};
    use std::time::{Duration, Instant};

    use super::super::wire::Kind;
    use super::*;

    /// Whether a packet from one host gets to an address within half a second.
    fn passes(lan: &Lan, from: usize, to: &UdpSocket, addr: SocketAddr, bytes: usize) -> bool {
        within(Duration::from_millis(500), lan, from, to, addr, bytes)
    }

    /// Whether it ever does. A bridge takes its time with a wire that was put in.
    fn reaches(lan: &Lan, from: usize, to: &UdpSocket, addr: SocketAddr, bytes: usize) -> bool {
        within(Duration::from_secs(20), lan, from, to, addr, bytes)
    }

    /// Packets sent from one host to another address, until one arrives.
    fn within(
        limit: Duration,
        lan: &Lan,
        from: usize,
        to: &UdpSocket,
        addr: SocketAddr,
        bytes: usize,
    ) -> bool {
        let sender = lan.inside(from, || UdpSocket::bind("0.0.0.0:0").unwrap());
        let wait = Duration::from_millis(50);
        to.set_read_timeout(Some(wait)).unwrap();
        let mut buffer = [0; 2000];
        while to.set_nonblocking(true).is_ok() && to.recv(&mut buffer).is_ok() {}
        to.set_nonblocking(false).unwrap();
        let begin = Instant::now();
        while begin.elapsed() < limit {
            // No way there is an error as well as a silence.
            let _sent = sender.send_to(&vec![7; bytes], addr);
            if to.recv(&mut buffer).is_ok() {
                return true;
            }
        }
        false
    }

    #[test]
    fn a_network_is_what_it_says() {
        let Some(lan) = Lan::sites(&[&[0], &[1], &[0, 1]]) else {
            return;
        };
        let open = |n: usize| lan.inside(n, || UdpSocket::bind("0.0.0.0:7700").unwrap());
        let (on_1, on_2) = (open(1), open(2));
        let group = Ipv4Addr::new(224, 0, 0, 251);
        on_2.join_multicast_v4(&group, &lan.address(2, 0)).unwrap();
        let at = |ip: Ipv4Addr| SocketAddr::from((ip, 7700));
        let direct = at(lan.address(2, 0));
        assert!(reaches(&lan, 0, &on_2, direct, 9));
        assert!(
            !passes(&lan, 0, &on_1, at(lan.address(1, 1)), 9),
            "sites are apart"
        );
        let seen = lan.capture(0);
        assert!(!passes(&lan, 0, &on_2, at(Ipv4Addr::new(192, 0, 2, 1)), 9));
        let asked = seen
            .end()
            .iter()
            .any(|f| f.kind() == Kind::Arp([10, 77, 0, 254].into()));
        assert!(asked, "whoever wants to go out asks for the router");
        lan.unplug(0, 0);
        assert!(!passes(&lan, 0, &on_2, direct, 9), "unplugged");
        lan.plug(0, 0);
        assert!(reaches(&lan, 0, &on_2, direct, 1400));
        lan.black_hole(0, 1280);
        assert!(!passes(&lan, 0, &on_2, direct, 1400), "too long");
        assert!(reaches(&lan, 0, &on_2, direct, 1200));
        if !lan.multicast(0, true) {
            return;
        }
        assert!(reaches(&lan, 0, &on_2, at(group), 9));
        assert!(lan.multicast(0, false));
        assert!(!passes(&lan, 0, &on_2, at(group), 9), "multicast");
        assert!(reaches(&lan, 0, &on_2, direct, 9));
        assert!(lan.multicast(0, true) && reaches(&lan, 0, &on_2, at(group), 9));
        assert!(
            lan.loss(0, 100) && !passes(&lan, 0, &on_2, direct, 9),
            "lost"
        );
        assert!(lan.loss(0, 20) && reaches(&lan, 0, &on_2, direct, 9));
    }
}

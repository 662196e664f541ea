#!/usr/bin/env python3
"""Two agents in two network namespaces: discovery, pairing by code, roaming, and silence.

    scripts/netns.py PATH-TO-CCPEER

A wire joins the two namespaces and leads nowhere else; whatever would go to the
internet shows as a question for the router that does not exist. Linux with user
namespaces (or root), iproute2 and util-linux; Python standard library only. Exit
status 0 if everything holds, 1 if not, 2 if this machine cannot run it.
"""
import collections
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SAMPLE = os.path.join(TOP, "testdata", "claude", "full", "claude")
ROUTER = "10.77.0.254"
failures = []


def check(what, holds, detail=""):
    if not holds:
        failures.append(what)
    print("  %s %s%s" % ("ok    " if holds else "FAILED", what, " (%s)" % detail if detail else ""), flush=True)


def sh(*args):
    subprocess.run(args, check=True, stdin=subprocess.DEVNULL)


class Side:
    """One namespace with one agent in it."""

    def __init__(self, scratch, name, address, ccpeer):
        self.name, self.address, self.ccpeer = name, address, ccpeer
        self.home = os.path.join(scratch, name)
        os.makedirs(self.home)
        self.env = {"HOME": self.home, "CCPEER_HOME": self.home + "/ccpeer", "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "TERM": "dumb"}
        # Holds the namespace open.
        self.holder = subprocess.Popen(["unshare", "-n", "sleep", "3600"], stdin=subprocess.DEVNULL)
        self.agent = None
        end = time.time() + 5
        while os.readlink("/proc/%d/ns/net" % self.holder.pid) == os.readlink("/proc/self/ns/net"):
            if time.time() > end:
                raise RuntimeError("no network namespace came about")
            time.sleep(0.02)

    def inside(self, *args):
        return ["nsenter", "-t", str(self.holder.pid), "-n", "--", *args]

    def plug(self, end):
        sh("ip", "link", "set", end, "netns", str(self.holder.pid))
        for line in ("link set lo up", "link set %s name eth0" % end, "addr add %s/24 dev eth0" % self.address, "link set eth0 up", "route add default via " + ROUTER):
            sh(*self.inside("ip", *line.split()))

    def start(self):
        self.log = open(self.home + "/agent.out", "ab")
        self.agent = subprocess.Popen(self.inside(self.ccpeer, "agent"), env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log)
        if not self.agent.stdout.readline():
            raise RuntimeError("the agent of %s ended: %s" % (self.name, open(self.home + "/agent.out").read()[-500:]))

    def run(self, *args, stdin=""):
        return subprocess.run(self.inside(self.ccpeer, *args), env=self.env, input=stdin, capture_output=True, text=True, timeout=90, cwd=self.home)

    def ask(self, *args, **how):
        done = self.run(*args, "--json", **how)
        try:
            return json.loads(done.stdout.strip().splitlines()[-1] if args[0] in ("join", "push", "pull") else done.stdout)
        except (ValueError, IndexError):
            raise RuntimeError("ccpeer %s on %s: exit %d %s" % (" ".join(args), self.name, done.returncode, done.stderr[-400:]))

    def tcp(self):
        """The addresses of every TCP socket in this namespace, in any state."""
        rows = []
        for table in ("tcp", "tcp6"):
            with open("/proc/%d/net/%s" % (self.agent.pid, table)) as f:
                rows += [line.split()[1] for line in f.readlines()[1:]]
        return rows

    def connected(self):
        return [p for p in self.ask("status")["peers"] if p["state"] == "connected"]

    def end(self):
        for process in (self.agent, self.holder):
            if process and process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()


def within(seconds, condition):
    """Seconds until the condition held, or None."""
    begin = time.time()
    while time.time() - begin < seconds:
        try:
            if condition():
                return time.time() - begin
        except (RuntimeError, KeyError):
            pass
        time.sleep(0.1)
    return None


def took(seconds):
    return "never" if seconds is None else "%.1f s" % seconds


def pair_by_code(inviter, joiner):
    """As two people would: one reads the code out, the other types it, the first says yes."""
    pid, terminal = pty.fork()
    if pid == 0:
        args = inviter.inside(inviter.ccpeer, "pair")
        os.execvpe(args[0], args, inviter.env)
    shown, joining, end = "", None, time.time() + 60
    while time.time() < end:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                shown += os.read(terminal, 4096).decode("utf-8", "replace")
            except OSError:
                break
        code = re.search(r"\b[0-9A-Z]{3}-[0-9A-Z]{3}\b", shown)
        if code and not joining:
            joining = subprocess.Popen(joiner.inside(joiner.ccpeer, "join", "--json"), env=joiner.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            joining.stdin.write(code.group() + "\n")
            joining.stdin.close()
        if re.search(r"\[y/N\]\s*$", shown):
            os.write(terminal, b"y\n")
            shown += " answered\n"
    os.close(terminal)
    os.waitpid(pid, 0)
    out = joining.stdout.read() if joining else ""
    if joining:
        joining.wait(30)
    return '"paired"' in out, shown + out


def sniff(out):
    """Counts what passes on eth0, by kind, until it is told to end."""
    seen = collections.Counter()
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    wire.bind(("eth0", 0))
    wire.settimeout(0.2)
    ends = []
    signal.signal(signal.SIGTERM, lambda *_: ends.append(1))
    while not ends:
        try:
            seen[kind_of(wire.recv(65535))] += 1
        except OSError:
            time.sleep(0.01)  # nothing for a while, or the wire is cut
    with open(out, "w") as f:
        json.dump(seen, f)


def kind_of(frame):
    ethertype = struct.unpack("!H", frame[12:14])[0]
    if ethertype == 0x0806:
        return "arp " + socket.inet_ntoa(frame[38:42])
    if ethertype == 0x0800:
        header = (frame[14] & 15) * 4
        protocol, to = frame[23], socket.inet_ntoa(frame[30:34])
        rest = frame[14 + header:]
    elif ethertype == 0x86DD:
        protocol, to, rest = frame[20], socket.inet_ntop(socket.AF_INET6, frame[38:54]), frame[54:]
    else:
        return "ethertype %04x" % ethertype
    name = {1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 58: "icmp6", 0: "icmp6"}.get(protocol, str(protocol))
    port = " %d" % struct.unpack("!H", rest[2:4])[0] if name in ("tcp", "udp") else ""
    return "%s %s%s" % (name, to, port)


def stays_here(kind):
    """Whether a packet is between the two, or local by its nature."""
    what, to = (kind.split() + ["", ""])[:2]
    if what == "arp":
        return to.startswith("10.77.0.") and to != ROUTER
    if what in ("icmp6", "igmp"):
        return True
    port = kind.split()[-1]
    if to in ("224.0.0.251", "ff02::fb"):
        return what == "udp" and port == "5353"
    return what in ("udp", "icmp") and (to.startswith("10.77.0.") or to.startswith("fe80:"))


def story(a, b):
    a.start()
    b.start()
    paired, shown = pair_by_code(a, b)
    check("they find each other by multicast and pair by code", paired, "" if paired else shown[-400:])
    check("a link comes up", within(15, lambda: a.connected() and b.connected()) is not None)
    for side in (a, b):
        check("K-N10: nothing of %s listens on TCP, or speaks it" % side.name.upper(), not side.tcp(), ", ".join(side.tcp()))

    shutil.copytree(SAMPLE, a.home + "/.claude")
    session = next(f[:-6] for _, _, files in os.walk(a.home + "/.claude/projects") for f in files if len(f) == 42)
    a.run("push", "--all")
    check("a session of A is whole on B", (t := within(20, lambda: [r for r in b.ask("tasks", "--all") if r["session_id"] == session and r["complete"]])) is not None, took(t))
    os.makedirs(b.home + "/there")
    check("and can be placed there", b.ask("continue", session, "--into", b.home + "/there", "--no-exec")["placed"] == "new")

    for line in ("addr del 10.77.0.1/24 dev eth0", "addr add 10.77.0.9/24 dev eth0"):
        sh(*a.inside("ip", *line.split()))
    sh(*a.inside("ip", "route", "replace", "default", "via", ROUTER))
    time.sleep(1)
    b.agent.send_signal(signal.SIGTERM)
    b.agent.wait(10)
    b.start()
    check("after a restart B finds A under a new address", (t := within(30, lambda: a.connected() and b.connected())) is not None, took(t))

    sh(*a.inside("ip", "link", "set", "eth0", "down"))
    check("a cut wire is noticed", (t := within(40, lambda: not b.connected())) is not None, took(t))
    sh(*a.inside("ip", "link", "set", "eth0", "up"))
    sh(*a.inside("ip", "route", "replace", "default", "via", ROUTER))
    check("and mended by itself", (t := within(60, lambda: a.connected() and b.connected())) is not None, took(t))


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "--sniff":
        return sniff(sys.argv[2])
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(__doc__)
        return 2
    if "CCPEER_NETNS" not in os.environ:
        # Once more, in a network of its own, so that this machine's is not touched.
        how = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-rn"]
        if subprocess.run(how + ["true"]).returncode or not shutil.which("nsenter") or not shutil.which("ip"):
            print("this machine cannot make network namespaces", file=sys.stderr)
            return 2
        os.environ["CCPEER_NETNS"] = "1"
        os.execvp(how[0], how + [sys.executable, os.path.abspath(__file__), os.path.abspath(sys.argv[1])])
    scratch = tempfile.mkdtemp(prefix="ccpeer-netns-")
    a = Side(scratch, "a", "10.77.0.1", sys.argv[1])
    b = Side(scratch, "b", "10.77.0.2", sys.argv[1])
    sniffers = []
    try:
        sh("ip", "link", "add", "wire-a", "type", "veth", "peer", "name", "wire-b")
        a.plug("wire-a")
        b.plug("wire-b")
        for side in (a, b):
            sniffers.append(subprocess.Popen(side.inside(sys.executable, os.path.abspath(__file__), "--sniff", side.home + "/seen.json")))
        story(a, b)
    except (RuntimeError, OSError, subprocess.SubprocessError, KeyError) as e:
        check("the story was told to its end", False, "%s: %s" % (type(e).__name__, e))
    finally:
        for side in (a, b):
            if side.agent and side.agent.poll() is None:
                side.agent.send_signal(signal.SIGTERM)
        for s in sniffers:
            s.terminate()
            s.wait()
        for side in (a, b):
            side.end()
    for side in (a, b):
        seen = json.load(open(side.home + "/seen.json")) if os.path.exists(side.home + "/seen.json") else {}
        away = sorted(k for k in seen if not stays_here(k))
        check("K-N10: nothing of %s went anywhere else (%d packets)" % (side.name.upper(), sum(seen.values())), seen and not away, ", ".join(away[:8]))
    print("%s" % ("everything holds" if not failures else "%d failed; see %s" % (len(failures), scratch)))
    if not failures:
        shutil.rmtree(scratch, ignore_errors=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

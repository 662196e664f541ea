"""Hosts of the bench: two namespaces with a wire between them, a cgroup for each.

Bytes are what the interfaces count, as IP bytes, with nothing left to the network
card (one packet on the wire is one packet in the count). CPU is what the cgroup of
a host was billed, whoever started it, less the bench's own helper. Everything made
here has the number of this process in its name and is gone when it ends; what a
killed run left behind goes with the next one.
"""
import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PREFIX = "ccpeer-bench-"
ETHERNET_BYTES = 14


class Failed(Exception):
    """Something did not do what a figure needs; that figure is left out."""


class Absent(Failed):
    """What is needed for it is not on this machine."""


def sh(*argv, check=True):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if check and done.returncode:
        raise Failed("%s: %s" % (" ".join(argv), done.stdout.strip()[-300:]))
    return done.stdout


def wait(what, condition, seconds=60.0, step=0.05):
    end = time.monotonic() + seconds
    while True:
        got = condition()
        if got:
            return got
        if time.monotonic() > end:
            raise Failed("%s did not come within %d s" % (what, seconds))
        time.sleep(step)


def blocks(*paths):
    """Bytes that are allocated on disk for files and everything below directories."""
    total = 0
    for path in paths:
        if os.path.isfile(path):
            total += os.lstat(path).st_blocks * 512
        for folder, _, files in os.walk(path):
            for name in files:
                try:
                    total += os.lstat(os.path.join(folder, name)).st_blocks * 512
                except FileNotFoundError:
                    pass
    return total


def cgroups():
    """Where version 2 of the kernel's control groups is mounted."""
    with open("/proc/mounts") as f:
        found = [line.split()[1] for line in f if line.split()[2] == "cgroup2"]
    if not found:
        raise Absent("no cgroup2 is mounted: mount -t cgroup2 none DIR")
    return found[0]


def sweep(ours=None):
    """Takes away what runs that were killed have left, and what is left of ours:
    namespaces, cgroups, processes."""
    def of_the_dead(name):
        number = name[len(PREFIX):].split("-")[0]
        return name.startswith(PREFIX) and (number == str(ours) or not os.path.exists("/proc/" + number))

    top = cgroups()
    for name in filter(of_the_dead, os.listdir(top)):
        bury(os.path.join(top, name))
    for name in filter(of_the_dead, os.listdir("/run/netns") if os.path.isdir("/run/netns") else ()):
        sh("ip", "netns", "del", name, check=False)


def bury(cgroup):
    """Ends everything in a cgroup of ours, and the cgroup."""
    for _ in range(100):
        try:
            with open(cgroup + "/cgroup.procs") as f:
                left = [int(pid) for pid in f.read().split()]
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            if not left:
                os.rmdir(cgroup)
                return
        except ProcessLookupError:
            pass
        except OSError:
            if not os.path.isdir(cgroup):
                return
        time.sleep(0.02)


class Net:
    """Two namespaces and the wire: veth at full speed, or `MBIT:DELAY_MS` through the shaper."""

    made = 0

    def __init__(self, shape=None):
        Net.made += 1
        tag = "%s%d-%d" % (PREFIX, os.getpid(), Net.made)
        self.shape, self.names, self.shaper = shape, (tag + "-a", tag + "-b"), None
        self.addresses = ("10.78.0.1", "10.78.0.2")
        try:
            self.make()
        except BaseException:
            self.close()
            raise

    def make(self):
        for ns in self.names:
            sh("ip", "netns", "add", ns)
            sh("ip", "-n", ns, "link", "set", "lo", "up")
        if self.shape:
            if not os.path.exists("/dev/net/tun"):
                raise Absent("there is no /dev/net/tun for a slow link")
            self.shaper = subprocess.Popen([sys.executable, HERE + "/shaper.py", *self.names, *self.shape.split(":")], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
            if self.shaper.stdout.readline().strip() != "ready":
                raise Failed("the shaper did not start")
        else:
            sh("ip", "link", "add", "wire", "netns", self.names[0], "type", "veth", "peer", "name", "wire", "netns", self.names[1])
        for ns, address in zip(self.names, self.addresses):
            if not self.shape:
                sh("ip", "-n", ns, "link", "set", "wire", "gso_max_segs", "1")
                if shutil.which("ethtool"):
                    sh("ip", "netns", "exec", ns, "ethtool", "-K", "wire", "tso", "off", "gso", "off", "gro", "off", check=False)
            # No router is asked for and none answers: the bytes are the programs' own.
            sh("ip", "netns", "exec", ns, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", check=False)
            sh("ip", "-n", ns, "addr", "add", address + "/24", "brd", "+", "dev", "wire")
            sh("ip", "-n", ns, "link", "set", "wire", "mtu", "1500", "up")

    def bytes(self):
        """IP bytes from A to B, and from B to A."""
        out = json.loads(sh("ip", "-n", self.names[0], "-j", "-s", "link", "show", "dev", "wire"))[0]
        seen = out.get("stats64") or out["stats"]
        header = 0 if self.shape else ETHERNET_BYTES
        return tuple(seen[way]["bytes"] - header * seen[way]["packets"] for way in ("tx", "rx"))

    def packets(self):
        out = json.loads(sh("ip", "-n", self.names[0], "-j", "-s", "link", "show", "dev", "wire"))[0]
        seen = out.get("stats64") or out["stats"]
        return seen["tx"]["packets"], seen["rx"]["packets"]

    def close(self):
        if self.shaper:
            self.shaper.kill()
            self.shaper.wait()
        for ns in self.names:
            sh("ip", "netns", "del", ns, check=False)


class Host:
    """One computer: a home, a side of the wire, a bill for CPU."""

    def __init__(self, net, side, root, env):
        self.side, self.root, self.net = side, root, net
        self.home, self.address = os.path.join(root, "home"), net.addresses[side]
        self.claude = os.path.join(self.home, ".claude")
        os.makedirs(self.claude, exist_ok=True)
        self.log, self.started, self.own = os.path.join(root, "log"), [], 0.0
        self.env = dict({"HOME": self.home, "PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LANG": "C.UTF-8", "GIT_CONFIG_NOSYSTEM": "1"}, **env)
        self.cgroup = os.path.join(cgroups(), net.names[side])
        os.mkdir(self.cgroup)
        self.helper = subprocess.Popen([sys.executable, "-S", HERE + "/inside.py", net.names[side], self.cgroup], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.order("cpu")

    def order(self, what, **fields):
        self.helper.stdin.write(json.dumps(dict(fields, do=what)) + "\n")
        self.helper.stdin.flush()
        line = self.helper.stdout.readline()
        if not line:
            raise Failed("the helper of a host has ended")
        answer = json.loads(line)
        self.own = answer["self"]
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    def program(self, argv, given=None, out=None, env=None):
        return {"argv": list(argv), "env": dict(self.env, **(env or {})), "cwd": self.root, "out": out or self.log, "err": self.log,
                "input": None if given is None else base64.b64encode(given).decode()}

    def run(self, *argv, given=None, out=None, ok=(0,), env=None):
        """Runs a program to its end."""
        done = self.order("run", **self.program(argv, given, out, env))
        if done["code"] not in ok:
            with open(self.log, errors="replace") as f:
                raise Failed("%s: exit %d: %s" % (" ".join(argv[:4]), done["code"], f.read()[-300:].strip()))
        return done

    def read(self, *argv, given=None, ok=(0,)):
        """Runs a program; what it printed."""
        out = os.path.join(self.root, "out")
        if os.path.exists(out):
            os.unlink(out)
        self.run(*argv, given=given, out=out, ok=ok)
        with open(out, encoding="utf-8") as f:
            return f.read()

    def start(self, *argv, given=None, out=None, env=None):
        begun = self.order("start", **self.program(argv, given, out, env))
        self.started.append(begun["pid"])
        return begun

    def stop(self, pid, how=signal.SIGTERM):
        self.order("stop", pid=pid, signal=int(how))
        self.started.remove(pid)

    def cpu(self):
        """Seconds of CPU that this host was billed."""
        self.order("cpu")
        with open(self.cgroup + "/cpu.stat") as f:
            billed = dict(line.split() for line in f)
        return int(billed["usage_usec"]) / 1e6 - self.own

    def memory(self, *pids):
        """Proportional and resident set of programs, in MiB."""
        pss = rss = 0
        for pid in pids:
            with open("/proc/%d/smaps_rollup" % pid) as f:
                for line in f:
                    pss += int(line.split()[1]) if line.startswith("Pss:") else 0
                    rss += int(line.split()[1]) if line.startswith("Rss:") else 0
        return pss / 1024, rss / 1024

    def close(self):
        self.helper.stdin.close()
        bury(self.cgroup)
        self.helper.wait()


class Meter:
    """What two hosts spent between two moments."""

    def __init__(self, net, a, b):
        self.net, self.hosts = net, (a, b)
        self.start = self.now()

    def now(self):
        return [h.cpu() for h in self.hosts] + list(self.net.bytes())

    def spent(self):
        """CPU seconds of A and of B, bytes there and back."""
        return [new - old for old, new in zip(self.start, self.now())]

"""What is measured side by side: ccpeer, and tools that carry files from one computer to another.

A peer has two hosts and a wire of its own. `begin` is everything before the clock
runs, `first` the first sync of a tree, `turn` one append until it shows on B,
`nothing` a resync without a change. Tools that have to be told are told in the
moment of the append: their best case.
"""
import json
import os
import shutil
import socket
import struct
import time
import xml.etree.ElementTree as ET

import rig
from rig import Absent, Failed, wait

FRAME_REQUEST, FRAME_OK, FRAME_ERROR = b"J", b"K", b"E"
PATIENCE_SECONDS = 1800
LOOK_SECONDS = 0.001


class Peer:
    """One tool between two hosts."""

    name, program = "", ""
    # From the end of a turn until its last byte has passed: what the counters wait for.
    settle = 0.3

    def __init__(self, bench, shape=None):
        if self.program and not shutil.which(self.program):
            raise Absent(self.program + " is not installed")
        self.bench = bench
        self.root = os.path.join(bench.scratch, "run", self.name)
        shutil.rmtree(self.root, ignore_errors=True)
        self.net, self.a, self.b = rig.Net(shape), None, None
        try:
            self.a = rig.Host(self.net, 0, os.path.join(self.root, "a"), self.env("a"))
            self.b = rig.Host(self.net, 1, os.path.join(self.root, "b"), self.env("b"))
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def env(self, _side):
        return {}

    def close(self):
        for host in (self.a, self.b):
            if host:
                host.close()
        self.net.close()
        if not self.bench.keep:
            shutil.rmtree(self.root, ignore_errors=True)

    def version(self):
        return self.a.read(self.program, "--version").split("\n")[0].strip()

    def load(self, corpus):
        rig.sh("cp", "-a", "--reflink=auto", corpus + "/.claude", self.a.home)
        self.trees = rig.sh("find", self.a.claude, "-type", "f", "-printf", "%P %s\n").splitlines()

    def meter(self):
        return rig.Meter(self.net, self.a, self.b)

    def begin(self):
        """Everything before the first byte of the tree moves."""

    def start(self):
        """Waits until a first sync has ended, whoever begins it."""
        self.first()

    def first(self):
        raise NotImplementedError

    def turn(self, rel, content):
        """Appends on A, and gives the seconds until it shows on B."""
        begin = self.append(rel, content)
        self.tell(rel)
        self.arrives(rel, content)
        return time.monotonic() - begin

    def append(self, rel, content):
        with open(os.path.join(self.a.claude, rel), "ab", buffering=0) as f:
            begin = time.monotonic()
            f.write(content)
        return begin

    def tell(self, rel):
        """For those that do not notice by themselves."""

    def arrives(self, rel, content, seconds=PATIENCE_SECONDS):
        here, there = os.path.join(self.a.claude, rel), os.path.join(self.b.claude, rel)
        size, tail = os.path.getsize(here), content[-4096:]

        def shows():
            try:
                if os.path.getsize(there) != size:
                    return False
                with open(there, "rb") as f:
                    f.seek(size - len(tail))
                    return f.read() == tail
            except FileNotFoundError:
                return False
        wait("the turn", shows, seconds, LOOK_SECONDS / 2)

    def whole(self, seconds=PATIENCE_SECONDS):
        """Waits until B has every file of A's tree in its full size."""
        def shows():
            begin = time.monotonic()
            for line in self.trees:
                path, size = line.rsplit(" ", 1)
                try:
                    if os.path.getsize(os.path.join(self.b.claude, path)) != int(size):
                        return False
                except FileNotFoundError:
                    time.sleep(4 * (time.monotonic() - begin))
                    return False
            return True
        wait("the tree", shows, seconds, 0.02)

    def state(self):
        """Where the tool keeps what is not the tree, on A and on B."""
        return (), ()

    def disk(self):
        a, b = self.state()
        return rig.blocks(*a), rig.blocks(*b)


class Ccpeer(Peer):
    """Real agents, paired by ticket; the hook that Claude Code starts sets a turn in motion."""

    name, settle = "ccpeer", 1.0

    def env(self, side):
        env = {"CCPEER_HOME": os.path.join(self.root, side, "ccpeer")}
        if "CCPEER_LOG" in os.environ:
            env["CCPEER_LOG"] = os.environ["CCPEER_LOG"]
        return env

    def version(self):
        return self.a.read(self.bench.ccpeer, "--version").strip()

    def up(self, host):
        """Starts an agent; the seconds until it accepts work."""
        out = os.path.join(host.root, "ready")
        if os.path.exists(out):
            os.unlink(out)
        begun = host.start(self.bench.ccpeer, "agent", out=out)
        host.agent = begun["pid"]

        def ready():
            try:
                with open(out) as f:
                    return f.read().startswith("ready")
            except FileNotFoundError:
                return False
        wait("an agent", ready, 60, 0.001)
        return time.monotonic() - begun["begin"]

    def down(self, host):
        host.run(self.bench.ccpeer, "down")
        host.stop(host.agent)

    def begin(self):
        for host in (self.a, self.b):
            self.up(host)
        out = os.path.join(self.a.root, "pair")
        pair = self.a.start(self.bench.ccpeer, "pair", "--ticket", "--yes", "--json", out=out)["pid"]

        def ticket():
            with open(out) as f:
                return [e["ticket"] for e in map(json.loads, f) if e.get("event") == "ticket"]
        given = wait("a ticket", lambda: os.path.exists(out) and ticket())[0]
        told = self.b.read(self.bench.ccpeer, "join", "--json", given=given.encode() + b"\n")
        if '"paired"' not in told:
            raise Failed("pairing: " + told)
        self.a.stop(pair)
        self.linked()

    def load(self, corpus):
        super().load(corpus)
        self.projects()

    def projects(self):
        """The directories that the sessions speak of, as repositories with a remote."""
        if not shutil.which("git"):
            return
        model, top = os.path.join(self.root, "model"), os.path.join(self.a.home, "src")
        if not os.path.exists(model):
            rig.sh("git", "init", "-q", "-b", "main", model)
            rig.sh("git", "-C", model, "remote", "add", "origin", "https://git.example/team/project.git")
            rig.sh("git", "-C", model, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "begin")
        for cwd in self.bench.cwds(self.a.claude):
            if cwd.startswith(top) and not os.path.exists(cwd):
                shutil.copytree(model, cwd)

    def ask(self, host, op, **fields):
        """One question on an agent's own socket: no process is started for it."""
        run = os.open(os.path.join(host.env["CCPEER_HOME"], "run"), os.O_RDONLY)
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.connect("/proc/self/fd/%d/agent.sock" % run)
                body = json.dumps(dict(fields, op=op)).encode()
                s.sendall(struct.pack("<I", len(body) + 1) + FRAME_REQUEST + body)
                while True:
                    length = struct.unpack("<I", exactly(s, 4))[0]
                    frame = exactly(s, length)
                    if frame[:1] == FRAME_OK:
                        return json.loads(frame[1:])
                    if frame[:1] == FRAME_ERROR:
                        raise Failed("%s: %s" % (op, json.loads(frame[1:])["message"]))
        finally:
            os.close(run)

    def linked(self):
        def both():
            return all(p["state"] == "connected" and p["behind"] == 0 for h in (self.a, self.b) for p in self.ask(h, "status")["peers"])
        wait("a link", both, 60, 0.005)

    def has_all(self, host, count):
        def complete():
            begin = time.monotonic()
            if self.ask(host, "status")["store"]["sessions"] >= count:
                rows = self.ask(host, "tasks", all=True)
                if len(rows) >= count and all(r["complete"] for r in rows):
                    return True
            time.sleep(min(1.0, 6 * (time.monotonic() - begin)))
            return False
        wait("%d sessions" % count, complete, PATIENCE_SECONDS, 0.02)

    def first(self):
        """A's agent starts with the clock: it finds the sessions by itself."""
        self.down(self.a)
        begin = time.monotonic()
        self.up(self.a)
        self.has_all(self.b, self.sessions())
        return time.monotonic() - begin

    def start(self):
        """As `first`, with nobody waiting for a figure."""
        self.begin_hooks()
        self.first()
        self.linked()
        self.indexed()
        self.calm()

    def indexed(self):
        """Waits until both can be searched: what is indexed of the tree is on nobody's bill later."""
        for host in (self.a, self.b):
            wait("the index", lambda: not self.ask(host, "search", words="session")["building"], 1800, 0.1)

    def begin_hooks(self):
        """A process that the hooks call Claude Code."""
        self.claude_pid = self.a.start("sleep", "infinity")["pid"]

    def sessions(self):
        return len([t for t in self.trees if t.split(" ")[0].endswith(".jsonl") and t.startswith("projects/") and "/subagents/" not in t])

    def calm(self, seconds=60):
        """Waits until neither agent does anything."""
        def quiet():
            before = self.a.cpu() + self.b.cpu()
            time.sleep(0.5)
            return self.a.cpu() + self.b.cpu() - before < 0.01
        wait("calm", quiet, seconds)

    def payload(self, rel, event):
        path = os.path.join(self.a.claude, rel)
        cwd = self.bench.cwd(path)
        about = {"session_id": os.path.basename(rel)[:-6], "transcript_path": path, "cwd": cwd, "hook_event_name": event,
                 "permission_mode": "acceptEdits", "stop_hook_active": False, "last_assistant_message": "It is done. " * 60}
        env = {"CLAUDE_PROJECT_DIR": cwd, "CLAUDE_CODE_SESSION_ID": about["session_id"], "CLAUDE_PID": str(self.claude_pid)}
        return json.dumps(about).encode(), env

    def seen(self, host, sid):
        rows = [r for r in self.ask(host, "tasks", all=True) if r["session_id"] == sid]
        return (rows[0]["version"], rows[0]["complete"]) if rows else (None, False)

    def hook_client(self):
        """The program that the settings name: the small one where it lies beside."""
        small = os.path.join(os.path.dirname(self.bench.ccpeer), "ccpeer-hook")
        return small if os.path.exists(small) else self.bench.ccpeer

    def turn(self, rel, content, look=True):
        """The hook's start until the version is complete in B's list. Without
        looking, B is asked only when everything is over: its bill is its own."""
        sid = os.path.basename(rel)[:-6]
        old = self.seen(self.b, sid)[0]
        given, env = self.payload(rel, "Stop")
        self.append(rel, content)
        hook = self.a.start(self.hook_client(), "hook", "Stop", given=given, env=env)

        def shows():
            version, complete = self.seen(self.b, sid)
            return complete and version != old
        if not look:
            time.sleep(self.settle)
        wait("the turn", shows, 60, LOOK_SECONDS)
        took = time.monotonic() - hook["begin"]
        self.a.stop(hook["pid"], 0)
        return took if look else None

    def state(self):
        return [self.a.env["CCPEER_HOME"]], [self.b.env["CCPEER_HOME"]]


def exactly(s, count):
    out = bytearray()
    while len(out) < count:
        piece = s.recv(count - len(out))
        if not piece:
            raise Failed("an agent has hung up")
        out += piece
    return bytes(out)


class Floor(Peer):
    """Not a product: new bytes of one file through one warm zstd stream, over TCP, never made
    durable, unencrypted. What nothing can beat by much."""

    name, settle = "floor", 0.2

    def __init__(self, bench, shape=None):
        self.program = bench.example("floor")
        super().__init__(bench, shape)

    def version(self):
        return "-"

    def first(self):
        raise Absent("the floor has no first sync")

    def start(self):
        # In a moment that no clock sees: the file is there already.
        rig.sh("cp", "-a", self.a.claude, self.b.home)
        rel = os.path.relpath(self.bench.largest(self.a.home), self.a.claude)
        self.b.start(self.program, "take", self.net.addresses[1] + ":7001", os.path.join(self.b.claude, rel))
        self.fifo = os.path.join(self.root, "told")
        os.mkfifo(self.fifo)
        time.sleep(0.2)
        self.a.start(self.program, "give", self.net.addresses[1] + ":7001", os.path.join(self.a.claude, rel), self.fifo)
        self.bell = open(self.fifo, "wb", buffering=0)
        time.sleep(0.2)

    def tell(self, rel):
        self.bell.write(b"\n")


class Rsync(Peer):
    """A daemon on B, and `rsync -z` on A; a turn names its one file and says that it was appended to."""

    name, program = "rsync", "rsync"

    def begin(self):
        config = os.path.join(self.b.root, "rsyncd.conf")
        with open(config, "w") as f:
            f.write("use chroot = no\nuid = 0\ngid = 0\nreverse lookup = no\nsocket options = TCP_NODELAY\nlog file = %s\n[home]\npath = %s\nread only = no\n" % (
                os.path.join(self.b.root, "rsyncd.log"), self.b.home))
        self.b.start("rsync", "--daemon", "--no-detach", "--port=8730", "--config=" + config)
        self.where = "rsync://%s:8730/home/.claude/" % self.b.address
        wait("the daemon", lambda: self.b.order("ask", port=8730, method="GET", path="/", timeout=1)["body"].find("refused") < 0, 20)

    def rsync(self, *how):
        self.a.run("rsync", "--sockopts=TCP_NODELAY", *how)

    def first(self):
        begin = time.monotonic()
        self.nothing()
        return time.monotonic() - begin

    def nothing(self):
        self.rsync("-az", self.a.claude + "/", self.where)

    def tell(self, rel):
        self.rsync("-azR", "--append", self.a.claude + "/./" + rel, self.where)


class Syncthing(Peer):
    """Both sides running and connected, a change noticed after a second, the least it takes."""

    name, program, settle = "syncthing", "syncthing", 2.0
    key = {"X-API-Key": "bench"}

    def env(self, _side):
        return {"STNOUPGRADE": "1", "STNODEFAULTFOLDER": "1"}

    def version(self):
        return " ".join(self.a.read("syncthing", "--version").split()[:2])

    def config(self, host):
        return os.path.join(host.root, "syncthing")

    def begin(self):
        ids, ports = [], ("tcp://%s:22000" % self.a.address, "tcp://%s:22000" % self.b.address)
        for host in (self.a, self.b):
            host.run("syncthing", "generate", "--home=" + self.config(host), "--no-default-folder", "--skip-port-probing")
            ids.append(ET.parse(self.config(host) + "/config.xml").find("device").get("id"))
        for host in (self.a, self.b):
            os.makedirs(host.claude + "/.stfolder", exist_ok=True)
            self.write_config(host, ids, ports)
            host.start("syncthing", "serve", "--home=" + self.config(host), "--no-browser", "--no-restart")
        wait("Syncthing", self.connected, 60, 0.2)

    def write_config(self, host, ids, ports):
        doc = ET.parse(self.config(host) + "/config.xml")
        top = doc.getroot()
        for old in top.findall("folder") + top.findall("device"):
            top.remove(old)
        folder = ET.SubElement(top, "folder", id="tree", path=host.claude, type="sendreceive", rescanIntervalS="3600", fsWatcherEnabled="true", fsWatcherDelayS="1")
        ET.SubElement(folder, "paused").text = "true" if host is self.a else "false"
        for peer, port in zip(ids, ports):
            ET.SubElement(folder, "device", id=peer)
            ET.SubElement(ET.SubElement(top, "device", id=peer, name=peer[:7], compression="metadata"), "address").text = port
        top.find("gui").find("address").text = "127.0.0.1:8384"
        top.find("gui").find("apikey").text = self.key["X-API-Key"]
        options = top.find("options")
        for name, value in {"listenAddress": "tcp://0.0.0.0:22000", "globalAnnounceEnabled": "false", "localAnnounceEnabled": "false", "relaysEnabled": "false",
                            "natEnabled": "false", "urAccepted": "-1", "crashReportingEnabled": "false", "reconnectionIntervalS": "1", "startBrowser": "false",
                            "setLowPriority": "false"}.items():
            for old in options.findall(name):
                options.remove(old)
            ET.SubElement(options, name).text = value
        doc.write(self.config(host) + "/config.xml")

    def rest(self, host, method, path, body=None):
        return host.order("ask", port=8384, method=method, path=path, body=body, headers=self.key)

    def connected(self):
        said = self.rest(self.a, "GET", "/rest/system/connections")
        return said["status"] == 200 and any(c["connected"] for c in json.loads(said["body"])["connections"].values())

    def first(self):
        begin = time.monotonic()
        self.rest(self.a, "PATCH", "/rest/config/folders/tree", '{"paused":false}')
        self.whole()
        return time.monotonic() - begin

    def start(self):
        self.first()
        time.sleep(3)

    def nothing(self):
        for host in (self.a, self.b):
            self.rest(host, "POST", "/rest/db/scan?folder=tree")

    def state(self):
        return [self.config(self.a)], [self.config(self.b)]


class Git(Peer):
    """The tree as a repository: add, commit and push on A, pull on B, over a local daemon."""

    name, program = "git", "git"

    def env(self, _side):
        return {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b", "GIT_TERMINAL_PROMPT": "0"}

    def begin(self):
        self.hub = os.path.join(self.b.root, "hub.git")
        self.b.run("git", "init", "-q", "--bare", "-b", "main", self.hub)
        self.b.start("git", "daemon", "--reuseaddr", "--export-all", "--enable=receive-pack", "--base-path=" + self.b.root)
        self.a.run("git", "init", "-q", "-b", "main", self.a.claude)
        self.git(self.a, "remote", "add", "origin", "git://%s/hub.git" % self.b.address)
        wait("the daemon", lambda: self.b.order("ask", port=9418, method="GET", path="/", timeout=1)["body"].find("refused") < 0, 20)

    def git(self, host, *words, ok=(0,)):
        return host.run("git", "-C", host.claude, *words, ok=ok)

    def first(self):
        begin = time.monotonic()
        self.git(self.a, "add", "-A")
        self.git(self.a, "commit", "-qm", "sync")
        self.git(self.a, "push", "-q", "-u", "origin", "main")
        self.b.run("git", "clone", "-q", "file://" + self.hub, self.b.claude + ".new")
        os.rmdir(self.b.claude)
        os.rename(self.b.claude + ".new", self.b.claude)
        return time.monotonic() - begin

    def tell(self, rel):
        self.git(self.a, "add", "-A")
        self.git(self.a, "commit", "-qm", "sync")
        self.git(self.a, "pull", "-q", "--rebase", "origin", "main")
        self.git(self.a, "push", "-q", "origin", "main")
        self.git(self.b, "pull", "-q", "--rebase")

    def nothing(self):
        self.git(self.a, "add", "-A")
        self.git(self.a, "pull", "-q", "--rebase", "origin", "main")
        self.git(self.b, "pull", "-q", "--rebase")

    def state(self):
        return [self.a.claude + "/.git"], [self.b.claude + "/.git", self.hub]


ALL = {p.name: p for p in (Ccpeer, Floor, Rsync, Syncthing, Git)}

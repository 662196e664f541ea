"""Machines of the lab: a home directory each, the real CLI in it, and ccpeer.

Nothing is written outside the scratch directory. The environment of every
program is made from nothing, so that neither the user's settings nor a key of
theirs can get in.
"""
import glob
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import threading
import time

# No key: the fake model takes anything.
KEY = "sk-ant-api03-lab-" + "0" * 80 + "-labKEYlabKEYlabKEY"


class Failed(Exception):
    """A program did not do what the story needs to go on."""


# Longer names of projects' directories end in a hash instead.
SLUG_UNITS_MAX = 200


def slug(path):
    """The name that the CLI gives a project's directory."""
    raw = path.encode("utf-16-le", "surrogatepass")
    units = [raw[i] | raw[i + 1] << 8 for i in range(0, len(raw), 2)]
    name = "".join(chr(u) if u < 128 and chr(u).isalnum() else "-" for u in units)
    if len(name) <= SLUG_UNITS_MAX:
        return name
    value = 0
    for u in units:
        value = (value * 31 + u) & 0xFFFFFFFF
    value = abs(value - (1 << 32) if value >> 31 else value)
    digits = ""
    while value or not digits:
        value, digit = divmod(value, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return name[:SLUG_UNITS_MAX] + "-" + digits


def install_cli(scratch, version):
    """Puts the CLI below the scratch directory, unless it is there. Needs npm."""
    if not shutil.which("npm"):
        raise Failed("npm is needed to install the CLI; or give one with --claude")
    where = os.path.join(scratch, "cli-" + version)
    pattern = where + "/node_modules/@anthropic-ai/claude-code-linux-*/claude"
    if not glob.glob(pattern):
        os.makedirs(where, exist_ok=True)
        with open(where + "/package.json", "w") as f:
            json.dump({"name": "lab", "private": True}, f)
        # The package asks for a newer Node than its native program needs.
        done = subprocess.run(["npm", "install", "--force", "--no-audit", "--no-fund", "@anthropic-ai/claude-code@" + version],
                              cwd=where, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            raise Failed("npm install failed: " + done.stderr[-500:])
    found = sorted(glob.glob(pattern), key=len)
    if not found:
        raise Failed("the package holds no program for this machine")
    return found[0]


class Machine:
    """One computer with one user."""

    def __init__(self, lab, name, home, project):
        self.lab, self.name = lab, name
        self.root = os.path.join(lab.scratch, "machine-" + name)
        self.home = os.path.join(self.root, home)
        self.project = os.path.join(self.home, project)
        self.top = None
        self.claude_dir = os.path.join(self.home, ".claude")
        self.ccpeer_home = os.path.join(self.root, "ccpeer")
        self.tmp = os.path.join(self.home, "tmp")
        self.stops = os.path.join(self.home, "stops")
        self.tuis = []
        # In which permission mode the CLI is started, if not without asking for
        # anything, and what else its environment holds.
        self.mode, self.more_env = None, {}
        # Words before every command of ccpeer, to run it in another view of the disk.
        self.prefix = []
        # The same port at every start, as a machine with a fixed address has it.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            self.listen = "127.0.0.1:%d" % free.getsockname()[1]
        for d in (self.project, self.claude_dir, self.tmp):
            os.makedirs(d, exist_ok=True)
        # A hook of the user's own: it tells us when turns end, and it must
        # survive ccpeer's.
        self.own_hook = "date +%s.%N >> " + shlex.quote(self.stops)
        self.write_json(self.claude_dir + "/settings.json", {
            "skipDangerousModePermissionPrompt": True,
            "hooks": {"Stop": [{"hooks": [{"type": "command", "command": self.own_hook}]}]}})
        self.write_json(self.home + "/.claude.json", {
            "hasCompletedOnboarding": True, "theme": "dark", "bypassPermissionsModeAccepted": True,
            "customApiKeyResponses": {"approved": [KEY[-20:]], "rejected": []},
            "projects": {os.path.realpath(self.project): {"hasTrustDialogAccepted": True, "allowedTools": []}}})

    def at(self, project):
        """Turns to another project, which the user trusts. Returns its directory."""
        self.project = os.path.join(self.home, project)
        os.makedirs(self.project, exist_ok=True)
        self.trust(self.project)
        return self.project

    def trust(self, directory):
        path = self.home + "/.claude.json"
        with open(path, encoding="utf-8") as f:
            known = json.load(f)
        known.setdefault("projects", {}).setdefault(os.path.realpath(directory), {}).update({"hasTrustDialogAccepted": True})
        self.write_json(path, known)

    def allow(self, *tools):
        """The tools that the CLI may use unasked; then it need not run without asking for anything."""
        path = self.claude_dir + "/settings.json"
        with open(path, encoding="utf-8") as f:
            settings = json.load(f)
        settings["permissions"] = {"allow": list(tools)}
        self.write_json(path, settings)
        self.mode = "default"

    @staticmethod
    def write_json(path, value):
        with open(path, "w", encoding="utf-8") as f:
            json.dump(value, f, indent=2)

    def env(self):
        url = self.lab.api.url
        return {
            "HOME": self.home, "CCPEER_HOME": self.ccpeer_home, "TMPDIR": self.tmp, "CLAUDE_CODE_TMPDIR": self.tmp,
            "PATH": os.path.dirname(self.lab.claude) + ":/usr/local/bin:/usr/bin:/bin",
            "TERM": "xterm-256color", "LANG": "C.UTF-8", "SHELL": "/bin/bash", "IS_SANDBOX": "1",
            "ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": url,
            "DISABLE_AUTOUPDATER": "1", "DISABLE_TELEMETRY": "1", "DISABLE_ERROR_REPORTING": "1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            # What is not loopback goes to the fake, which refuses and remembers it.
            "HTTPS_PROXY": url, "HTTP_PROXY": url, "NO_PROXY": "127.0.0.1,localhost",
            **self.more_env,
        }

    def asking(self):
        """The arguments that say when the CLI asks; where nothing is allowed beforehand, never."""
        return ["--permission-mode", self.mode] if self.mode else ["--dangerously-skip-permissions"]

    # -- the CLI ------------------------------------------------------------------

    def claude(self, prompt, *args, timeout=120):
        """One turn in print mode. Returns what the CLI reports."""
        command = [self.lab.claude, "-p", prompt, "--output-format", "json", *self.asking(), *args]
        done = subprocess.run(command, cwd=self.project, env=self.env(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)
        try:
            report = json.loads(done.stdout.strip().splitlines()[-1])
        except (ValueError, IndexError):
            raise Failed("claude on %s: exit %d, %s" % (self.name, done.returncode, (done.stderr or done.stdout)[-400:]))
        if done.returncode or report.get("is_error"):
            raise Failed("claude on %s: %s" % (self.name, str(report)[:400]))
        return report

    def tui(self, *args):
        t = Tui(self, args)
        self.tuis.append(t)
        return t

    def transcript(self, session, project=None):
        d = os.path.join(self.claude_dir, "projects", slug(os.path.realpath(project or self.project)))
        return os.path.join(d, session + ".jsonl")

    def transcripts(self):
        return sorted(glob.glob(glob.escape(self.claude_dir) + "/projects/*/*.jsonl"), key=os.path.getmtime)

    def files_of(self, session):
        """All files that belong to a session here."""
        found = []
        top = glob.escape(self.claude_dir)
        for pattern in ("projects/*/%s.jsonl", "projects/*/%s/**/*", "file-history/%s/*", "tasks/%s/*", "tasks/%s/.*", "todos/%s-agent-*"):
            found += glob.glob(os.path.join(top, pattern % session), recursive=True)
        # A plan is named in the transcript and lies among those of all sessions.
        for main in glob.glob(os.path.join(top, "projects/*/%s.jsonl" % session)):
            with open(main, "rb") as f:
                names = set(re.findall(rb'"slug":"([A-Za-z0-9._-]+)"', f.read()))
            found += [os.path.join(self.claude_dir, "plans", name.decode() + ".md") for name in names]
        return sorted({f for f in found if os.path.isfile(f)})

    def last_stop(self):
        try:
            with open(self.stops) as f:
                return float(f.read().split()[-1])
        except (OSError, IndexError):
            return None

    # -- ccpeer -------------------------------------------------------------------

    def ccpeer(self, *args, stdin="", cwd=None, check=True, timeout=60):
        """Runs a command to its end; returns (exit code, standard output, standard error)."""
        done = subprocess.run([*self.prefix, self.lab.ccpeer, *args], cwd=cwd or self.project, env=self.env(), input=stdin, capture_output=True, text=True, timeout=timeout)
        self.lab.log("%s$ ccpeer %s  -> %d\n%s%s" % (self.name, " ".join(args), done.returncode, done.stdout, done.stderr))
        if check and done.returncode:
            raise Failed("ccpeer %s on %s: exit %d, %s" % (" ".join(args), self.name, done.returncode, (done.stderr or done.stdout).strip()[-600:]))
        return done.returncode, done.stdout, done.stderr

    def ask(self, *args, **how):
        """A command with --json; the last document it prints."""
        _, out, _ = self.ccpeer(*args, "--json", **how)
        return last_json(out)

    def up(self):
        """Starts the agent, on loopback only: nothing of the lab is heard outside."""
        known = os.path.isdir(self.ccpeer_home)
        self.ccpeer("up", "--yes", "--no-mdns", "--listen", self.listen)
        if not known:
            # Most stories place by command, and look what that does.
            self.ccpeer("policy", "place", "default", "never")
        if self.ask("hooks", "status")["hooks"] != "installed":
            raise Failed("the hooks were not installed on " + self.name)

    def down(self):
        self.ccpeer("down", check=False)

    def tasks(self, session=None):
        rows = self.ask("tasks", "--all")
        return [r for r in rows if session in (None, r["session_id"])]

    def wait(self, what, condition, seconds=20):
        """Asks again until the condition gives something; fails by name when it never does."""
        end, pause = time.time() + seconds, 0.1
        while True:
            got = condition()
            if got:
                return got
            if time.time() > end:
                raise Failed("%s: %s did not come within %d s" % (self.name, what, seconds))
            # Asking costs a process each time, which is felt where there are few cores.
            time.sleep(pause)
            pause = min(pause * 1.5, 0.6)

    def connected(self, other):
        name = other.device()["id"]
        self.wait("a link to " + other.name, lambda: [p for p in self.ask("status")["peers"] if p["id"] == name and p["state"] == "connected"])

    def device(self):
        return self.ask("status")["device"]

    def end(self):
        for t in self.tuis:
            t.kill()
        if os.path.isdir(self.ccpeer_home):
            try:
                self.down()
            except (OSError, subprocess.SubprocessError):
                pass


def pair(inviter, joiner):
    """Two machines by ticket: the inviter prints it, the joiner reads it from standard input."""
    window = subprocess.Popen([inviter.lab.ccpeer, "pair", "--ticket", "--yes", "--json"], cwd=inviter.project, env=inviter.env(),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    killer = threading.Timer(60, window.kill)
    killer.start()
    try:
        ticket = None
        for line in window.stdout:
            event = json.loads(line)
            if event.get("event") == "ticket":
                ticket = event["ticket"]
                break
        if not ticket:
            raise Failed("no ticket: " + window.stderr.read()[-400:])
        joined = joiner.ask("join", stdin=ticket + "\n")
        out, err = window.communicate(timeout=60)
        invited = last_json(out)
        if joined.get("event") != "paired" or invited.get("event") != "paired":
            raise Failed("pairing ended with %s and %s %s" % (joined, invited, err[-300:]))
    finally:
        killer.cancel()
        if window.poll() is None:
            window.kill()


def last_json(text):
    """The last JSON document of an output that holds one, or one a line."""
    text = text.strip()
    try:
        return json.loads(text)
    except ValueError:
        try:
            return json.loads(text.splitlines()[-1])
        except (ValueError, IndexError):
            raise Failed("no JSON: " + text[-300:])


class Watch:
    """Asks one machine for its tasks again and again, and remembers what it saw when."""

    def __init__(self, machine):
        self.machine, self.seen, self.ends = machine, [], False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.ends:
            try:
                rows = self.machine.tasks()
            except (Failed, subprocess.SubprocessError):
                rows = []
            self.seen.append((time.time(), {r["session_id"]: r for r in rows}))
            time.sleep(0.03)

    def stop(self):
        self.ends = True
        self.thread.join(10)

    def first(self, after, condition):
        """Seconds from `after` to the first answer that satisfies the condition."""
        for t, rows in self.seen:
            if t >= after and condition(rows):
                return t - after
        return None


class Tui:
    """The CLI's full-screen form, in a tmux server of our own."""

    def __init__(self, machine, args, until="❯"):
        self.machine = machine
        self.socket = os.path.join(machine.root, "tmux-%d" % len(machine.tuis))
        script = self.socket + ".sh"
        env = " ".join("%s=%s" % (k, shlex.quote(v)) for k, v in machine.env().items())
        command = " ".join(shlex.quote(a) for a in [machine.lab.claude, *machine.asking(), *args])
        with open(script, "w") as f:
            f.write("cd %s\nenv -i %s %s\necho \"[ended $?]\"\nsleep 600\n" % (shlex.quote(machine.project), env, command))
        self.tmux("new-session", "-d", "-x", "150", "-y", "50", "bash " + shlex.quote(script))
        self.wait_for(until)
        time.sleep(1)  # the prompt is drawn a little before it listens

    def tmux(self, *args):
        return subprocess.run(["tmux", "-S", self.socket, "-f", "/dev/null", *args], stdin=subprocess.DEVNULL, capture_output=True, text=True)

    def screen(self):
        lines = self.tmux("capture-pane", "-p").stdout.splitlines()
        return "\n".join(line.rstrip() for line in lines if line.strip())

    def shows(self, text, seconds=20):
        """Whether the text comes onto the screen in time."""
        try:
            self.wait_for(text, seconds)
        except Failed:
            return False
        return True

    def wait_for(self, text, seconds=40):
        end = time.time() + seconds
        while text not in self.screen():
            if time.time() > end:
                raise Failed("the terminal on %s never showed %r:\n%s" % (self.machine.name, text, self.screen()[-1500:]))
            time.sleep(0.1)

    def keys(self, *names, pause=0.4):
        for name in names:
            self.tmux("send-keys", name)
            time.sleep(pause)

    def choose(self, text, below, key="Down", tries=15):
        """Moves the mark of the list below a heading onto a line that holds the text."""
        self.wait_for(below)
        for _ in range(tries):
            marked = self.marked(below)
            if text in marked:
                return
            self.keys(key)
            # Drawn late on a busy machine; and at the end of a list nothing moves.
            end = time.time() + 2
            while self.marked(below) == marked and time.time() < end:
                time.sleep(0.1)
            if self.marked(below) == marked:
                key = "Up" if key == "Down" else "Down"
        raise Failed("the terminal on %s has no choice %r:\n%s" % (self.machine.name, text, self.screen()[-1500:]))

    def marked(self, below):
        return "\n".join(line for line in self.screen().rpartition(below)[2].splitlines() if "❯" in line)

    def type(self, text):
        self.tmux("send-keys", "-l", "--", text)
        time.sleep(0.5)
        self.tmux("send-keys", "Enter")

    def say(self, prompt, seconds=60):
        """One turn: types the prompt, and waits for the end of the turn."""
        before = self.machine.last_stop()
        self.type(prompt)
        end = time.time() + seconds
        while self.machine.last_stop() == before:
            if time.time() > end:
                raise Failed("the turn on %s never ended:\n%s" % (self.machine.name, self.screen()[-1500:]))
            time.sleep(0.05)

    def quit(self):
        time.sleep(0.5)
        self.type("/exit")
        self.wait_for("[ended")
        self.kill()

    def kill(self):
        self.tmux("kill-server")

#!/usr/bin/env python3
"""The main job with the real Claude Code CLI: begin on one machine, go on on another, and back.

    lab.py [--ccpeer PATH] [--claude PATH | --cli-version V] [--keep] [--scratch DIR] [STORY ...]
    lab.py [...] matrix [ROW ...] [--column C ...] [--json]

Machines are directories of a scratch directory; the model is a fake on loopback
(fake_api.py); the CLI and ccpeer are the real ones. Linux, Python 3.8 or newer,
git; npm unless --claude is given; tmux for the full-screen stories. Ends with a
report and exit status 0 if everything holds, 1 if something does not, 2 if the lab
itself could not run.
"""
import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import asked
import ends
import fake_api
import matrix
import rig
from passages import first_difference, held, join_up, kinds, moved, naming, read, same, settled, spoken

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# From the Stop hook on one machine to the list on the other (docs/GOALS.md).
LISTED_SECONDS_MAX = 2.0


class Lab:
    """What all machines share, and what came out."""

    def __init__(self, scratch, claude, ccpeer):
        self.scratch, self.claude, self.ccpeer = scratch, claude, ccpeer
        self.api = fake_api.FakeApi()
        self.machines = []
        self.results = []
        # Checks of the matrix' cell, with what was seen.
        self.details = []
        self.story = ""
        # What is told on the way goes elsewhere when standard output is one document.
        self.talk = sys.stdout

    def log(self, text):
        with open(os.path.join(self.scratch, "commands.log"), "a", encoding="utf-8") as f:
            f.write(time.strftime("%H:%M:%S ") + text.rstrip() + "\n\n")

    def machine(self, name, home, project):
        m = rig.Machine(self, name, home, project)
        self.machines.append(m)
        return m

    def three_homes(self, *names):
        """Machines whose users, homes and project directories have different names."""
        shapes = {"a": ("home/ann", "src/lantern"), "b": ("Users/bea", "code/projects/lantern"), "c": ("home/cy", "lantern")}
        return [self.machine(n, *shapes[n]) for n in names]

    def check(self, what, holds, detail=""):
        self.results.append((self.story, what, bool(holds)))
        self.details.append((what, bool(holds), detail))
        self.say("  %s %s%s" % ("ok    " if holds else "FAILED", what, " (%s)" % (detail,) if detail else ""))

    def figure(self, what, value):
        self.say("         %s: %s" % (what, value))

    def say(self, text):
        print(text, file=self.talk, flush=True)


# ---------------------------------------------------------------------- stories

def there_and_back(lab, window=False):
    """A builds, B goes on, A takes it back, and B once more."""
    a, b = lab.three_homes("a", "b")
    join_up(lab, a, b)
    watch = rig.Watch(b)
    mark = lab.api.mark()
    if window:
        t = a.tui()
        t.say("Please build it. [play:build]")
        stop = a.last_stop()
        wait_listed(watch, stop)
        t.say("And say something more.")
        t.quit()
        session = os.path.basename(a.transcripts()[-1])[: -len(".jsonl")]
    else:
        session = a.claude("Please build it. [play:build]")["session_id"]
        stop = a.last_stop()
        wait_listed(watch, stop)
    watch.stop()
    listed = watch.first(stop, lambda rows: session in rows and rows[session]["state"] != "live")
    lab.check("B lists the task within %.0f s of the Stop hook" % LISTED_SECONDS_MAX, listed is not None and listed <= LISTED_SECONDS_MAX,
              "never" if listed is None else "%.2f s" % listed)
    settled(b, session, a)
    lab.check("A's files of the session: transcript, sub-agent" + (", file history" if window else ""),
              kinds(a, session) >= ({"main", "subagent", "file-history"} if window else {"main", "subagent"}), ", ".join(sorted(kinds(a, session))))

    at_a = spoken(lab, mark)
    old = read(a.transcript(session))
    begin = time.time()
    placed = b.ask("continue", session, "--into", b.project, "--no-exec")
    lab.figure("continue on B took", "%.2f s for %d bytes" % (time.time() - begin, len(old)))
    lab.check("continue places it on B as new", placed["placed"] == "new", placed["placed"])
    lab.check("  where the CLI looks for it", placed["path"] == b.transcript(session) and os.path.exists(b.transcript(session)), placed["path"])
    lab.check("  with the command to go on", placed["command"][-2:] == ["--resume", session] and same(placed["project_dir"], b.project), placed["command"])
    lab.check("  with the same kinds of files", kinds(b, session) >= kinds(a, session) - {"tasks"}, ", ".join(sorted(kinds(b, session))))
    lab.check("  and no path of A in any of them", not naming(b, session, a), naming(b, session, a))

    at_b = resume(lab, b, session, "Go on. [play:light]", at_a, [(a, b)])
    settled(a, session, b)
    back = a.ask("continue", session, "--no-exec")
    lab.check("A takes it back as a fast-forward", back["placed"] == "fast_forward", back["placed"])
    new = read(a.transcript(session))
    lab.check("  its file begins with its own old bytes", new.startswith(old) and len(new) > len(old), "%d, then %d" % (len(old), len(new)))
    lab.check("  and no path of B in any of its files", not naming(a, session, b), naming(a, session, b))

    at_a = resume(lab, a, session, "Once more. [play:light]", at_b, [(b, a)])
    settled(b, session, a)
    old = read(b.transcript(session))
    again = b.ask("continue", session, "--no-exec")
    lab.check("B takes that as a fast-forward", again["placed"] == "fast_forward" and read(b.transcript(session)).startswith(old), again["placed"])
    resume(lab, b, session, "And the end.", at_a, [(a, b)])
    for m in (a, b):
        hooks = json.dumps(json.load(open(m.claude_dir + "/settings.json"))["hooks"])
        lab.check("%s's own hook is still there beside ccpeer's" % m.name.upper(), m.own_hook in json.loads(hooks)["Stop"][0]["hooks"][0]["command"] and "ccpeer" in hooks)


def in_the_window(lab):
    """The same from the full-screen CLI, with file history."""
    if not shutil.which("tmux"):
        print("  left out: there is no tmux")
        return
    there_and_back(lab, window=True)


def at_once(lab):
    """The full-screen CLI is quit on A, and B takes over in the same moment."""
    if not shutil.which("tmux"):
        print("  left out: there is no tmux")
        return
    a, b = lab.three_homes("a", "b")
    join_up(lab, a, b)
    t = a.tui()
    t.say("Please build it. [play:build]")
    t.quit()
    session = os.path.basename(a.transcripts()[-1])[: -len(".jsonl")]
    b.wait("the session", lambda: [r for r in b.tasks(session) if r["complete"] and r["state"] == "ended"])
    b.ask("continue", session, "--into", b.project, "--no-exec")
    b.claude("Go on. [play:light]", "--resume", session)
    beyond = b.device()["id"]
    a.wait("B's turn", lambda: [r for r in a.tasks(session) if r["complete"] and r["device"]["id"] == beyond and r["state"] == "ended"], 40)
    heads = a.tasks(session)
    lab.check("what the CLI writes after its last hook makes no second head", len(heads) == 1, "%d heads" % len(heads))
    back = a.ask("continue", session, "--no-exec", check=False) if len(heads) == 1 else {"placed": "not tried"}
    lab.check("A takes it back as a fast-forward", back["placed"] == "fast_forward", back["placed"])


def apart(lab):
    """Both go on apart from each other: two lines, and both live."""
    a, b = lab.three_homes("a", "b")
    session, rows = go_apart(lab, a, b)
    for m in (a, b):
        owners = sorted(r["device"]["id"] for r in rows[m])
        lab.check("tasks on %s shows two heads, one of each device" % m.name.upper(), owners == sorted([a.device()["id"], b.device()["id"]]), len(rows[m]))
    lab.check("neither file was touched", b"vermilion" in read(a.transcript(session)) and b"turquoise" not in read(a.transcript(session))
              and b"turquoise" in read(b.transcript(session)) and b"vermilion" not in read(b.transcript(session)))
    for m, own, other in ((a, "vermilion", "turquoise"), (b, "turquoise", "vermilion")):
        said = talk(lab, m, "What colour is it?", "--resume", session)
        lab.check("%s resumes its own line" % m.name.upper(), own in said and other not in said)
    # The turns just made moved the heads; the list is asked again before a number is used.
    theirs = a.wait("B's head after its turn", lambda: [r for r in a.tasks(session) if r["device"]["id"] == b.device()["id"] and r["complete"] and r["heads"] == 2], 40)
    old = read(a.transcript(session))
    placed = a.ask("continue", str(theirs[0]["n"]), "--no-exec")
    lab.check("A takes B's line as a fork under a new id", placed["placed"] == "fork" and placed["new_session_id"] not in (None, session), placed["placed"])
    lab.check("  and leaves its own file as it was", read(a.transcript(session)) == old)
    mark = lab.api.mark()
    said = talk(lab, a, "What colour is it?", "--resume", placed["new_session_id"] or session)
    lab.check("  it is resumed with B's turn and without A's", "turquoise" in said and "vermilion" not in said)
    lab.check("  and names no path of B", not any(b.root in json.dumps(r["body"]) for r in lab.api.since(mark)))


def joined(lab):
    """Both went on apart, and the user wants one session again: `continue --join`."""
    a, b = lab.three_homes("a", "b")
    session, _ = go_apart(lab, a, b)
    own = read(a.transcript(session))
    placed = a.ask("continue", session, "--join", "--no-exec")
    lab.check("A joins B's line to its own", placed["placed"] == "joined" and placed["new_session_id"] is None, placed["placed"])
    lab.check("  its own file only grew", read(a.transcript(session)).startswith(own))
    for m in (a, b):
        rows = m.wait("one head", lambda: [r for r in m.tasks(session) if r["heads"] == 1 and r["complete"]], 40)
        lab.check("one head is left on %s" % m.name.upper(), len(rows) == 1, "%d rows" % len(rows))
    both_turns(lab, a, session, b)
    settled(b, session, a)
    back = b.ask("continue", session, "--no-exec")
    lab.check("B takes the joined session as a fast-forward", back["placed"] == "fast_forward", back["placed"])
    both_turns(lab, b, session, a)


def third(lab):
    """C was paired with both and online when A was; it serves B while A is off."""
    a, b, c = lab.three_homes("a", "b", "c")
    for m in (a, b):
        subprocess.run("git init -q && git remote add origin https://git.example/ann/lantern.git", shell=True, cwd=m.project, check=True, env=m.env())
    join_up(lab, a, b, c)
    b.down()
    mark = lab.api.mark()
    session = a.claude("Please build it. [play:build]")["session_id"]
    at_a = spoken(lab, mark)
    version = settled(c, session, a)["version"]
    a.down()
    begin = time.time()
    b.up()
    b.wait("A's version", lambda: held(b, session, version), 40)
    lab.figure("B had all of it after", "%.2f s from its start" % (time.time() - begin))
    offline = [p["state"] for p in b.ask("status")["peers"] if p["name"] and p["state"] == "connected"]
    lab.check("B got the whole session while A was off", len(offline) == 1, "%d peer connected" % len(offline))
    placed = b.ask("continue", session, "--no-exec")
    lab.check("the git remote tells B where the project is", same(placed["project_dir"], b.project), placed["project_dir"])
    resume(lab, b, session, "Go on. [play:light]", at_a, [(a, b)])
    version = settled(c, session, b)["version"]
    b.down()
    a.up()
    a.wait("B's version", lambda: held(a, session, version), 40)
    back = a.ask("continue", session, "--no-exec")
    lab.check("and A gets B's turn from C while B is off", back["placed"] == "fast_forward", back["placed"])


STORIES = {"there-and-back": there_and_back, "window": in_the_window, "at-once": at_once, "apart": apart, "joined": joined, "third": third,
           "by-itself": ends.by_itself, "ends": ends.how_it_ends, "asked": asked.asked}


# --------------------------------------------------------------------- passages

def go_apart(lab, a, b):
    """A session on both, continued on each while the other one is away. Gives it
    and the two heads as each machine lists them."""
    join_up(lab, a, b)
    session = a.claude("Please build it. [play:build]")["session_id"]
    settled(b, session, a)
    b.ask("continue", session, "--into", b.project, "--no-exec")
    b.down()
    a.claude("Paint it vermilion.", "--resume", session)
    b.claude("Paint it turquoise.", "--resume", session)
    b.up()
    return session, {m: m.wait("two heads", lambda: two_heads(m, session), 40) for m in (a, b)}


def both_turns(lab, m, session, other):
    """The real CLI sends the turns of both lines to the model, in this machine's paths."""
    mark = lab.api.mark()
    said = talk(lab, m, "What colour is it?", "--resume", session)
    lab.check("the real CLI on %s has the turns of both" % m.name.upper(), "vermilion" in said and "turquoise" in said)
    lab.check("  and names no path of the other", not any(other.root in json.dumps(r["body"]) for r in lab.api.since(mark)))


def wait_listed(watch, stop):
    end = time.time() + 10
    while time.time() < end and not watch.first(stop, lambda rows: any(r["state"] != "live" for r in rows.values())):
        time.sleep(0.05)


def two_heads(machine, session):
    """Both rows of a forked session, once all of both is there."""
    rows = [r for r in machine.tasks(session) if r["heads"] == 2 and r["complete"]]
    return rows if len(rows) == 2 else None


def resume(lab, machine, session, prompt, before, moves):
    """One turn of the real CLI, and what the model got to see. Returns the conversation."""
    name = machine.name.upper()
    size = len(read(machine.transcript(session)))
    mark = lab.api.mark()
    report = machine.claude(prompt, "--resume", session)
    bodies = [r["body"] for r in lab.api.requests[mark:]]
    expected = before
    for source, target in moves:
        expected = [(role, kind, moved(text, source, target)) for role, kind, text in expected]
    got = fake_api.conversation(lab.api.since(mark)[0]["body"])
    whole = got[: len(expected)] == expected and got[len(expected):] == [("user", "text", prompt)]
    lab.check("the real CLI on %s sends the whole history to the model, in %s's paths" % (name, name), whole,
              "%d messages" % len(lab.api.since(mark)[0]["body"]["messages"]) if whole else first_difference(got, expected))
    sent = json.dumps(bodies, ensure_ascii=False)
    for other in lab.machines:
        if other is not machine:
            for form in (other.root, rig.slug(other.root)):
                lab.check("  and no path of %s (%s…)" % (other.name.upper(), form[:12]), form not in sent, sent[max(0, sent.find(form) - 200):][:320] if form in sent else "")
    lab.check("  it goes on in the same session and adds a turn", report["session_id"] == session and len(read(machine.transcript(session))) > size)
    return spoken(lab, mark)


def talk(lab, machine, prompt, *args):
    """One turn; all that the model was told, as one text without the reminders."""
    mark = lab.api.mark()
    machine.claude(prompt, *args)
    return "\n".join(text for _, _, text in fake_api.conversation(lab.api.since(mark)[-1]["body"]))


# ------------------------------------------------------------------------- main

def run(lab, names):
    for name in names:
        lab.story = name
        print("\n%s: %s" % (name, STORIES[name].__doc__.splitlines()[0]), flush=True)
        top, lab.scratch = lab.scratch, os.path.join(lab.scratch, name)
        os.makedirs(lab.scratch)
        lab.machines = []
        begin = time.time()
        try:
            STORIES[name](lab)
            for m in lab.machines:
                m.up()
                lab.check("the store of %s verifies" % m.name.upper(), (found := m.ask("verify", "--read-data", check=False))["ok"], found["problems"][:3] or "")
        except (rig.Failed, subprocess.SubprocessError, KeyError, IndexError, OSError) as e:
            lab.check("the story was told to its end", False, "%s: %s" % (type(e).__name__, e))
            lab.log(traceback.format_exc())
        finally:
            for m in lab.machines:
                m.end()
            with open(os.path.join(lab.scratch, "requests.jsonl"), "w", encoding="utf-8") as f:
                for r in lab.api.requests:
                    f.write(json.dumps(r, ensure_ascii=False) + "\n")
            lab.api.requests.clear()
            lab.scratch = top
        lab.figure("took", "%.0f s" % (time.time() - begin))


def self_test():
    """What can be tested without the CLI: the fake and the passages."""
    api = fake_api.FakeApi()

    def post(body):
        data = json.dumps(body).encode()
        request = urllib.request.Request(api.url + "/v1/messages", data, {"content-type": "application/json"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        return opener.open(request, timeout=10).read().decode()

    ask = {"model": "m", "max_tokens": 9, "tools": [{}], "system": "Primary working directory: /p/q", "messages": [{"role": "user", "content": "[play:build]"}]}
    first = json.loads(post(ask))
    assert first["content"][1]["input"]["file_path"] == "/p/q/lantern.txt" and first["stop_reason"] == "tool_use"
    ask["messages"] += [{"role": "assistant", "content": first["content"]}] * 3
    assert json.loads(post(ask))["content"][0]["text"] == "The lantern in /p/q is built."
    events = [json.loads(line[6:]) for line in post(dict(ask, stream=True)).splitlines() if line.startswith("data: ")]
    assert [e["type"] for e in events][0] == "message_start" and events[-1]["type"] == "message_stop"
    said = fake_api.conversation({"messages": [{"role": "user", "content": [{"type": "text", "text": "<system-reminder>x"}, {"type": "text", "text": " hi "}]}]})
    assert said == [("user", "text", "hi")]
    assert len(api.since(0)) == 3
    api.stop()
    assert rig.slug("/home/ann/a.b_c") == "-home-ann-a-b-c"
    assert rig.last_json('{"a": 1}\n{"b":\n 2}'.splitlines()[0] + "\n") == {"a": 1}
    assert first_difference([1, 2], [1, 3]).startswith("block 1 ")
    matrix.self_test()
    print("the lab's own tests passed")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("story", nargs="*", help="of %s; all if none is named. Or `matrix`, and rows of it" % ", ".join(STORIES))
    p.add_argument("--ccpeer", help="the ccpeer program; built with cargo if not given")
    p.add_argument("--claude", help="the CLI's native program; installed with npm below the scratch directory if not given")
    p.add_argument("--cli-version", default="latest", help="which CLI to install")
    p.add_argument("--scratch", help="directory to work in, new or empty; a temporary one if not given")
    p.add_argument("--keep", action="store_true", help="leave the scratch directory for a look")
    p.add_argument("--column", action="append", choices=(*matrix.COLUMNS, "old"), help="of the matrix; all if none is named")
    p.add_argument("--json", action="store_true", help="the matrix as one JSON document on standard output")
    p.add_argument("--self-test", action="store_true", help="test the lab itself, without the CLI")
    args = p.parse_args()
    if args.self_test:
        return self_test()
    is_matrix, wanted = args.story[:1] == ["matrix"], args.story
    if is_matrix:
        wanted = wanted[1:]
    known = matrix.names() + [row.name for row in matrix.old.rows()] if is_matrix else list(STORIES)
    unknown = [s for s in wanted if s not in known]
    if unknown:
        p.error("no %s %s; there are: %s" % ("row" if is_matrix else "story", ", ".join(unknown), ", ".join(known)))
    # Whoever ends the lab ends its agents too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    scratch = os.path.realpath(args.scratch or tempfile.mkdtemp(prefix="ccpeer-lab-"))
    os.makedirs(scratch, exist_ok=True)
    try:
        ccpeer = args.ccpeer
        if not ccpeer:
            subprocess.run(["cargo", "build", "--release"], cwd=TOP, check=True)
            ccpeer = os.path.join(TOP, "target", "release", "ccpeer")
        claude = args.claude or rig.install_cli(scratch, args.cli_version)
        version = subprocess.run([claude, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60).stdout.strip()
        lab = Lab(scratch, os.path.realpath(claude), os.path.realpath(ccpeer))
    except (rig.Failed, OSError, subprocess.SubprocessError) as e:
        print("the lab could not run: %s" % e, file=sys.stderr)
        return 2
    lab.talk = sys.stderr if args.json else sys.stdout
    lab.say("CLI: %s\nscratch: %s" % (version, scratch))
    if is_matrix:
        try:
            status = matrix.run(lab, wanted, args.column or (*matrix.COLUMNS, "old"), args.json, version)
        except (rig.Failed, OSError, subprocess.SubprocessError) as e:
            print("the matrix could not be set up: %s" % e, file=sys.stderr)
            status = 2
        lab.api.stop()
        if not args.keep and not args.scratch and not status:
            shutil.rmtree(scratch, ignore_errors=True)
        return status
    run(lab, wanted or list(STORIES))
    failed = [r for r in lab.results if not r[2]]
    print("\n%d checks, %d failed" % (len(lab.results), len(failed)))
    for story, what, _ in failed:
        print("  FAILED %s: %s" % (story, what.strip()))
    if lab.api.strangers:
        print("the CLI tried to reach, and was refused: %s" % ", ".join(sorted(set(lab.api.strangers))))
    lab.api.stop()
    if not args.keep and not args.scratch and not failed:
        shutil.rmtree(scratch, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

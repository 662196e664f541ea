"""Stories about terminals of the full-screen CLI: how they end, and what lies in
their picker by itself. `ends` needs a CLI that tells hooks its process
(`CLAUDE_PID`; 2.1.197 does not), because terminals are told apart by it.
"""
import glob
import json
import os
import signal
import subprocess
import time

import rig
from passages import join_up

# From the Stop hook on one machine to the file in the other one's picker (docs/GOALS.md).
PLACED_SECONDS_MAX = 5.0


def session_of(machine):
    return os.path.basename(machine.transcripts()[-1])[: -len(".jsonl")]


def listed(machine):
    return {r["session_id"] for r in machine.ask("tasks")}


def ended(machine, session):
    machine.wait("the end of the session", lambda: [r for r in machine.tasks(session) if r["complete"] and r["state"] == "ended"], 40)


def how_it_ends(lab):
    """A closed window ends a task, a signal and a kill do not; /clear leaves one row; scripts leave none."""
    a, = lab.three_homes("a")
    join_up(lab, a)

    def begun(word):
        t = a.tui()
        t.say("Please remember the word %s." % word)
        return t, session_of(a)

    t, closed = begun("one")
    t.kill()
    ended(a, closed)
    lab.check("the window was closed: not listed", closed not in listed(a))

    t, told = begun("two")
    pids = [json.load(open(f))["pid"] for f in glob.glob(a.claude_dir + "/sessions/*.json")]
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    ended(a, told)
    lab.check("a signal: listed", told in listed(a))
    t.kill()

    t, first = begun("three")
    t.type("/clear")
    a.wait("the end of the first one", lambda: [r for r in a.tasks(first) if r["state"] == "ended"])
    lab.check("cleared, nothing said since: listed", first in listed(a))
    t.say("Please remember the word four.")
    second = session_of(a)
    a.wait("one row for one terminal", lambda: second in listed(a) and first not in listed(a))
    lab.check("cleared, and gone on: the next one is listed instead", second != first)
    t.quit()
    ended(a, second)
    lab.check("quit: not listed", second not in listed(a))

    script = a.claude("Say something.")["session_id"]
    ended(a, script)
    lab.check("print mode: not listed", script not in listed(a))


def by_itself(lab):
    """What is said on A lies in B's own picker by itself, in a checkout that ccpeer did not know, and is taken back."""
    a, b = lab.three_homes("a", "b")
    for m in (a, b):
        env = {**m.env(), **{"GIT_%s_%s" % (who, what): value for who in ("AUTHOR", "COMMITTER")
                             for what, value in (("NAME", "ann"), ("EMAIL", "ann@example.org"), ("DATE", "2026-01-01T00:00:00Z"))}}
        for command in (["init", "-q", "-b", "main"], ["commit", "-q", "--allow-empty", "-m", "first"],
                        ["remote", "add", "origin", "https://git.example/ann/lantern.git"]):
            subprocess.run(["git", *command], cwd=m.project, env=env, check=True)
    join_up(lab, a, b)
    b.ccpeer("policy", "place", "default", "auto")
    t = b.tui()
    there = a.tui()
    there.say("Please build the lantern of brass.")
    session, stop = session_of(a), a.last_stop()
    b.wait("the file", lambda: os.path.exists(b.transcript(session)))
    took = os.path.getctime(b.transcript(session)) - stop
    lab.check("it lies on B within %.0f s of the Stop hook" % PLACED_SECONDS_MAX, took <= PLACED_SECONDS_MAX, "%.2f s" % took)
    t.type("/resume")
    # Under its first prompt or a title; there is no other one in this project.
    lab.check("B's picker shows it", t.shows("ago · main"), t.screen()[-300:])
    t.keys("Escape")
    there.say("And polish it.")
    lines = lambda m: sum(1 for _ in open(m.transcript(session), "rb"))
    there.quit()
    b.wait("the refresh", lambda: lines(a) == lines(b))
    heads = b.tasks(session)
    lab.check("B has said nothing about it", len(heads) == 1 and heads[0]["device"]["id"] == a.device()["id"], heads)
    t.quit()
    t = b.tui("--resume", session)
    t.say("What did I ask for?")
    asked = json.dumps(lab.api.requests[-1], ensure_ascii=False)
    lab.check("the CLI on B goes on with all of it", "lantern of brass" in asked and "polish it" in asked)
    t.quit()
    a.wait("the turn of B", lambda: len(a.tasks(session)) == 1 and lines(a) == lines(b) or (a.ccpeer("policy", "place", "default", "auto") and None), 60)
    lab.check("and A has it as a fast-forward, by itself", len(a.tasks(session)) == 1)
    a.ccpeer("undo", "--auto")
    lab.check("taken back on A, its own words stay", 0 < lines(a) < lines(b))

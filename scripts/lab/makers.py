"""The two hands that make a session: the CLI in print mode, and in full screen. Both know
the same steps, so that a row of the matrix can be made by either.
"""
import glob
import json
import os
import time

import rig
from passages import read

# What a command answers that is not there.
REFUSAL = "isn't available in this environment"
STEPS = ("say", "compact", "clear", "rename", "fork", "plan")
# How long nothing may happen before a turn counts as over, with sub-agents in it.
QUIET_SECONDS, TURN_SECONDS = 1.2, 90


class Cannot(Exception):
    """The CLI says itself that it has no such command in this form."""


class Printer:
    """Steps in print mode."""

    def __init__(self, machine, session=None, *args):
        self.machine, self.session, self.args = machine, session, list(args)
        self.parents = []

    def turn(self, prompt, *args):
        old = ["--resume", self.session] if self.session else []
        report = self.machine.claude(prompt, *old, *self.args, *args)
        self.args = []
        if REFUSAL in report["result"]:
            raise Cannot(report["result"])
        if self.session not in (None, report["session_id"]):
            self.parents.append(self.session)
        self.session = report["session_id"]
        return report

    def say(self, prompt, helpers=0):
        self.turn(prompt)

    plan = say

    def compact(self):
        self.turn("/compact")

    def clear(self):
        self.turn("/clear")

    def rename(self, title):
        self.turn("/rename " + title)

    def fork(self):
        self.args = ["--fork-session"]

    def quit(self):
        pass


class Window:
    """Steps in the full-screen CLI."""

    def __init__(self, machine, session=None, *args):
        self.machine, self.parents = machine, []
        self.tui = machine.tui(*(["--resume", session] if session else []), *args)
        self.session = session

    def look(self):
        """The session that the CLI says is open, which changes under it. Gives its state."""
        for path in glob.glob(glob.escape(self.machine.claude_dir) + "/sessions/*.json"):
            try:
                now = json.loads(read(path))
            except (OSError, ValueError):
                return "busy"  # it is being written
            if self.session not in (None, now["sessionId"]):
                self.parents.append(self.session)
            self.session = now["sessionId"]
            return now.get("status")
        return None

    def say(self, prompt, helpers=0):
        mark = self.machine.lab.api.mark()
        self.tui.say(prompt, TURN_SECONDS)
        self.settle(mark, helpers)

    def settle(self, mark, helpers):
        """Until all sub-agents have reported, the report was answered, the answer is in the
        file, and it is quiet."""
        api, m = self.machine.lab.api, self.machine
        end, since, last = time.time() + TURN_SECONDS, time.time(), None
        while time.time() - since < QUIET_SECONDS or not reported(api.after(mark), helpers):
            now = (len(api.after(mark)), m.last_stop())
            if now != last or self.look() == "busy" or not self.is_written(api.since(mark)):
                since, last = time.time(), now
            if time.time() > end:
                raise rig.Failed("the sub-agents on %s never came to an end:\n%s" % (m.name, self.tui.screen()[-1500:]))
            time.sleep(0.1)
        self.look()

    def is_written(self, talk):
        """Whether the last answer is in the transcript; a hook may tell of its end before."""
        path = self.machine.transcript(self.session) if self.session else ""
        return bool(talk) and os.path.exists(path) and json.dumps(talk[-1]["text"], ensure_ascii=False).encode() in read(path)

    def slash(self, command, shown):
        self.tui.type(command)
        self.tui.wait_for(shown)
        time.sleep(QUIET_SECONDS)
        self.look()

    def plan(self, prompt):
        before = self.machine.last_stop()
        self.tui.type(prompt)
        self.tui.choose("manually approve", below="Would you like to proceed?")
        self.tui.keys("Enter")
        self.machine.wait("the turn after the plan", lambda: self.machine.last_stop() != before, TURN_SECONDS)
        self.look()

    def compact(self):
        self.slash("/compact", "Compacted")

    def anew(self, command):
        """A command after which another session is open. What is said then differs by version."""
        old = self.session
        self.tui.type(command)
        self.machine.wait("another session", lambda: self.look() != "busy" and self.session != old)
        time.sleep(QUIET_SECONDS)

    def clear(self):
        self.anew("/clear")

    def rename(self, title):
        self.slash("/rename " + title, "renamed")

    def fork(self):
        self.anew("/branch")

    def quit(self):
        self.tui.quit()


def reported(requests, helpers):
    """Whether so many sub-agents have said their last word, and somebody has answered it."""
    last = [i for i, r in enumerate(requests) if r["kind"] == "helper" and not r["tools"]]
    said = [i for i, r in enumerate(requests) if r["kind"] == "talk" and not r["tools"]]
    return bool(said) and len(last) >= helpers and (not last or said[-1] > last[-1])


def self_test():
    helper, answer = {"kind": "helper", "tools": []}, {"kind": "talk", "tools": []}
    assert reported([answer], 0) and not reported([answer], 1) and not reported([answer, helper], 1) and reported([helper, answer], 1)
    assert not reported([helper, {"kind": "talk", "tools": [1]}], 1) and not reported([helper, answer], 2)
    for step in STEPS:
        assert callable(getattr(Printer, step)) and callable(getattr(Window, step))

"""The column `old` of the matrix: sessions of earlier versions of the CLI, as stored in
testdata/claude, put into A's home as if they had been made there.

Their words name the home that they were made in, so these are changed to A's first;
what the model would have been sent on A is asked of the real CLI in a copy of A, so
that nothing is added to the session before it is captured.
"""
import json
import os
import shutil
import subprocess

import cell
import fake_api
import rig
from makers import Window
from passages import moved, naming, same, settled

DATA = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "testdata", "claude")
# A directory of Claude Code's that is another one on each machine.
SHARED = ("history.jsonl",)


class Old:
    """A stored session tree."""

    def __init__(self, entry):
        self.name, self.entry = entry["name"], entry
        self.below = os.path.relpath(entry["project"], entry["home"])


def rows():
    with open(os.path.join(DATA, "manifest.json"), encoding="utf-8") as f:
        return [Old(entry) for entry in json.load(f)["sessions"]]


def put(row, machine):
    """The stored files in a machine's own paths."""
    entry, home = row.entry, os.path.join(machine.home, "old", row.name)
    source = os.path.join(DATA, row.name, "claude")
    pairs = [(entry["home"], home), (rig.slug(entry["home"]), rig.slug(home))]
    for d, _, files in os.walk(source):
        for name in files:
            path = os.path.join(d, name)
            rel = renamed(os.path.relpath(path, source), pairs)
            if rel in SHARED:
                continue
            with open(path, "rb") as f:
                data = f.read()
            if name.endswith((".jsonl", ".json", ".txt", ".md")):
                data = renamed(data.decode("utf-8"), pairs).encode("utf-8")
            target = os.path.join(machine.claude_dir, rel)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "wb") as f:
                f.write(data)
    return os.path.join(home, row.below)


def renamed(text, pairs):
    for one, other in pairs:
        text = text.replace(one, other)
    return text


def run(lab, stage, row, _column):
    """Every session of a stored tree: captured, placed on B, resumed there in both forms."""
    a, b, c = stage.a, stage.b, stage.c
    copy = lab.machine("copy-" + row.name, os.path.relpath(a.home, a.root), "src")
    project = put(row, a)
    a.top, b.top, copy.top = project, os.path.join(b.home, "code/old", row.name, row.below), put(row, copy)
    # The project is a repository, as most are: a session that has moved within it stays in its project.
    for m, top in ((a, project), (b, b.top), (c, project)):
        if m:
            subprocess.run([*m.prefix, "sh", "-c", 'mkdir -p "$1" && git init -q "$1"', "sh", top], env=m.env(), check=True)
    for session in row.entry["session_ids"]:
        # A session may have moved to another directory of the project's (`/cd`).
        found = [t for t in a.transcripts() if os.path.basename(t) == session + ".jsonl"]
        lab.check("the stored session is where the CLI would have it", len(found) == 1, found)
        at = last_directory(found[0]) or project
        a.at(os.path.relpath(at, a.home))
        b.at(os.path.join("code/old", row.name, os.path.relpath(at, os.path.join(a.home, "old", row.name))))
        copy.at(os.path.relpath(at, a.home))
        a.ask("push", session)
        settled(b, session, a)
        if c:
            os.makedirs(os.path.join(c.home, os.path.relpath(a.project, a.home)), exist_ok=True)
            c.project = a.project
            cell.compare_twin(lab, stage, session)
        cell.copy_tree(a.project, b.project)
        placed = b.ask("continue", session, "--into", b.project, "--no-exec")
        lab.check("continue places it on B as new", placed["placed"] == "new" and same(placed["project_dir"], b.project), placed)
        foreign = [f for f in naming(b, session, a) if "@v" not in f]
        lab.check("  no path of A in any of its files", not foreign, foreign)

        mark = lab.api.mark()
        copy.claude("Once more.", "--resume", session)
        expected = fake_api.conversation(lab.api.since(mark)[0]["body"])[:-1]
        lab.check("the CLI resumes it in a copy of A", len(expected) > 1, "%d blocks" % len(expected))
        expected = [(role, kind, moved(moved(text, copy, a), a, b)) for role, kind, text in expected]
        expected = cell.again(lab, b, session, expected, "B, --resume", stage)
        if shutil.which("tmux"):
            w = Window(b, session)
            mark = lab.api.mark()
            w.say("Go on in full screen.")
            cell.whole(lab, b, session, mark, expected, "Go on in full screen.", "B, full screen", stage)
            w.quit()


def last_directory(transcript):
    """Where the session was at home last: its first directory, or where it moved."""
    first = moved_to = None
    with open(transcript, encoding="utf-8") as f:
        for line in f:
            record = json.loads(line)
            first = first or record.get("cwd")
            moved_to = record.get("relocatedCwd") or moved_to
    return moved_to or first


def self_test():
    found = rows()
    assert len({row.name for row in found}) == len(found) and all(os.path.isdir(os.path.join(DATA, row.name)) for row in found)
    assert not any(row.below.startswith("..") for row in found)
    assert renamed("-home-ann-x /home/ann/x", [("/home/ann", "/q"), ("-home-ann", "-q")]) == "-q-x /q/x"

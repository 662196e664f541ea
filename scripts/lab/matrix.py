"""The matrix: what people do in a session x how the session was made, each begun on A
with the real CLI, captured, placed under another user and root, and gone on with on B.

    lab.py matrix [ROW ...] [--column print|interactive|old] [--json]

One line of ROWS is one row; what cannot be had in a column stands in LIMITS, is looked
at in the run where it can be, and is printed below the table. The column `old` takes
the stored sessions of earlier versions of the CLI as those of machine A.
"""
import json
import os
import shutil
import subprocess
import time
import traceback

import cell
import makers
import old
import rig

COLUMNS = ("print", "interactive")
# Programs that the full-screen column needs.
SCREEN = "tmux"
# A project's path of more than 200 characters gets a directory name with a hash in it.
LONG = "/".join("a directory with quite a long name no %02d" % n for n in range(6))
LONG_THERE = "/".join("another long one for the other machine %02d" % n for n in range(6))


class Row:
    """What is done on A, and what must be so on B beyond what is so for all."""

    def __init__(self, name, steps, here=None, there=None, **more):
        self.name, self.steps = name, steps
        self.here = here or "src/" + name.replace(" ", "-")
        self.there = there or "code/projects/" + name.replace(" ", "-") + "-b"
        # Git: None, "subdir" or "worktree"; the mode to begin in; what to look at on B.
        self.git, self.mode = more.pop("git", None), more.pop("mode", "default")
        self.looks = more.pop("looks", ())
        # Environment of the CLI in print mode on A only.
        self.print_env = more.pop("print_env", {})
        assert not more, more


LAMP = ("say", "Build a lamp. [play:lamp]", 1)
THANKS = ("say", "Thank you, that will do.", 0)

ROWS = [
    Row("plain", [("say", "Remember the word heliotrope.", 0), ("say", "And the number 417.", 0)]),
    Row("long output", [("say", "Count for me. [play:long-output]", 0), THANKS], looks=("tool-result",)),
    Row("sub-agent", [("say", "Let somebody count. [play:ask]", 1), THANKS], looks=("agent",)),
    Row("nested sub-agent", [("say", "Let somebody ask somebody. [play:ask-deep]", 2), THANKS], looks=("agent", "nested")),
    Row("background agent", [("say", "Meanwhile, look around. [play:ask-aside]", 1), THANKS], looks=("agent",)),
    Row("tasks", [("say", "Make a list. [play:tasks]", 0), THANKS], looks=("tasks",)),
    Row("file edits", [("say", "A first form. [play:draft]", 0), ("say", "Another form. [play:redraft]", 0)], looks=("rewind",),
        print_env={"CLAUDE_CODE_ENABLE_SDK_FILE_CHECKPOINTING": "1"}),
    Row("compacted", [LAMP, ("compact",), ("say", "And after it?", 0)], looks=("compacted",)),
    Row("cleared", [("say", "This will be cleared away.", 0), ("clear",), ("say", "Begin afresh.", 0)]),
    Row("renamed", [("say", "Who am I?", 0), ("rename", "The lamp 灯 of B"), THANKS], looks=("title",)),
    Row("forked", [LAMP, ("fork",), ("say", "In the fork.", 0)]),
    Row("plan", [("plan", "Think first. [play:plan]"), THANKS], mode="plan", looks=("plan",)),
    Row("spaces", [LAMP, THANKS], here="my things/the lamp v1.2_x", there="Code & Stuff/lamp (two)"),
    Row("chinese", [LAMP, THANKS], here="项目/测试 灯", there="代码/灯笼"),
    Row("long path", [LAMP, THANKS], here="src/" + LONG, there="code/" + LONG_THERE),
    Row("worktree", [LAMP, THANKS], here="src/lamp-tree", there="code/projects/lamp-clone", git="worktree"),
    Row("sub-directory", [LAMP, THANKS], here="src/monolith/parts/lamp", there="code/projects/mono/parts/lamp", git="subdir"),
]

# What the CLI cannot do in a column, and what stands for it there.
LIMITS = {
    ("file edits", "print"): "print mode keeps no file history but with CLAUDE_CODE_ENABLE_SDK_FILE_CHECKPOINTING=1, and has no /rewind: made with the former, rewound on B in full screen",
    ("forked", "print"): "print mode has no /branch: made with --fork-session",
    ("cleared", "print"): "/clear in print mode gives a new, empty session: it is resumed for the turn after it",
    ("*", "print"): "the picker does not list sessions of print mode: --continue and --resume ID instead",
}


def names():
    return [row.name for row in ROWS]


def table(cells, rows, columns):
    """The results as text: one line a row, one field a column."""
    wide = max(len(name) for name in rows) + 2
    fields = [("", columns)] + [(name, [verdict(cells.get((name, c))) for c in columns]) for name in rows]
    return "\n".join((name.ljust(wide) + "".join(f.ljust(13) for f in found)).rstrip() for name, found in fields)


def verdict(found):
    if found is None:
        return "-"
    bad = [w for w, ok, _ in found["checks"] if not ok]
    if found["left_out"] and not bad:
        return "n.a."
    return "FAILED %d" % len(bad) if bad else "ok %d" % len(found["checks"])


def report(cells, rows, columns):
    """The table, and below it what failed and what could not be had."""
    grid = [c for c in columns if c in COLUMNS]
    lines = [table(cells, [r for r in rows if any((r, c) in cells for c in grid)], grid), ""] if grid else []
    if "old" in columns:
        olds = [r for r in rows if (r, "old") in cells]
        lines += [table(cells, olds, ["old"]), ""] if olds else []
    for (name, column), found in cells.items():
        for what, ok, detail in found["checks"]:
            if not ok:
                seen = str(detail).partition("\n")[0]
                lines.append("FAILED %s, %s: %s%s" % (name, column, what.strip(), ": " + seen if seen else ""))
        if found["left_out"]:
            lines.append("n.a. %s, %s: %s" % (name, column, found["left_out"]))
    for (name, column), why in LIMITS.items():
        if any(c == column and name in ("*", n) for n, c in cells):
            lines.append("note %s, %s: %s" % ("all" if name == "*" else name, column, why))
    return "\n".join(lines)


def run(lab, wanted, columns, as_json, version):
    """All cells that are wanted. Returns the exit status."""
    begin = time.time()
    cells, rows = {}, []
    top = lab.scratch
    for column in columns:
        lab.scratch = os.path.join(top, column)
        os.makedirs(lab.scratch)
        lab.machines = []
        plan = old.rows() if column == "old" else ROWS
        plan = [row for row in plan if not wanted or row.name in wanted]
        if column == "interactive" and not shutil.which(SCREEN):
            cells.update({(row.name, column): {"checks": [], "left_out": "there is no " + SCREEN, "seconds": 0} for row in plan})
            continue
        try:
            stage = cell.Stage(lab)
            for row in plan:
                rows += [row.name] if row.name not in rows else []
                cells[row.name, column] = one(lab, stage, row, column)
        finally:
            for m in lab.machines:
                m.end()
    lab.scratch = top
    seconds = time.time() - begin
    failed = sum(verdict(c).startswith("FAILED") for c in cells.values())
    if as_json:
        print(json.dumps({"cli": version, "seconds": round(seconds), "failed": failed, "cells": [
            {"row": name, "column": column, "verdict": verdict(found), "seconds": found["seconds"], "left_out": found["left_out"],
             "checks": [{"what": w.strip(), "ok": ok, "detail": str(d)} for w, ok, d in found["checks"]]}
            for (name, column), found in cells.items()]}, ensure_ascii=False, indent=1))
    else:
        print("\n%s\n\n%d cells, %d failed, %d min %02d s, CLI %s" % (report(cells, rows, columns), len(cells), failed, seconds // 60, seconds % 60, version))
    return 1 if failed else 0


def one(lab, stage, row, column):
    """One cell: its checks, and how long they took."""
    begin, before = time.time(), len(lab.results)
    lab.story = "%s, %s" % (row.name, column)
    lab.say("\n" + lab.story)
    lab.details, left_out = [], ""
    try:
        (old.run if column == "old" else cell.run)(lab, stage, row, column)
    except makers.Cannot as e:
        left_out = str(e)
        lab.say("  n.a.   " + left_out)
    except (rig.Failed, subprocess.SubprocessError, KeyError, IndexError, OSError, ValueError, TypeError) as e:
        lab.check("the cell was gone through to its end", False, "%s: %s" % (type(e).__name__, e))
        lab.log(traceback.format_exc())
    finally:
        stage.tidy()
        with open(os.path.join(lab.scratch, "requests.jsonl"), "a", encoding="utf-8") as f:
            for r in lab.api.requests:
                f.write(json.dumps(dict(r, cell=lab.story), ensure_ascii=False) + "\n")
        lab.api.requests.clear()
    seconds = time.time() - begin
    lab.say("         took: %.0f s" % seconds)
    return {"checks": lab.details, "left_out": left_out, "seconds": round(seconds, 1)}


def self_test():
    """The matrix' own parts, without the CLI."""
    cells = {("plain", "print"): {"checks": [("x", True, "")], "left_out": "", "seconds": 1},
             ("plain", "interactive"): {"checks": [("x", True, ""), ("  y", False, "z")], "left_out": "", "seconds": 1},
             ("tasks", "interactive"): {"checks": [], "left_out": "no tmux", "seconds": 0}}
    lines = report(cells, ["plain", "tasks"], COLUMNS).splitlines()
    assert lines[1].split() == ["plain", "ok", "1", "FAILED", "1"] and lines[2].split() == ["tasks", "-", "n.a."], lines
    assert "FAILED plain, interactive: y: z" in lines and "n.a. tasks, interactive: no tmux" in lines
    assert len(set(names())) == len(ROWS)
    for row in ROWS:
        assert all(step[0] in makers.STEPS for step in row.steps), row.name
        assert set(row.looks) <= set(cell.LOOKS), row.name
    for name, column in LIMITS:
        assert name in names() + ["*"] and column in COLUMNS
    cell.self_test()
    makers.self_test()
    old.self_test()

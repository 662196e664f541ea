#!/usr/bin/env python3
"""What ccpeer costs, beside the tools that are installed here, in one run.

    bench.py [options] all                every line, quick ones first, then the table
    bench.py [options] LINE ...           these lines only, then the table
    bench.py [options] table              the table of the last run once more
    bench.py self-test                    whether these scripts hold what they promise; needs nothing
    bench.py [options] profile            where one turn goes: system calls, bytes, time

Linux, root, iproute2, zstd; what else is missing leaves a gap. Figures are kept as
JSON lines, one file a run. It ends with 0 unless it could not run at all: slow is no
failure. docs/PERFORMANCE.md says how to read it.
"""
import argparse
import fcntl
import json
import os
import platform
import re
import shutil
import signal
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import lines
import peers
import profile_turn
import rig
import sessions
import table

TOP = os.path.dirname(os.path.dirname(rig.HERE))


class Bench:
    """What was asked for, where things are kept, and what was seen."""

    def __init__(self, asked):
        self.quick, self.keep, self.only, self.given = asked.quick, asked.keep, asked.peers, asked.rounds
        self.ccpeer = os.path.abspath(asked.ccpeer)
        self.scratch = os.path.abspath(asked.scratch)
        self.results = os.path.join(self.scratch, "results")
        os.makedirs(self.results, exist_ok=True)
        self.out, self.known, self.line, self.seen = None, {}, "", {}

    def begin(self):
        if os.geteuid():
            raise rig.Absent("namespaces and cgroups need root")
        for program in ("ip", "zstd", "tar"):
            if not shutil.which(program):
                raise rig.Absent(program + " is not installed")
        if not os.access(self.ccpeer, os.X_OK):
            raise rig.Absent("there is no program %s: cargo build --release, or --ccpeer PATH" % self.ccpeer)
        self.lock = open(os.path.join(self.scratch, "lock"), "w")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise rig.Failed("another bench runs in this scratch directory")
        rig.sweep()
        self.out = open(os.path.join(self.results, time.strftime("%Y%m%d-%H%M%S.jsonl")), "a", encoding="utf-8")
        self.write({"run": {"quick": self.quick, "kernel": platform.release(), "cores": os.cpu_count(), "filesystem": rig.sh("stat", "-f", "-c", "%T", self.scratch).strip(),
                            "generation": sessions.GENERATION}})

    def write(self, row):
        self.out.write(json.dumps(dict(row, at=time.strftime("%H:%M:%S"), load=round(os.getloadavg()[0], 2))) + "\n")
        self.out.flush()

    def say(self, line, case, figure, peer, values):
        self.write({"line": line, "case": case, "figure": figure, "peer": peer, "values": [round(v, 4) for v in values]})
        self.seen.setdefault((case, figure, peer), []).extend(values)

    def note(self, text):
        self.write({"note": text, "line": self.line})
        print("  note: " + text, flush=True)

    def version(self, peer):
        if peer.name not in self.known:
            self.known[peer.name] = peer.version()
            self.write({"version": self.known[peer.name], "peer": peer.name})

    def rounds(self, full, quick):
        return self.given or (quick if self.quick else full)

    def peers(self, *names):
        return [n for n in names if n == "ccpeer" or not self.only or n in self.only]

    def example(self, name):
        """A small program of the workspace; it lies beside the one that is measured."""
        for folder in (os.path.dirname(self.ccpeer), TOP + "/target/release"):
            path = os.path.join(folder, "examples", name)
            if os.access(path, os.X_OK):
                return path
        raise rig.Absent("no program %s: cargo build --release --examples -p ccpeer-net" % name)

    # -- what is synced

    def corpus(self, name, count, total=None, each=None, beside=None):
        """A tree of sessions whose projects lie in the home of ccpeer's host A; made once."""
        home = os.path.join(self.scratch, "run", "ccpeer", "a", "home")
        key = "%s-%d-%s-%s-g%d" % (name, count, total or each, beside and "%d-%d" % beside, sessions.GENERATION)
        root = os.path.join(self.scratch, "corpora", key)
        if not os.path.exists(root + "/done"):
            shutil.rmtree(root, ignore_errors=True)
            os.makedirs(root + "/.claude/projects")
            print("  making %s" % key, flush=True)
            if count:
                sessions.tree(root, count, total, each, name, home)
            if beside:
                sessions.tree(root, beside[0], beside[1], None, name + "-beside", home)
            open(root + "/done", "w").close()
        return root

    largest = staticmethod(sessions.largest)

    @staticmethod
    def cwd(transcript):
        with open(transcript, "rb") as f:
            found = re.search(rb'"cwd":("(?:[^"\\]|\\.)*")', f.read(1 << 16))
        return json.loads(found[1])

    def cwds(self, claude):
        """A session of each project says where it lies."""
        top = os.path.join(claude, "projects")
        for name in sorted(os.listdir(top)):
            found = sorted(f for f in os.listdir(os.path.join(top, name)) if f.endswith(".jsonl"))
            if found:
                yield self.cwd(os.path.join(top, name, found[0]))


def self_test():
    """What the figures rest on: sessions that are the same each time, and a table that reads them."""
    with tempfile.TemporaryDirectory() as scratch:
        trees = [os.path.join(scratch, name) for name in "ab"]
        for root in trees:
            sessions.tree(root, 3, total=900_000, home="/home/ann")
        first, second = [sorted((os.path.relpath(os.path.join(d, f), root), open(os.path.join(d, f), "rb").read())
                                for d, _, names in os.walk(root) for f in names) for root in trees]
        turns = sessions.turns(sessions.largest(trees[0]), 5)
        lines_of = [json.loads(line) for turn in turns for line in turn.splitlines()]
        seen = [{"line": "turn", "case": "1 MB", "figure": "visible, ms", "peer": "ccpeer", "values": [v], "load": 0.1} for v in (9, 10, 30)]
        seen += [{"line": "sizes", "case": "%d MB" % mb, "figure": "CPU A, ms", "peer": "ccpeer", "values": [mb], "load": 0.1} for mb in (1, 500)]
        text = table.of(seen, "run.jsonl")
        for what, holds in (("the same arguments give the same bytes", first == second and len(first) > 3),
                            ("turns are 2 to 20 KB of JSON lines that follow on each other",
                             all(2048 <= len(t) <= 20480 for t in turns) and len({r["uuid"] for r in lines_of if "uuid" in r}) > 20),
                            ("a bar that holds, and one that does not", "| 10 (9–30) of 3 | yes |" in text and "| 500 | **no** |" in text)):
            print("%s %s" % ("ok    " if holds else "FAILED", what))
            if not holds:
                return 1
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = {f.__name__: f for f in lines.ALL}
    parser.add_argument("lines", nargs="+", choices=sorted(known) + ["all", "table", "profile", "self-test"], metavar="LINE", help="all, table, profile, self-test, " + ", ".join(known))
    parser.add_argument("--ccpeer", default=TOP + "/target/release/ccpeer", help="the program (target/release/ccpeer)")
    parser.add_argument("--scratch", default=TOP + "/target/bench", help="where everything is kept: 10 GB at the most (target/bench)")
    parser.add_argument("--quick", action="store_true", help="small sizes and few rounds: whether it works, in two minutes")
    parser.add_argument("--peers", type=lambda t: t.split(","), help="only these beside ccpeer: " + ", ".join(p for p in peers.ALL if p != "ccpeer"))
    parser.add_argument("--rounds", type=int, help="so many rounds of everything")
    parser.add_argument("--keep", action="store_true", help="leave the hosts' files")
    asked = parser.parse_args()
    if asked.lines == ["self-test"]:
        return self_test()
    bench = Bench(asked)
    # Whatever ends this, the hosts are taken down; also where it was started in the background.
    for which in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(which, signal.default_int_handler)
    try:
        if asked.lines != ["table"]:
            bench.begin()
        for name in list(known) if "all" in asked.lines else asked.lines:
            if name == "table":
                continue
            bench.line, bench.seen, begin = name, {}, time.monotonic()
            print("%s: %s" % (name, (known.get(name) or profile_turn.profile).__doc__.split("\n\n")[0].replace("\n    ", " ")), flush=True)
            try:
                (known.get(name) or profile_turn.profile)(bench)
            except rig.Failed as e:
                bench.note("%s: %s" % (name, e))
            for (case, figure, peer), values in sorted(bench.seen.items()):
                print("  %-26s %-28s %-10s %s" % (case, figure, peer, table.cell(values, "median")))
            print("  %.0f s, load %.1f" % (time.monotonic() - begin, os.getloadavg()[0]), flush=True)
    except KeyboardInterrupt:
        print("broken off; what was seen is kept", file=sys.stderr)
    except rig.Failed as e:
        print("error: %s" % e, file=sys.stderr)
        return 2
    finally:
        if bench.out:
            # What was broken off may have been half-way through making something.
            rig.sweep(os.getpid())
    if asked.lines != ["profile"]:
        print(table.markdown(bench.results))
    return 0


if __name__ == "__main__":
    sys.exit(main())

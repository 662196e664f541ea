"""Where one turn goes: every system call of both agents, told and added up.

strace stands behind both agents, so the milliseconds are several times too long;
the order, the counts and the bytes are true.
"""
import collections
import os
import re
import signal
import subprocess
import time

import lines
import rig
import sessions
from sessions import MIB

CALL = re.compile(r"^(?P<pid>\d+)\s+(?P<at>\d+\.\d+) (?:<\.\.\. )?(?P<name>\w+)(?P<rest>.*?)(?:= (?P<result>-?\d+)[^=]*?)?(?: <(?P<took>[\d.]+)>)?$")
DURABLE = ("fsync", "fdatasync", "sync_file_range", "msync")
NET = ("sendmsg", "sendmmsg", "sendto", "recvmsg", "recvmmsg", "recvfrom")
PROCESSES = ("execve", "clone", "clone3", "vfork", "fork")
MOVES = ("read", "pread64", "write", "pwrite64", "pwritev", "writev", "readv") + NET


def profile(bench):
    """Where one turn goes."""
    if not rig.shutil.which("strace"):
        raise rig.Absent("strace is not installed")
    size = 5 if bench.quick else 50
    corpus = bench.corpus("turn", 1, each=size * MIB, beside=(4, 2 * MIB) if bench.quick else (40, 30 * MIB))
    rel = os.path.relpath(bench.largest(corpus), corpus + "/.claude")
    rounds = bench.rounds(6, 3)
    more = sessions.turns(os.path.join(corpus, ".claude", rel), rounds + 2)
    peer = lines.begun(bench, "ccpeer", corpus)
    if not peer:
        raise rig.Failed("no agents")
    with peer:
        for content in more[:2]:
            peer.turn(rel, content)
        peer.calm()
        # All of the turn is over before B is asked, as slow as strace may make it.
        peer.settle = 2.5
        files = [os.path.join(peer.root, "strace-" + side) for side in "ab"]
        traced = [subprocess.Popen(["strace", "-f", "-ttt", "-T", "-s", "0", "-yy", "-o", out, "-p", str(host.agent)], stderr=subprocess.DEVNULL)
                  for host, out in zip((peer.a, peer.b), files)]
        rig.wait("strace", lambda: all(os.path.exists(f) for f in files))
        time.sleep(1)
        spans, packets = [], []
        for content in more[2:]:
            begin, before = time.time(), peer.net.packets()
            peer.turn(rel, content, look=False)
            spans.append((begin, begin + peer.settle))
            packets.append([new - old for old, new in zip(before, peer.net.packets())])
        for p in traced:
            p.send_signal(signal.SIGINT)
            p.wait()
        print("\n%d turns of %.1f kB on average, %d MB session, load %.1f; packets there %.0f, back %.0f a turn" % (
            rounds, sum(map(len, more[2:])) / rounds / 1e3, size, os.getloadavg()[0],
            sum(p[0] for p in packets) / rounds, sum(p[1] for p in packets) / rounds))
        calls = {side: [c for c in read(out) if any(b <= c["at"] < e for b, e in spans)] for side, out in zip("AB", files)}
        for side in "AB":
            summary(side, calls[side], rounds)
        timeline(calls, *spans[-1])


def read(path):
    """The calls of a trace; one that was interrupted counts where it ended."""
    out, opened = [], {}
    with open(path, errors="replace") as f:
        for line in f:
            found = CALL.match(line.rstrip("\n"))
            if not found:
                continue
            call = {"pid": found["pid"], "at": float(found["at"]), "name": found["name"], "rest": found["rest"], "result": int(found["result"] or 0), "took": float(found["took"] or 0)}
            if "<unfinished" in call["rest"]:
                opened[call["pid"], call["name"]] = call
                continue
            if "resumed>" in call["rest"]:
                begun = opened.pop((call["pid"], call["name"]), call)
                call = dict(begun, result=call["result"], took=call["took"])
            out.append(call)
    return out


def kind(call):
    """What a file or socket is, by what strace says of its descriptor."""
    rest = call["rest"]
    for word, means in (("store.redb", "store"), ("<UDP", "network"), ("NETLINK", "netlink"), ("<UNIX", "socket"), ("<socket:", "socket"), ("<pipe:", "pipe"), (".jsonl", "transcript"), ("/.claude/", "claude")):
        if word in rest:
            return means
    return "other"


def summary(side, calls, rounds):
    count, moved, took = collections.Counter(), collections.Counter(), collections.Counter()
    for c in calls:
        key = (c["name"], kind(c) if c["name"] in MOVES + DURABLE else "")
        count[key] += 1
        took[key] += c["took"]
        if c["name"] in MOVES and c["result"] > 0:
            moved[key] += c["result"]
    print("\n%s, a turn: %.0f system calls, %.1f made durable, %.1f processes started" % (
        side, len(calls) / rounds, sum(n for (name, _), n in count.items() if name in DURABLE) / rounds,
        sum(1 for c in calls if c["name"] == "execve" and c["result"] == 0) / rounds))
    print("| call | of | times | kB | ms in it |\n|---|---|---|---|---|")
    waits = ("futex", "epoll_wait", "epoll_pwait", "poll", "clock_nanosleep")
    for (name, of), n in sorted(count.items(), key=lambda kv: (-(kv[0][0] in DURABLE), -kv[1]))[:28]:
        print("| %s | %s | %.1f | %s | %s |" % (name, of, n / rounds, "%.1f" % (moved[name, of] / rounds / 1e3) if moved[name, of] else "",
                                               "" if name in waits else "%.2f" % (took[name, of] * 1e3 / rounds)))
    ran = collections.Counter(c["rest"].split('"')[1].rsplit("/", 1)[-1] for c in calls if c["name"] == "execve" and c["result"] == 0 and '"' in c["rest"])
    if ran:
        print("started: " + ", ".join("%s %.1f" % (name, n / rounds) for name, n in ran.most_common()))


def timeline(calls, begin, end):
    """What counts of the last turn, in order: durable writes, packets, processes."""
    print("\nThe last turn, ms since the append (strace makes it slower):")
    events = []
    for side in "AB":
        for c in calls[side]:
            if begin <= c["at"] < end and (c["name"] in DURABLE + PROCESSES or c["name"] == "pwrite64" or (c["name"] in NET and kind(c) == "network" and c["result"] > 0)):
                events.append((c["at"] - begin, side, c["name"], kind(c) if c["name"] in MOVES + DURABLE else "", c["result"], c["took"]))
    last = None
    for at, side, name, of, result, took in sorted(events):
        key = (side, name, of)
        if last and last[0] == key:
            last[1] += 1
            last[2] += max(0, result) if name in MOVES else 0
            continue
        flush(last)
        last = [key, 1, max(0, result) if name in MOVES else 0, at, took]
    flush(last)


def flush(last):
    if last:
        (side, name, of), times, moved, at, took = last
        print("  %8.2f  %s  %-10s %-10s %s%s" % (at * 1e3, side if side == "A" else "    " + side, name, of, "x%d " % times if times > 1 else "", "%d bytes" % moved if moved else "%.2f ms" % (took * 1e3)))

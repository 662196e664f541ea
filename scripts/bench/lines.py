"""The lines of the table: what is done, what is counted.

Each takes the bench and says what it saw with `bench.say(line, case, figure, peer,
values)`. None of them judges: the bars stand in `table.py`.
"""
import json
import os
import random
import subprocess
import time

import peers
import rig
import sessions
from rig import Absent, Failed, wait
from sessions import KIB, MIB


def begun(bench, name, corpus, shape=None):
    """A peer that has synced a corpus and rests; none if it cannot be had here."""
    peer = None
    try:
        peer = peers.ALL[name](bench, shape)
        bench.version(peer)
        peer.begin()
        peer.load(corpus)
        peer.start()
        return peer
    except Failed as e:
        bench.note("%s: %s" % (name, e))
        if peer:
            peer.close()
        return None


def first(bench):
    """All sessions of one computer to another that has none."""
    count, total = (20, 10 * MIB) if bench.quick else (200, 300 * MIB)
    corpus, case = bench.corpus("first", count, total=total), "%d sessions, %d MB" % (count, total // MIB)
    packed = packed_bytes(corpus)
    bench.say("first", case, "tar | zstd -3, MB", "", [packed / 1e6])
    for name in bench.peers("ccpeer", "rsync", "syncthing", "git"):
        for _ in range(bench.rounds(2 if name == "git" else 3, 1)):
            try:
                with peers.ALL[name](bench) as peer:
                    bench.version(peer)
                    peer.begin()
                    peer.load(corpus)
                    if name == "ccpeer":
                        peer.begin_hooks()
                    os.sync()
                    meter = peer.meter()
                    took = peer.first()
                    time.sleep(peer.settle)
                    cpu_a, cpu_b, there, back = meter.spent()
                    disk = peer.disk()
                    for figure, value in (("wall, s", took), ("wire, MB", (there + back) / 1e6), ("wire / zstd", (there + back) / packed),
                                          ("CPU A, s", cpu_a), ("CPU B, s", cpu_b), ("store A / zstd", disk[0] / packed), ("store B / zstd", disk[1] / packed)):
                        bench.say("first", case, figure, name, [value])
                    if name == "ccpeer":
                        bench.say("first", case, "peak memory A, MiB", name, [peak(peer.a.agent)])
                        bench.say("first", case, "peak memory B, MiB", name, [peak(peer.b.agent)])
            except Failed as e:
                bench.note("first, %s: %s" % (name, e))
                break


def packed_bytes(corpus):
    done = subprocess.run("tar -C '%s' -cf - .claude | zstd -q -3 -c | wc -c" % corpus, shell=True, stdout=subprocess.PIPE, check=True)
    return int(done.stdout) or 1


def peak(pid):
    """The most that a program has had in memory, in MiB."""
    with open("/proc/%d/status" % pid) as f:
        return [int(line.split()[1]) for line in f if line.startswith("VmHWM")][0] / 1024


def appended(bench, line, case, names, corpus, rounds, shape=None):
    """Turns appended to the largest session of a corpus, one peer after another, in
    another order each round: what the machine does meanwhile hits all alike."""
    rel = os.path.relpath(bench.largest(corpus), corpus + "/.claude")
    content = sessions.turns(os.path.join(corpus, ".claude", rel), rounds + 1)
    running = []
    try:
        for name in names:
            running += [p for p in [begun(bench, name, corpus, shape)] if p]
        for p in running:
            try_turn(bench, p, rel, content[0], line, True)  # the first one finds nothing warm
        os.sync()
        disk = {p: p.disk() for p in running}
        dice = random.Random("order")
        for n, turn in enumerate(content[1:]):
            dice.shuffle(running)
            for p in list(running):
                time.sleep(0.1 + dice.random() * 0.2)
                # Every other turn nobody looks, so that looking is on nobody's bill.
                look = p.name != "ccpeer" or n % 2 == 0
                meter = p.meter()
                took = try_turn(bench, p, rel, turn, line, look)
                if took is False:
                    running.remove(p)
                    continue
                time.sleep(p.settle)
                cpu_a, cpu_b, there, back = meter.spent()
                if took is not None:
                    bench.say(line, case, "visible, ms", p.name, [took * 1e3])
                if p.name != "ccpeer" or not look:
                    bench.say(line, case, "CPU A, ms", p.name, [cpu_a * 1e3])
                    bench.say(line, case, "CPU B, ms", p.name, [cpu_b * 1e3])
                bench.say(line, case, "wire there, kB", p.name, [there / 1e3])
                bench.say(line, case, "wire back, kB", p.name, [back / 1e3])
        for p in running:
            grown = [(now - old) / rounds / 1e3 for old, now in zip(disk[p], p.disk())]
            bench.say(line, case, "disk A, kB", p.name, grown[:1])
            bench.say(line, case, "disk B, kB", p.name, grown[1:])
    finally:
        for p in running:
            p.close()


def try_turn(bench, peer, rel, content, line, look):
    try:
        return peer.turn(rel, content, look) if peer.name == "ccpeer" else peer.turn(rel, content)
    except Failed as e:
        bench.note("%s, %s: %s" % (line, peer.name, e))
        peer.close()
        return False


def turn(bench):
    """One appended turn, beside 40 other sessions."""
    size = 5 if bench.quick else 50
    corpus = bench.corpus("turn", 1, each=size * MIB, beside=(4, 2 * MIB) if bench.quick else (40, 30 * MIB))
    appended(bench, "turn", "%d MB" % size, bench.peers("ccpeer", "floor", "rsync", "syncthing", "git"), corpus, bench.rounds(20, 6))


def slow(bench):
    """The same over 50 Mbit/s with a round trip of 20 ms."""
    size = 2 if bench.quick else 50
    corpus = bench.corpus("slow", 1, each=size * MIB)
    appended(bench, "slow", "%d MB, 50 Mbit/s, 20 ms" % size, bench.peers("ccpeer", "floor", "rsync"), corpus, bench.rounds(20, 6), "50:10")


def sizes(bench):
    """The same in sessions of every size."""
    for size in (1, 10) if bench.quick else (1, 10, 50, 200, 500):
        corpus = bench.corpus("size", 1, each=size * MIB)
        names = bench.peers("ccpeer") if bench.quick or size > 200 else bench.peers("ccpeer", "rsync")
        appended(bench, "sizes", "%d MB" % size, names, corpus, bench.rounds(14, 4))


def counts(bench):
    return (0, 50) if bench.quick else (0, 200, 2000, 10000)


def full_of(bench, count):
    """ccpeer with so many small sessions, in step on both sides."""
    corpus = bench.corpus("many", max(1, count), each=12 * KIB) if count else bench.corpus("none", 0, total=0)
    peer = begun(bench, "ccpeer", corpus)
    if not peer:
        raise Failed("no agents with %d sessions" % count)
    return peer


def reconnect(bench):
    """B's agent ends and comes back while nothing has changed: until both say that
    they are in step. What the handshake costs shows where there are no sessions."""
    seen = {}
    for count in counts(bench):
        peer = full_of(bench, count)
        with peer:
            for _ in range(bench.rounds(7, 3)):
                peer.down(peer.b)
                wait("the loss", lambda: all(p["state"] != "connected" for p in peer.ask(peer.a, "status")["peers"]), 60)
                peer.calm()
                meter = peer.meter()
                ready = peer.up(peer.b)
                begin = time.monotonic()
                peer.linked()
                took = time.monotonic() - begin
                time.sleep(2)
                cpu_a, cpu_b, there, back = meter.spent()
                case = "%d sessions" % count
                for figure, value in (("ready, ms", ready * 1e3), ("in step, ms", took * 1e3), ("wire, kB", (there + back) / 1e3), ("CPU A, ms", cpu_a * 1e3), ("CPU B, ms", cpu_b * 1e3)):
                    bench.say("reconnect", case, figure, "ccpeer", [value])
                    seen.setdefault((figure, count), []).append(value)
            for figure, beyond in (("in step, ms", "beyond the handshake, ms"), ("wire, kB", "beyond the handshake, kB")):
                if count:
                    bench.say("reconnect", case, beyond, "ccpeer", [rank(seen[figure, count], 50) - rank(seen[figure, 0], 50)])
    again(bench)


def again(bench):
    """The peers' way to find out that nothing has changed."""
    for count in [c for c in counts(bench) if 0 < c <= 2000]:
        corpus = bench.corpus("many", count, each=12 * KIB)
        for name in bench.peers("rsync", "syncthing", "git"):
            peer = begun(bench, name, corpus)
            if not peer:
                continue
            with peer:
                peer.nothing()
                for _ in range(bench.rounds(5, 2)):
                    time.sleep(peer.settle)
                    meter, begin = peer.meter(), time.monotonic()
                    peer.nothing()
                    took = time.monotonic() - begin
                    time.sleep(peer.settle)
                    spent = meter.spent()
                    case = "%d sessions" % count
                    bench.say("reconnect", case, "beyond the handshake, ms", name, [took * 1e3])
                    bench.say("reconnect", case, "beyond the handshake, kB", name, [(spent[2] + spent[3]) / 1e3])


def idle(bench):
    """A minute in which nobody does anything."""
    span = 10 if bench.quick else 60
    for count in (20,) if bench.quick else (200, 2000):
        corpus = bench.corpus("many", count, each=12 * KIB)
        for name in bench.peers("ccpeer", "syncthing"):
            peer = begun(bench, name, corpus)
            if not peer:
                continue
            with peer:
                time.sleep(2 if bench.quick else 15)
                # Others begin their rounds at a time of their own: more than one minute.
                for _ in range(bench.rounds(3, 1)):
                    before, meter = switches(peer), peer.meter()
                    time.sleep(span)
                    cpu_a, cpu_b, there, back = meter.spent()
                    minute = 60 / span
                    case = "%d sessions" % count
                    for figure, value in (("CPU A, ms/min", cpu_a * 1e3 * minute), ("CPU B, ms/min", cpu_b * 1e3 * minute), ("wire, kB/min", (there + back) / 1e3 * minute),
                                          ("wakeups A, 1/min", woken(before, switches(peer)) * minute)):
                        bench.say("idle", case, figure, name, [value])
                for host, side in ((peer.a, "A"), (peer.b, "B")):
                    pss, rss = host.memory(*agents(peer, host))
                    bench.say("idle", case, "PSS %s, MiB" % side, name, [pss])
                    bench.say("idle", case, "RSS %s, MiB" % side, name, [rss])


def agents(peer, host):
    return [host.agent] if peer.name == "ccpeer" else host.started


def switches(peer):
    """How often each thread of A's programs has gone to sleep by itself."""
    seen = {}
    for pid in agents(peer, peer.a):
        for thread in os.listdir("/proc/%d/task" % pid):
            try:
                with open("/proc/%d/task/%s/status" % (pid, thread)) as f:
                    seen[thread] = sum(int(line.split()[1]) for line in f if line.startswith("voluntary"))
            except FileNotFoundError:
                pass  # it ended meanwhile
    return seen


def woken(before, after):
    return sum(count - before.get(thread, 0) for thread, count in after.items())


def hook(bench):
    """What Claude Code waits for at the end of a turn, beside an empty program, in turns."""
    corpus = bench.corpus("hook", 5, total=2 * MIB)
    peer = begun(bench, "ccpeer", corpus)
    if not peer:
        raise Failed("no agents")
    with peer:
        rel = os.path.relpath(bench.largest(corpus), corpus + "/.claude")
        given, env = peer.payload(rel, "Stop")
        peer.a.env.update(env)
        programs = {"ccpeer hook Stop": peer.a.program([bench.ccpeer, "hook", "Stop"], given)}
        if peer.hook_client() != bench.ccpeer:
            programs["ccpeer-hook hook Stop"] = peer.a.program([peer.hook_client(), "hook", "Stop"], given)
        try:
            programs["empty program"] = peer.a.program([bench.example("empty")], given)
        except Absent as e:
            bench.note(str(e))
        order = peer.a.program(["true"])
        took = peer.a.order("series", programs=programs, rounds=bench.rounds(300, 60), pause=0.01, env=order["env"], cwd=order["cwd"])["took"]
        for name, rows in took.items():
            bench.say("hook", name, "wall, ms", "ccpeer", [r[0] * 1e3 for r in rows])
            bench.say("hook", name, "CPU, ms", "ccpeer", [r[1] * 1e3 for r in rows])
        if "empty program" in took:
            middle = {name: rank([r[0] for r in rows], 50) for name, rows in took.items()}
            for name in programs:
                if name != "empty program":
                    bench.say("hook", name, "times the empty program", "ccpeer", [middle[name] / middle["empty program"]])


def rank(values, percent):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def lists(bench):
    """What people wait for where there are many sessions: lists, and the agent's start."""
    count = counts(bench)[-1]
    with full_of(bench, count) as peer:
        case = "%d sessions" % count
        for words in (("tasks",), ("tasks", "--all"), ("sessions",)):
            for _ in range(bench.rounds(11, 3)):
                done = peer.b.run(bench.ccpeer, *words, "--json", out="/dev/null")
                bench.say("lists", case, "%s, ms" % " ".join(words), "ccpeer", [(done["end"] - done["begin"]) * 1e3])
        for _ in range(bench.rounds(7, 2)):
            peer.down(peer.b)
            bench.say("lists", case, "agent start, ms", "ccpeer", [peer.up(peer.b) * 1e3])
        bench.say("lists", case, "RSS B, MiB", "ccpeer", peer.b.memory(peer.b.agent)[1:])


def search(bench):
    """Words in 10,000 sessions: the index is made, it is asked, and ripgrep reads the raw files beside it."""
    count, each = (50, 12 * KIB) if bench.quick else (10000, 48 * KIB)
    corpus, case = bench.corpus("found", count, each=each), "%d sessions" % count
    with peers.Ccpeer(bench) as peer:
        bench.version(peer)
        peer.begin()
        peer.load(corpus)
        peer.begin_hooks()
        peer.first()
        peer.linked()
        peer.calm(600)
        home = os.path.join(peer.b.env["CCPEER_HOME"], "search")
        raw = sum(os.path.getsize(os.path.join(d, f)) for d, _, names in os.walk(os.path.join(peer.a.claude, "projects")) for f in names)

        def made():
            return not peer.ask(peer.b, "search", words="session")["building"]
        begin = time.monotonic()
        wait("the index", made, 1800, 0.05)
        bench.say("search", case, "index made, s", "ccpeer", [time.monotonic() - begin])
        bench.say("search", case, "index / raw", "ccpeer", [rig.blocks(home) / raw])
        chance = random.Random("questions")
        questions = [" ".join(chance.sample(sessions.COMMON + sessions.ZH, chance.choice((1, 2, 3)))) for _ in range(bench.rounds(200, 20))]
        for words in questions:
            begin = time.monotonic()
            peer.ask(peer.b, "search", words=words)
            bench.say("search", case, "answer, ms", "ccpeer", [(time.monotonic() - begin) * 1e3])
        for words in questions[:bench.rounds(20, 2)]:
            done = peer.b.run(bench.ccpeer, "search", "--json", "--", words, out="/dev/null")
            bench.say("search", case, "command, ms", "ccpeer", [(done["end"] - done["begin"]) * 1e3])
        rg = rig.shutil.which("rg")
        if not rg:
            return bench.note("ripgrep is not installed")
        for words in questions[:bench.rounds(20, 2)]:
            done = peer.a.run(rg, "-l", "-i", "-F", words.split()[0], os.path.join(peer.a.claude, "projects"), out="/dev/null")
            bench.say("search", case, "command, ms", "ripgrep", [(done["end"] - done["begin"]) * 1e3])


def place(bench):
    """`continue` of a session that is held already, and `verify --read-data`."""
    for size in (2,) if bench.quick else (50, 500):
        corpus = bench.corpus("size", 1, each=size * MIB)
        rel = os.path.relpath(bench.largest(corpus), corpus + "/.claude")
        sid, case = os.path.basename(rel)[:-6], "%d MB" % size
        raw = os.path.getsize(os.path.join(corpus, ".claude", rel))
        peer = begun(bench, "ccpeer", corpus)
        if not peer:
            continue
        with peer:
            for n in range(bench.rounds(3, 1)):
                into = os.path.join(peer.b.home, "here-%d" % n)
                os.makedirs(into)
                resting = peer.b.memory(peer.b.agent)[1]
                with open("/proc/%d/clear_refs" % peer.b.agent, "w") as f:
                    f.write("5")  # the peak is counted anew
                done = peer.b.run(bench.ccpeer, "continue", sid, "--into", into, "--fork", "--no-exec", "--json", out="/dev/null")
                took = done["end"] - done["begin"]
                bench.say("place", case, "continue, MB/s", "ccpeer", [raw / 1e6 / took])
                bench.say("place", case, "more memory, MiB", "ccpeer", [peak(peer.b.agent) - resting])
    count, total = (20, 10 * MIB) if bench.quick else (200, 300 * MIB)
    peer = begun(bench, "ccpeer", bench.corpus("first", count, total=total))
    if peer:
        with peer:
            for _ in range(bench.rounds(3, 1)):
                begin = time.monotonic()
                said = json.loads(peer.b.read(bench.ccpeer, "verify", "--read-data", "--json"))
                took = time.monotonic() - begin
                bench.say("place", "%d MB" % (total // MIB), "verify --read-data, MB/s", "ccpeer", [said["checked"]["bytes"] / 1e6 / took])
                bench.say("place", "%d MB" % (total // MIB), "verify --read-data, MB of content", "ccpeer", [said["checked"]["bytes"] / 1e6])


def instructions(bench):
    """Instructions that are executed, counted by valgrind: the same on a busy machine as on a quiet one."""
    if not rig.shutil.which("valgrind"):
        raise Absent("valgrind is not installed")
    peer = begun(bench, "ccpeer", bench.corpus("hook", 5, total=2 * MIB))
    if not peer:
        raise Failed("no agents")
    with peer:
        rel = os.path.relpath(bench.largest(peer.a.home), peer.a.claude)
        given, env = peer.payload(rel, "Stop")
        peer.a.env.update(env)
        peer.calm()
        programs = [("ccpeer hook Stop", [bench.ccpeer, "hook", "Stop"]), ("ccpeer-hook hook Stop", [peer.hook_client(), "hook", "Stop"]), ("ccpeer --version", [bench.ccpeer, "--version"])]
        try:
            programs.insert(0, ("empty program", [bench.example("empty")]))
        except Absent as e:
            bench.note(str(e))
        for name, argv in programs:
            bench.say("instructions", name, "thousands", "ccpeer", [counted(peer.a, argv, given) / 1e3])
    # A capture happens in the agent, whose own comings and goings would be counted with it.
    captures(bench)


def counted(host, argv, given):
    out = os.path.join(host.root, "callgrind")
    log = os.path.join(host.root, "valgrind")
    for old in (out, log):
        if os.path.exists(old):
            os.unlink(old)
    # Under valgrind a process takes fifty times as long: its deadlines pass meanwhile, but not its work.
    host.run("valgrind", "--tool=callgrind", "--callgrind-out-file=" + out, "--log-file=" + log, *argv, given=given, ok=(0, 1, 2))
    with open(out) as f:
        return [int(line.split()[1]) for line in f if line.startswith(("summary:", "totals:"))][0]


def captures(bench):
    """One capture of an appended turn: an agent under valgrind that takes in `n` turns,
    less one that takes in none, over `n`."""
    total = []
    corpus = bench.corpus("size", 1, each=1 * MIB)
    rel = os.path.relpath(bench.largest(corpus), corpus + "/.claude")
    more = sessions.turns(os.path.join(corpus, ".claude", rel), 6)
    for turns in (0, len(more)):
        with peers.Ccpeer(bench) as peer:
            peer.load(corpus)
            peer.begin_hooks()
            # By itself the agent starts once more, and would leave valgrind behind.
            peer.a.env["MALLOC_ARENA_MAX"] = "1"
            out = os.path.join(peer.a.root, "callgrind")
            ready = os.path.join(peer.a.root, "ready")
            pid = peer.a.start("valgrind", "--tool=callgrind", "--callgrind-out-file=" + out, "--log-file=/dev/null", bench.ccpeer, "agent", "--no-mdns", out=ready)["pid"]
            wait("an agent under valgrind", lambda: os.path.exists(ready) and os.path.getsize(ready) > 0, 300)
            wait("the session", lambda: peer.seen(peer.a, os.path.basename(rel)[:-6])[0], 300, 0.5)
            peer.calm(300)
            for content in more[:turns]:
                old = peer.seen(peer.a, os.path.basename(rel)[:-6])[0]
                given, env = peer.payload(rel, "Stop")
                peer.append(rel, content)
                peer.a.run(bench.ccpeer, "hook", "Stop", given=given, env=env)
                wait("the capture", lambda: peer.seen(peer.a, os.path.basename(rel)[:-6])[0] != old, 300, 1)
                peer.calm(300)
            peer.a.run(bench.ccpeer, "down", ok=(0, 1, 3))
            peer.a.stop(pid)
            with open(out) as f:
                total.append([int(line.split()[1]) for line in f if line.startswith(("summary:", "totals:"))][0])
    bench.say("instructions", "one capture of a turn", "thousands", "ccpeer", [(total[1] - total[0]) / len(more) / 1e3])


# Quick ones first: whoever breaks off has seen something.
ALL = (hook, turn, slow, first, lists, search, reconnect, idle, place, sizes, instructions)

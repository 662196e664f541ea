"""The table: what was seen in a run, beside the bars.

A bar is a bound on a median unless it says otherwise; a line without a bar is
there to be read.
"""
import json
import os
import re

PEERS = ("ccpeer", "floor", "rsync", "syncthing", "git", "ripgrep")

# line, case (a pattern), figure, words for the bar, bound, and which statistic is bound.
BARS = (
    ("hook", "empty program", "wall, ms", "", None, "median"),
    ("hook", "ccpeer hook Stop", "wall, ms", "p99 <= 5", 5, "p99"),
    ("hook", "ccpeer hook Stop", "times the empty program", "<= 1.6", 1.6, "median"),
    ("hook", "ccpeer-hook hook Stop", "wall, ms", "p99 <= 5", 5, "p99"),
    ("hook", "ccpeer-hook hook Stop", "times the empty program", "<= 1.6", 1.6, "median"),
    ("turn", ".*", "visible, ms", "median <= 15", 15, "median"),
    ("turn", ".*", "visible, ms", "p90 <= 40", 40, "p90"),
    ("turn", ".*", "wire there, kB", "<= 4", 4, "median"),
    ("turn", ".*", "wire back, kB", "<= 1", 1, "median"),
    ("turn", ".*", "CPU A, ms", "<= 10", 10, "median"),
    ("turn", ".*", "CPU B, ms", "<= 10", 10, "median"),
    ("turn", ".*", "disk A, kB", "<= 16", 16, "median"),
    ("turn", ".*", "disk B, kB", "<= 16", 16, "median"),
    ("slow", ".*", "visible, ms", "<= 2 RTT + 15 = 55", 55, "median"),
    ("slow", ".*", "wire there, kB", "", None, "median"),
    ("first", ".*", "wall, s", "<= 2.5", 2.5, "median"),
    ("first", ".*", "wire / zstd", "<= 1.15", 1.15, "median"),
    ("first", ".*", "store A / zstd", "<= 1.3", 1.3, "median"),
    ("first", ".*", "store B / zstd", "<= 1.3", 1.3, "median"),
    ("first", ".*", "CPU A, s", "", None, "median"),
    ("first", ".*", "CPU B, s", "", None, "median"),
    ("first", ".*", "peak memory A, MiB", "", None, "median"),
    ("first", ".*", "peak memory B, MiB", "", None, "median"),
    ("lists", ".*", "tasks, ms", "<= 50", 50, "median"),
    ("lists", ".*", "tasks --all, ms", "<= 50", 50, "median"),
    ("lists", ".*", "sessions, ms", "<= 50", 50, "median"),
    ("lists", ".*", "agent start, ms", "<= 300", 300, "median"),
    ("lists", ".*", "RSS B, MiB", "", None, "median"),
    ("search", ".*", "index made, s", "", None, "median"),
    ("search", ".*", "index / raw", "", None, "median"),
    ("search", ".*", "answer, ms", "median <= 20", 20, "median"),
    ("search", ".*", "answer, ms", "p95 <= 60", 60, "p95"),
    ("search", ".*", "command, ms", "", None, "median"),
    ("reconnect", "0 sessions", "in step, ms", "", None, "median"),
    ("reconnect", "0 sessions", "wire, kB", "", None, "median"),
    ("reconnect", "[1-9].*", "beyond the handshake, ms", "<= 5", 5, "median"),
    ("reconnect", "[1-9].*", "beyond the handshake, kB", "<= 2", 2, "median"),
    ("idle", ".*", "CPU A, ms/min", "<= 40", 40, "median"),
    ("idle", ".*", "CPU B, ms/min", "<= 40", 40, "median"),
    ("idle", ".*", "wire, kB/min", "<= 3", 3, "median"),
    ("idle", ".*", "RSS A, MiB", "<= 30", 30, "median"),
    ("idle", ".*", "RSS B, MiB", "<= 30", 30, "median"),
    ("idle", ".*", "PSS A, MiB", "", None, "median"),
    ("idle", ".*", "wakeups A, 1/min", "", None, "median"),
    ("place", ".*", "continue, MB/s", ">= 200", -200, "median"),
    ("place", ".*", "more memory, MiB", "<= 128", 128, "median"),
    ("place", ".*", "verify --read-data, MB/s", ">= 300", -300, "median"),
    ("sizes", ".*", "visible, ms", "flat", None, "median"),
    ("sizes", ".*", "wire there, kB", "flat", None, "median"),
    ("sizes", ".*", "wire back, kB", "flat", None, "median"),
    ("sizes", ".*", "CPU A, ms", "flat", None, "median"),
    ("sizes", ".*", "CPU B, ms", "flat", None, "median"),
    ("sizes", ".*", "disk A, kB", "flat", None, "median"),
    ("sizes", ".*", "disk B, kB", "flat", None, "median"),
    ("instructions", ".*", "thousands", "", None, "median"),
)
# What the largest session may cost, in terms of the smallest.
FLAT_MAX = 1.3


def markdown(folder):
    """The last run's table."""
    runs = sorted(f for f in os.listdir(folder) if f.endswith(".jsonl"))
    for name in reversed(runs):
        with open(os.path.join(folder, name), encoding="utf-8") as f:
            rows = [json.loads(line) for line in f]
        if any("line" in r and "figure" in r for r in rows):
            return of(rows, name)
    return "nothing was measured yet"


def of(rows, name):
    seen, versions, notes = {}, [], []
    for r in rows:
        if "figure" in r:
            seen.setdefault((r["line"], r["case"], r["figure"]), {}).setdefault(r["peer"], []).extend(r["values"])
        elif "version" in r:
            versions.append("%s %s" % (r["peer"], re.sub(r"^%s\s+" % r["peer"], "", r["version"])))
        elif "note" in r:
            notes.append(r["note"])
    loads = [r["load"] for r in rows if "figure" in r]
    run = next((r["run"] for r in rows if "run" in r), {})
    there = [p for p in PEERS if any(p in by for by in seen.values())]
    out = ["", "Run %s%s: kernel %s, %s cores, %s; load %.1f to %.1f." % (
        name[:-6], " (quick: too small to judge by)" if run.get("quick") else "", run.get("kernel"), run.get("cores"), run.get("filesystem"), min(loads), max(loads)),
        "Versions: %s." % "; ".join(versions), "Median (10th to 90th percentile) of n.", "",
        "| line | case | figure | bar | " + " | ".join(there) + " | holds |", "|---|---|---|---|" + "---|" * (len(there) + 1)]
    for line, pattern, figure, words, bound, which in BARS:
        for (l, case, f), by in seen.items():
            if (l, f) == (line, figure) and re.fullmatch(pattern, case):
                cells = [cell(by.get(p), which) for p in there]
                out.append("| %s | %s | %s | %s | %s | %s |" % (line, case, figure, words, " | ".join(cells), holds(by.get("ccpeer"), bound, which)))
    out += flat(seen, there)
    out += ["", "Notes:"] + ["- " + n for n in notes] if notes else []
    return "\n".join(out)


def statistic(values, which):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * {"median": 0.5, "p10": 0.1, "p90": 0.9, "p95": 0.95, "p99": 0.99}[which]))]


def short(value):
    return "%.0f" % value if abs(value) >= 1000 else "%.3g" % value


def cell(values, which):
    if not values:
        return ""
    if len(values) == 1:
        return short(values[0])
    if which != "median":
        return "%s %s" % (which, short(statistic(values, which)))
    return "%s (%s–%s) of %d" % tuple([short(statistic(values, w)) for w in ("median", "p10", "p90")] + [len(values)])


def holds(values, bound, which):
    if not values or bound is None:
        return ""
    value = statistic(values, which)
    return "yes" if (value >= -bound if bound < 0 else value <= bound) else "**no**"


def flat(seen, there):
    """The largest session beside the smallest."""
    out = []
    for figure in sorted({f for (l, _, f) in seen if l == "sizes"}):
        by = {int(case.split()[0]): peers.get("ccpeer") for (l, case, f), peers in seen.items() if l == "sizes" and f == figure}
        by = {size: values for size, values in by.items() if values}
        if len(by) > 1 and statistic(by[min(by)], "median") > 0:
            ratio = statistic(by[max(by)], "median") / statistic(by[min(by)], "median")
            out.append("| sizes | %d MB / %d MB | %s | <= %.1f | %s |%s %s |" % (max(by), min(by), figure, FLAT_MAX, short(ratio), " |" * (len(there) - 1), "yes" if ratio <= FLAT_MAX else "**no**"))
    return out

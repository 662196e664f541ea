"""One cell of the matrix: a session is made on A, compared file by file with what
arrived, placed on B, gone on with there in both forms of the CLI, and taken back.

What is compared, and with what:

* **captured**: a third machine C is A's computer once more (same user, same paths, an
  own view of the disk). What is placed there has no path to change, so that every file
  must have the very bytes of A's. NOT_CARRIED is what may be missing, and why.
* **history**: what the model is sent on B, block by block (texts, tool calls, results),
  against what it was sent last on A and answered, with A's places replaced by B's.
* **foreign**: no request of B, whole (system prompt, tools, messages, metadata), holds
  A's root, its slug, or the name of A's user; nor do the placed files, but for the
  bytes of file history, which are the user's own files.
"""
import json
import os
import re
import shutil
import subprocess
import time

import fake_api
import plays
import rig
from makers import REFUSAL, Printer, Window
from passages import first_difference, join_up, moved, naming, read, same, settled

USER_A, USER_B = "quillan", "ottoline"
TOOLS = ("Bash", "Write", "Edit", "Read", "Agent", "SendMessage", "ToolSearch", "TaskCreate", "TaskUpdate", "TaskList", "TaskGet")
LOOKS = ("tool-result", "agent", "nested", "tasks", "rewind", "compacted", "title", "plan")
# Files of a session that are not captured, and why not.
NOT_CARRIED = {".lock": "an empty lock", "custom-title.json": "the transcript has the title too"}
# What else the CLI writes into its directory: state of the machine, of no session.
OF_THE_MACHINE = ("backups/", "debug/", "history.jsonl", ".last-cleanup", "paste-cache/", "plugins/", "session-env/", "sessions/",
                  "settings.json", "shell-snapshots/", "skills/")
# What the CLI answers in the model's name where the last word was a command of its own.
UNANSWERED = "No response requested."
REMOTE = "https://git.example/%s/monolith.git"


class Twin(rig.Machine):
    """A's computer once more, as one restores it from nothing: its directory is mounted
    over A's, for its own processes alone."""

    def __init__(self, lab, original):
        super().__init__(lab, "c", os.path.relpath(original.home, original.root), os.path.relpath(original.project, original.home))
        self.original = original
        user = [] if os.geteuid() == 0 else ["--map-root-user"]
        over = 'mount --bind "$1" "$2" && cd "$3" && shift 3 && exec "$@"'
        self.prefix = ["unshare", "--mount", *user, "sh", "-c", over, "sh", self.root, original.root, original.root]

    def env(self):
        return dict(self.original.env(), CCPEER_HOME=self.ccpeer_home)

    def possible(self):
        return shutil.which("unshare") and not subprocess.run([*self.prefix, "true"], capture_output=True).returncode


class Stage:
    """The machines of one column: they stay up while row after row is played on them."""

    def __init__(self, lab):
        self.lab = lab
        self.a = lab.machine("a", "home/" + USER_A, "src/begin")
        self.b = lab.machine("b", "Users/" + USER_B, "code/begin")
        twin = Twin(lab, self.a)
        self.c = twin if twin.possible() else None
        self.trees = {}
        for m in (self.a, self.b):
            m.allow(*TOOLS)
        lab.machines += [self.c] if self.c else []
        join_up(lab, *lab.machines)

    def tidy(self):
        for m in (self.a, self.b):
            for t in m.tuis:
                t.kill()
            m.more_env, m.mode = {}, "default"


# --------------------------------------------------------------------- one cell

def run(lab, stage, row, column):
    a, b, c = stage.a, stage.b, stage.c
    prepare(stage, row)
    mark, before = lab.api.mark(), listing(a)
    session, others, expected = make(lab, a, row, column)
    sessions = [*others, session]
    unknown = sorted(f for f in listing(a) - before - {f for s in sessions for f in a.files_of(s)} if not is_machines(os.path.relpath(f, a.claude_dir)))
    lab.check("the CLI has written nothing on A that is not known", not unknown, unknown)

    for s in sessions:
        settled(b, s, a)
    if c:
        for s in sessions:
            compare_twin(lab, stage, s, "" if s == session else " (the one before)")
    else:
        lab.check("no view of the disk can be made here (unshare): files are not compared", False)
    kept = {s: read(a.transcript(s)) for s in sessions}
    look_at_files(lab, a, session, row)

    copy_tree(a.project, b.project)
    for s in sessions:
        into = [] if row.git else ["--into", b.project]
        placed = b.ask("continue", s, *into, "--no-exec")
        lab.check("continue places it on B as new", placed["placed"] == "new", placed["placed"])
        lab.check("  in B's project, where the CLI looks for it", same(placed["project_dir"], b.project) and placed["path"] == b.transcript(s), "%s %s" % (placed["project_dir"], placed["path"]))
        foreign = [f for f in naming(b, s, a) if "@v" not in f]
        lab.check("  no path of A in any of its files", not foreign, foreign)
    if "plan" in row.looks:
        plans = [f for f in b.files_of(session) if "/plans/" in f]
        lab.check("  its plan came along, in B's paths", plans and b.project.encode() in read(plans[0]), plans)

    expected = talk_moved(expected, a, b)
    expected = on_b(lab, stage, row, column, session, expected)
    for s in others:
        before = at_rest(lab, mark, s)
        if before:
            again(lab, b, s, talk_moved(before, a, b), "B, the one before", stage)

    settled(a, session, b)
    back = a.ask("continue", session, "--no-exec")
    lab.check("A takes it back as a fast-forward", back["placed"] == "fast_forward", back["placed"])
    new = read(a.transcript(session))
    lab.check("  A's own bytes are its beginning", new.startswith(kept[session]) and len(new) > len(kept[session]), "%d, then %d" % (len(kept[session]), len(new)))
    foreign = [f for f in naming(a, session, b) if "@v" not in f]
    lab.check("  no path of B in any of its files", not foreign, foreign)
    again(lab, a, session, talk_moved(expected, b, a), "A", stage)


def prepare(stage, row):
    a, b, c = stage.a, stage.b, stage.c
    if row.git:
        git(stage, row)
    a.at(row.here)
    b.at(row.there)
    if c:
        os.makedirs(os.path.join(c.home, row.here), exist_ok=True)
        c.project = a.project
    a.mode = row.mode
    for m in (a, b):
        m.more_env = {"CLAUDE_CODE_ENABLE_TODO_TOOLS": "1"} if "tasks" in row.looks else {}


def git(stage, row):
    """The same repository on both; the session's directory is a part of it, or a worktree."""
    a, b = stage.a, stage.b
    here, there = row.here, row.there
    if row.git == "subdir":
        here, there = here.split("/parts/")[0], there.split("/parts/")[0]
    start = "git init -q -b main . && git remote add origin %s && mkdir -p parts/lamp && echo lamp > parts/lamp/about.txt && git add . && git -c user.name=x -c user.email=x@example.org commit -q --date=2026-01-01T00:00:00Z -m begin"
    for m, d in ((a, here + ("-main" if row.git == "worktree" else "")), (b, there)):
        where = os.path.join(m.home, d)
        os.makedirs(where)
        env = dict(m.env(), GIT_COMMITTER_DATE="2026-01-01T00:00:00Z")
        subprocess.run(start % (REMOTE % row.git), shell=True, cwd=where, check=True, env=env)
        if row.git == "worktree" and m is a:
            subprocess.run(["git", "worktree", "add", "-q", "-b", "lamp", os.path.join(a.home, here)], cwd=where, check=True, env=env, capture_output=True)


def make(lab, a, row, column):
    """The session as the row says. Gives its id, those it came from, and the conversation."""
    mark = lab.api.mark()
    if column == "print":
        a.more_env = dict(a.more_env, **row.print_env)
        maker = Printer(a)
    else:
        maker = Window(a)
    for name, *args in row.steps:
        getattr(maker, name)(*args)
        a.mode = "default"
    maker.quit()
    if column == "print":
        for command in [c for sign, c in (("rewind", "/rewind"), ("fork", "/branch")) if sign in row.looks + tuple(step[0] for step in row.steps)]:
            said = a.claude(command, "--no-session-persistence")["result"]
            lab.check("the CLI says itself that print mode has no " + command, REFUSAL in said, said)
    others = [s for s in dict.fromkeys(maker.parents) if s != maker.session and os.path.exists(a.transcript(s))]
    return maker.session, others, at_rest(lab, mark, maker.session)


def on_b(lab, stage, row, column, session, expected):
    """B goes on: in full screen, and in print mode by id, or as what was last here. Returns
    the conversation."""
    b, a = stage.b, stage.a
    if shutil.which("tmux"):
        if column == "interactive":
            w = Window(b, None, "--resume")
            title = title_of(b.transcript(session))
            listed = w.tui.shows(title)
            lab.check("the picker on B lists it by its title", listed, title)
            if listed:
                w.tui.choose(title, below="Resume session")
                w.tui.keys("Enter")
                b.wait("the session on the screen", lambda: "Resume session" not in w.tui.screen())
                time.sleep(1)
            else:
                w.tui.kill()
                w = Window(b, session)
        else:
            w = Window(b, session)
        mark = lab.api.mark()
        w.say("Go on in full screen.")
        expected = whole(lab, b, session, mark, expected, "Go on in full screen.", "B, full screen", stage)
        lab.check("  it goes on in the same session", w.session == session, w.session)
        if "agent" in row.looks:
            expected = ask_again(lab, w, session, stage)
        if "tasks" in row.looks:
            mark = lab.api.mark()
            w.say("What is to be done? [play:list-tasks]")
            expected = at_rest(lab, mark, session)
            listed = expected[-2][2] if len(expected) > 1 else ""
            lab.check("  the list of tasks is there", all(t in listed for t in ("Trim the wick", "灯油 for the lamp", "Light the lamp")) and "completed" in listed, listed)
        if "rewind" in row.looks:
            rewind(lab, stage, w, session)
        w.quit()
    else:
        lab.check("B goes on in full screen", False, "there is no tmux")
    how = ["--resume", session] if column == "interactive" else ["--continue"]
    return again(lab, b, session, expected, "B, " + how[0], stage, "Look around. [play:light]", how)


def again(lab, m, session, expected, name, stage, prompt="Once more.", args=None):
    """One turn in print mode, with the whole history."""
    mark = lab.api.mark()
    report = m.claude(prompt, *(args or ["--resume", session]))
    lab.check("%s: the same session goes on" % name, report["session_id"] == session, report["session_id"])
    return whole(lab, m, session, mark, expected, prompt, name, stage)


def ask_again(lab, w, session, stage):
    """The sub-agent that worked on A is asked once more on B."""
    mark = lab.api.mark()
    w.say("Ask once more. [play:ask-again]", 1)
    helpers = [r for r in lab.api.after(mark) if r["kind"] == "helper"]
    said = [text for _, _, text in fake_api.conversation(helpers[0]["body"])] if helpers else []
    # Its first words on A name its directory, and so do they on B.
    first = "You are at work in %s." % stage.b.project
    lab.check("  the sub-agent is continued with its own history, in B's paths", any(t.startswith(first) for t in said) and len(said) > 3, said[:3])
    return at_rest(lab, mark, session)


def rewind(lab, stage, w, session):
    """Back to before the second form, on B's disk alone."""
    a, b = stage.a, stage.b
    before, elsewhere = tree(b.project), {**tree(a.project), **tree(b.home, but=(b.project, b.claude_dir, b.tmp, b.stops, b.home + "/.claude.json"))}
    w.tui.type("/rewind")
    w.tui.choose("Another form.", below="Restore the code and/or", key="Up")
    w.tui.keys("Enter")
    w.tui.wait_for("Restore code")
    pick(w.tui, "Restore code")
    b.wait("the rewound file", lambda: read(b.project + "/lamp.txt") == plays.LAMP.encode() or "skipped" in w.tui.screen())
    after = tree(b.project)
    wanted = dict(before, **{b.project + "/lamp.txt": plays.LAMP.encode()})
    wanted.pop(b.project + "/stand.txt", None)
    lab.check("  rewinding restores B's file and removes the one that was new", after == wanted, differing(after, wanted))
    lab.check("  and touches nothing else, here or on A", elsewhere == {**tree(a.project), **tree(b.home, but=(b.project, b.claude_dir, b.tmp, b.stops, b.home + "/.claude.json"))})


def pick(tui, label):
    """Takes the choice with exactly this label from a numbered list, by its number."""
    found = [m.group(1) for m in re.finditer(r"(?m)^[ ❯]*(\d)\. " + re.escape(label) + r"\s*$", tui.screen())]
    if not found:
        raise rig.Failed("no choice %r:\n%s" % (label, tui.screen()[-1500:]))
    tui.keys(found[-1])


# ------------------------------------------------------------------ what is compared

def compare_twin(lab, stage, session, which=""):
    """C, which is A's computer once more, gets the session; each file must be A's."""
    a, c = stage.a, stage.c
    settled(c, session, a)
    placed = c.ask("continue", session, "--into", a.project, "--no-exec")
    differ, left_out, size = compare(a, c, session)
    lab.check("captured and given back%s: every file of A, byte for byte" % which, placed["placed"] == "new" and not differ, differ or "%d files, %d bytes; left out: %s" % (size[0], size[1], ", ".join(sorted(left_out)) or "none"))
    odd = [f for f in left_out if os.path.basename(f) == "custom-title.json" and last_title(a.transcript(session)) != json.loads(read(os.path.join(a.claude_dir, f)))["customTitle"]]
    lab.check("  what is left out says nothing that is not elsewhere", not odd, odd)


def modest(data):
    """A file as it is given to another device, where the rules for content say more than
    its bytes: the usual permissions (the matrix' own sessions have no others, the stored
    ones do), and no rewinding outside the project, which is where plans lie."""
    data = re.sub(rb'"permissionMode":"(bypassPermissions|acceptEdits|auto|dontAsk)"', b'"permissionMode":"default"', data)
    if b"/plans/" not in data:
        return data
    return b"".join(filter(None, map(without_plans, data.splitlines(keepends=True))))


def without_plans(line):
    """A line without the plan among the files for rewinding; nothing if it speaks of no other."""
    if b'"file-history-' not in line or b"/plans/" not in line:
        return line
    record = json.loads(line)
    if "/plans/" in record.get("trackingPath", ""):
        return None
    tracked = record.get("snapshot", {}).get("trackedFileBackups", {})
    for key in [k for k in tracked if "/plans/" in k]:
        del tracked[key]
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def compare(a, c, session):
    """Files that differ, those that are not carried on purpose, and (count, bytes) of the equal."""
    here = {os.path.relpath(f, a.claude_dir): modest(read(f)) for f in a.files_of(session)}
    there = {os.path.relpath(f, c.claude_dir): read(f) for f in c.files_of(session)}
    left_out = [f for f in here if f not in there and os.path.basename(f) in NOT_CARRIED]
    differ = ["%s: %s" % (os.path.basename(f), "missing" if f not in there else "only there" if f not in here else where(here[f], there[f]))
              for f in sorted(set(here) | set(there)) if f not in left_out and here.get(f) != there.get(f)]
    equal = [f for f in here if f in there and here[f] == there[f]]
    return differ, left_out, (len(equal), sum(len(here[f]) for f in equal))


def listing(m):
    return {os.path.join(d, f) for d, _, files in os.walk(m.claude_dir) for f in files}


def is_machines(path):
    return any(path == known or known.endswith("/") and path.startswith(known) for known in OF_THE_MACHINE)


def where(one, other):
    """In which line two files begin to differ, and how."""
    for n, (x, y) in enumerate(zip(one.split(b"\n"), other.split(b"\n")), 1):
        if x != y:
            at = max(0, len(os.path.commonprefix([x, y])) - 40)
            return "line %d: %r, there %r" % (n, x[at:][:160], y[at:][:160])
    return "%d bytes, there %d" % (len(one), len(other))


def look_at_files(lab, a, session, row):
    """The row is what it says: the CLI has made the files that it is about."""
    files = [os.path.relpath(f, a.claude_dir) for f in a.files_of(session)]
    agents = [f for f in files if "/subagents/" in f and f.endswith(".jsonl")]
    signs = {"tool-result": any("/tool-results/" in f for f in files), "agent": bool(agents), "nested": len(agents) == 2,
             "tasks": sum(bool(re.search(r"^tasks/.*/\d+\.json$", f)) for f in files) == 3, "rewind": any(f.startswith("file-history/") for f in files),
             "compacted": b'"compact_boundary"' in read(a.transcript(session)), "title": last_title(a.transcript(session)) is not None,
             "plan": any(f.startswith("plans/") for f in files)}
    for sign in row.looks:
        lab.check("A has made what the row is about: " + sign, signs[sign], files)


def at_rest(lab, mark, session):
    """The conversation of a session as it was sent last, with the reply to it."""
    own = [r for r in lab.api.since(mark) if session_of(r["body"]) == session]
    return fake_api.conversation(own[-1]["body"]) + said(own[-1]) if own else []


def said(request):
    out = [("assistant", "text", request["text"])]
    return out + [("assistant", "tool_use", json.dumps(list(t), sort_keys=True, ensure_ascii=False)) for t in request["tools"]]


def session_of(body):
    """The session that a request names as its own."""
    found = re.search(r'session_?(?:id)?"?[:_] ?"?([0-9a-f-]{36})', (body.get("metadata") or {}).get("user_id") or "")
    return found and found.group(1)


def talk_moved(talk, source, target):
    return [(role, kind, moved(text, source, target)) for role, kind, text in talk]


def whole(lab, m, session, mark, expected, prompt, name, stage):
    """The first request after a mark holds the whole history and then the prompt, and none
    holds a word of another machine. Returns the conversation as it is then."""
    own = [r for r in lab.api.since(mark) if session_of(r["body"]) == session]
    got = fake_api.conversation(own[0]["body"]) if own else []
    holds, why = continues(got, expected, prompt)
    lab.check("%s: the model is sent the whole history" % name, holds, "%d blocks" % len(expected) if holds else why)
    other, user = (stage.a, USER_A) if m is stage.b else (stage.b, USER_B)
    found = strangers(json.dumps([r["body"] for r in lab.api.after(mark)], ensure_ascii=False), other, user)
    lab.check("  and no path, slug or user of the other machine", not found, found)
    return at_rest(lab, mark, session)


def continues(got, expected, prompt):
    """Whether a conversation is the expected one and then the prompt, but for what the CLI
    says by itself about its commands."""
    got, expected = words(got), words(expected)
    rest = got[len(expected):]
    if got[: len(expected)] != expected or not rest:
        return False, first_difference(got, expected)
    between = [t for _, _, t in rest[:-1]]
    if not rest[-1][2].endswith(prompt):
        return False, "the prompt is not the last: %s" % (rest[-1],)
    return not between, "between: %s" % between[:2]


def words(talk):
    """A conversation without the CLI's notes."""
    own = ("<local-command", "<command-name>")
    return [plainly(b) for b in talk if not b[2].startswith(own) and b[2] != UNANSWERED]


def plainly(block):
    """A block without the plan that some versions add to the call that ends planning, and
    others do not, from one form of the CLI to the other."""
    role, kind, text = block
    return (role, kind, '["ExitPlanMode"]') if kind == "tool_use" and text.startswith('["ExitPlanMode"') else block


def strangers(text, other, user):
    """The first word of another machine in what was sent, with what stands around it."""
    for form in (other.root, rig.slug(other.root), user):
        at = text.find(form)
        if at >= 0:
            return "…%s…" % text[max(0, at - 120):at + 120]
    return ""


def last_title(path):
    titles = [json.loads(line).get("customTitle") for line in read(path).splitlines() if b'"custom-title"' in line]
    return titles[-1] if titles else None


def title_of(path):
    """How the picker calls a session: by the title given to it, or made up for it, or by
    its last prompt."""
    found = {}
    for line in read(path).splitlines():
        record = json.loads(line)
        for key in ("customTitle", "aiTitle", "lastPrompt"):
            if record.get(key):
                found[key] = record[key]
    return (found.get("customTitle") or found.get("aiTitle") or found.get("lastPrompt") or "")[:60]


def tree(top, but=()):
    """All files below a directory with their bytes."""
    out = {}
    for d, dirs, files in os.walk(top):
        dirs[:] = [x for x in dirs if os.path.join(d, x) not in but and x != ".git"]
        out.update({os.path.join(d, f): read(os.path.join(d, f)) for f in files if os.path.join(d, f) not in but and os.path.isfile(os.path.join(d, f))})
    return out


def differing(one, other):
    return sorted(os.path.basename(f) for f in set(one) | set(other) if one.get(f) != other.get(f))


def copy_tree(source, target):
    """The project's files, as git would bring them."""
    shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".git"))


def self_test():
    talk = [("user", "text", "hi"), ("assistant", "text", "yes")]
    assert continues(talk + [("user", "text", "on")], talk, "on") == (True, "between: []")
    assert continues(talk + [("user", "text", "<command-name>/x"), ("user", "text", "on")], talk, "on")[0]
    assert continues(talk + [("user", "text", "on")], talk + [("user", "text", "<local-command-stdout>")], "on")[0]
    assert not continues(talk + [("user", "text", "what?"), ("user", "text", "on")], talk, "on")[0]
    assert not continues(talk[:1] + [("user", "text", "on")], talk, "on")[0] and not continues(talk, talk, "on")[0]
    assert continues([("assistant", "tool_use", '["ExitPlanMode", {}]'), ("user", "text", "on")], [("assistant", "tool_use", '["ExitPlanMode", {"plan": "x"}]')], "on")[0]
    body = {"metadata": {"user_id": json.dumps({"device_id": "d", "session_id": "6ac00dff-c476-4c07-9b0b-9beb33a12c73"})}}
    assert session_of(body) == "6ac00dff-c476-4c07-9b0b-9beb33a12c73"
    assert session_of({"metadata": {"user_id": "user_x_account__session_6ac00dff-c476-4c07-9b0b-9beb33a12c73"}}) and session_of({}) is None
    assert where(b"a\nb", b"a\nc").startswith("line 2") and where(b"a", b"a\nb").startswith("1 bytes")
    assert modest(b'{"permissionMode":"auto"}\n') == b'{"permissionMode":"default"}\n'
    delta, snapshot = b'{"type":"file-history-delta","trackingPath":"/h/plans/x.md"}\n', b'{"type":"file-history-snapshot","snapshot":{"trackedFileBackups":{"/h/plans/x.md":{},"a":{}}}}\n'
    assert modest(b"a\n" + delta + snapshot) == b'a\n{"type":"file-history-snapshot","snapshot":{"trackedFileBackups":{"a":{}}}}\n'
    assert is_machines("sessions/1.json") and is_machines("history.jsonl") and not is_machines("history.jsonl2") and not is_machines("projects/x/y.jsonl")
    machine = type("M", (), {"root": "/s/machine-a"})
    assert "machine-a" in strangers("x /s/machine-a/y", machine, "who") and "who" in strangers("by who", machine, "who") and not strangers("none", machine, "who")
    assert differing({"/a": b"1", "/b": b"2"}, {"/a": b"1"}) == ["b"]

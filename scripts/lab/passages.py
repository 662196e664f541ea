"""What stories and matrix have in common: devices that know each other, sessions that
have arrived, and what one machine's words are on another.
"""
import os

import fake_api
import rig


def join_up(lab, *machines):
    """Starts the agents, pairs each with each, and waits for the links."""
    for m in machines:
        m.up()
    for i, m in enumerate(machines):
        for other in machines[:i]:
            rig.pair(other, m)
    for i, m in enumerate(machines):
        for other in machines[:i]:
            m.connected(other)
            other.connected(m)


def settled(machine, session, author):
    """Waits until the machine holds all that the CLI has written on the author's side, as one
    version that the author's agent has made of all lines of the file. Returns its row."""
    me = author.device()["id"]

    def there():
        own = [r for r in author.tasks(session) if r["device"]["id"] == me]
        # Lines, not bytes: a version's bytes are counted before paths are rewritten.
        lines = [r["records"] for r in author.ask("sessions", "--local") if r["session_id"] == session]
        ended = own and own[0]["state"] not in ("live", "idle") and lines == [read(author.transcript(session)).count(b"\n")]
        return held(machine, session, own[0]["version"]) if ended else None

    return machine.wait("the whole session", there, 40)


def held(machine, session, version):
    """The row of a version in the machine's list, once all of it is there."""
    rows = [r for r in machine.tasks(session) if r["complete"] and r["version"] == version]
    return rows[0] if rows else None


def spoken(lab, mark):
    """The conversation of the main session as of its last request, with the reply to it."""
    last = lab.api.since(mark)[-1]
    return fake_api.conversation(last["body"]) + [("assistant", "text", last["text"])]


def moved(text, source, target):
    """The text as it reads on the other machine. `top` is the project's repository, where one is known."""
    tops = [(source.top, target.top)] if source.top and target.top else []
    for old, new in [(source.project, target.project)] + tops + [(source.home, target.home)]:
        text = text.replace(old, new).replace(rig.slug(old), rig.slug(new))
    return text


def first_difference(got, expected):
    for i, want in enumerate(expected):
        if i >= len(got):
            return "only %d of %d blocks" % (i, len(expected))
        if got[i] != want:
            one, two = str(got[i]), str(want)
            at = max(0, len(os.path.commonprefix([one, two])) - 60)
            return "block %d is …%s…, not …%s…" % (i, one[at:][:200], two[at:][:200])
    return "after the history came %s" % str(got[len(expected):])[:300]


def kinds(machine, session):
    found = set()
    for f in machine.files_of(session):
        rest = f[len(machine.claude_dir):]
        if "/subagents/" in rest:
            found.add("subagent")
        elif "/tool-results/" in rest:
            found.add("tool-result")
        elif rest.startswith("/projects/") and rest.endswith(".jsonl"):
            found.add("main")
        elif rest.startswith(("/file-history/", "/tasks/")):
            found.add(rest.split("/")[1])
    return found


def naming(machine, session, other):
    """Files of a session that name a place of another machine."""
    forms = (other.root.encode(), rig.slug(other.root).encode())
    return [os.path.basename(f) for f in machine.files_of(session) if any(form in read(f) for form in forms)]


def read(path):
    with open(path, "rb") as f:
        return f.read()


def same(one, other):
    return one is not None and os.path.realpath(one) == os.path.realpath(other)

"""The story in which the real CLI asks ccpeer: by the skill and by the MCP server.

The model is the fake one, so that it calls a tool is what the play says; what the
story shows is that the CLI offers what would make a model call it, runs it, and hands
back what ccpeer said.
"""
import json
import os

import fake_api
from passages import join_up

# What the user says in both languages, and what the skill has a model run for it.
PHRASES = [
    ("tasks", "What's in my unfinished tasks?", "未完成任务里有什么", "ccpeer tasks"),
    ("continue", "continue 1", "继续 1", "ccpeer continue {session} --no-exec --into '{project}'"),
    ("snapshot", "add this to unfinished tasks", "记一下这个", "ccpeer snapshot --force"),
]


def results(requests):
    """What tools gave back, in the last request of a conversation: (name, text)."""
    blocks = [b for m in requests[-1]["body"]["messages"] if isinstance(m["content"], list) for b in m["content"]]
    names = {b["id"]: b["name"] for b in blocks if b["type"] == "tool_use"}
    return [(names.get(b["tool_use_id"], "?"), "\n".join(fake_api.texts(b.get("content"))) or str(b.get("content"))) for b in blocks if b["type"] == "tool_result"]


def turn(lab, machine, phrase, steps):
    """One turn in which the model calls these tools, one after the other."""
    fake_api.PLAYS["asked"] = [("I ask.", [step]) for step in steps] + [("That is the answer.", [])]
    mark = lab.api.mark()
    machine.claude(phrase + " [play:asked]")
    talk = lab.api.since(mark)
    got = results(talk)
    for name, text in got:
        lab.figure("%s → %s" % (phrase, name), " / ".join(text.split("\n"))[:300])
    return talk, dict(got)


def asked(lab):
    """The trigger phrases in the real CLI: the skill, then the MCP server."""
    a, b = lab.three_homes("a", "b")
    join_up(lab, a, b)
    # Left open: what print mode has run to its end is no task.
    a.tui().say("Please build it. [play:build]")
    session = os.path.basename(a.transcripts()[-1])[: -len(".jsonl")]
    b.wait("the session", lambda: [r for r in b.tasks(session) if r["complete"] and r["state"] == "idle"], 40)
    b.more_env["PATH"] = ":".join([os.path.dirname(lab.ccpeer), b.env()["PATH"]])
    for what, english, chinese, command in PHRASES:
        command = command.format(session=session, project=b.project)
        for phrase in (english, chinese):
            talk, got = turn(lab, b, phrase, [("Skill", {"skill": "ccpeer"}), ("Bash", {"command": command, "description": "Ask ccpeer"})])
            told = json.dumps(talk[0]["body"], ensure_ascii=False)
            lab.check("%s: the CLI tells the model of the skill, with its phrases" % phrase,
                      all(p in told for p in ("unfinished tasks", "未完成任务里有什么", "继续 1", "记一下这个")))
            lab.check("%s: the skill is loaded" % phrase, "Skill" in got, got.get("Skill", "")[:80])
            wanted = {"tasks": "lantern", "continue": "claude --resume " + session, "snapshot": "Held by"}[what]
            lab.check("%s: %s is run and answers" % (phrase, command.split(session)[0].strip()), wanted in got.get("Bash", ""), got.get("Bash", "")[:200])

    b.ccpeer("hooks", "install", "--mcp")
    status = b.ask("hooks", "status")
    lab.check("hooks install --mcp: the CLI's own list has the server", status["mcp"] == "installed", status["mcp"])
    calls = {
        "tasks": ({}, session),
        "show": ({"task": session}, "<<<data:"),
        "continue_command": ({"task": session}, "ccpeer continue " + session),
        "snapshot": ({}, "Recorded session"),
    }
    for tool, (arguments, wanted) in calls.items():
        name = "mcp__ccpeer__" + tool
        talk, got = turn(lab, b, "Ask for " + tool, [("ToolSearch", {"query": "select:" + name, "max_results": 1}), (name, arguments)])
        lab.check("%s: the CLI knows the tool" % name, name in json.dumps(talk[-1]["body"]))
        lab.check("%s: it is called, and answers" % name, wanted in got.get(name, ""), got.get(name, "")[:200])
    b.ccpeer("hooks", "remove")
    status = b.ask("hooks", "status")
    lab.check("hooks remove takes the server out again", status["mcp"] == "missing", status["mcp"])
    b.ccpeer("hooks", "install")
    lab.check("nothing else was spoken to", not [s for s in lab.api.strangers if "ccpeer" in s], lab.api.strangers[:3])

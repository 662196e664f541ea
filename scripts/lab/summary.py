#!/usr/bin/env python3
"""A summary by the real CLI, against the fake model: `claude -p` as ccpeer starts
it has no tools, fires no hook, writes no session, and its answer is shown.

    scripts/lab/summary.py --ccpeer PATH --claude PATH

Nothing is written outside a scratch directory; it goes when all checks held.
"""
import argparse
import os
import shutil
import sys
import tempfile

import fake_api
import lab as lab_module
import rig

DOCUMENT = """## Task
Build the lantern; finished when it is lit.
## Done
- lantern.txt is written, with lamp oil
## In progress
Nothing is half done.
## Next steps
1. Light the lantern in lantern.txt.
## Files
- `lantern.txt` — the parts of the lantern
## Handoff prompt
You go on with the lantern. Open lantern.txt first, then light it; do not build it again.
"""


def with_summaries(choose):
    """The fake's choice, but a document for who asks for one."""
    def chosen(body):
        if any("hand-off notes" in text for text in fake_api.system_texts(body)):
            return "summary", DOCUMENT, []
        return choose(body)
    return chosen


def story(lab):
    m = lab.machine("a", "home/ann", "work/lantern")
    m.up()
    lab.check("nobody is asked unless the user says so", m.ask("policy")["summary"]["by"] == "off")
    m.ccpeer("policy", "summary", "claude")
    session = m.claude("Build a lantern. [play:build]")["session_id"]
    m.wait("the session", lambda: m.tasks(session))
    # The agent looks again when the files have settled.
    m.wait("the end of it", lambda: m.tasks(session)[0]["state"] != "live")
    hooks = m.ask("status")["hooks_received"]
    before = (m.transcripts(), m.last_stop())
    mark = lab.api.mark()
    _, _, said = m.ccpeer("snapshot", "--force", "--session", session, timeout=180)
    lab.check("the real CLI has written it", "A model has written its summary." in said, said)
    requests = [r for r in lab.api.requests[mark:] if r["kind"] == "summary"]
    lab.check("one request", len(requests) == 1, [r["kind"] for r in lab.api.requests[mark:]])
    body = requests[0]["body"]
    lab.check("to Haiku", "haiku" in body["model"], body["model"])
    lab.check("without tools", not body.get("tools"), body.get("tools"))
    asked = str(body["messages"])
    lab.check("with the words of the session, and without its places",
              "Build a lantern." in asked and "lantern.txt" in asked and m.home not in asked)
    lab.figure("the request, characters", len(asked))
    show = m.ask("show", session)
    lab.check("its words are shown", show["enriched"] and show["sections"]["task"].startswith("Build the lantern;"), show["sections"])
    lab.check("with the files on record", "`lantern.txt`" in show["sections"]["files"] and "the parts" in show["sections"]["files"], show["sections"]["files"])
    lab.check("no hook was fired", m.ask("status")["hooks_received"] == hooks and m.last_stop() == before[1])
    lab.check("no session was written", m.transcripts() == before[0], m.transcripts())
    lab.check("nothing is left in its directory", os.listdir(os.path.join(m.ccpeer_home, "scratch")) == [])
    status = m.ask("status")["summary"]
    lab.check("it is counted", (status["runs_today"], status["failures"]) == (1, 0), status)
    m.ccpeer("policy", "summary", "off")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--ccpeer", required=True, help="the ccpeer program")
    p.add_argument("--claude", required=True, help="the CLI's native program")
    p.add_argument("--scratch", help="directory to work in; it stays")
    args = p.parse_args()
    fake_api.choose = with_summaries(fake_api.choose)
    lab_module.STORIES = {"summary": story}
    story.__doc__ = "a summary by the real CLI"
    scratch = os.path.realpath(args.scratch or tempfile.mkdtemp(prefix="ccpeer-lab-"))
    os.makedirs(scratch, exist_ok=True)
    lab = lab_module.Lab(scratch, os.path.realpath(args.claude), os.path.realpath(args.ccpeer))
    lab_module.run(lab, ["summary"])
    failed = [r for r in lab.results if not r[2]]
    print("\n%d checks, %d failed" % (len(lab.results), len(failed)))
    if lab.api.strangers:
        print("the CLI tried to reach, and was refused: %s" % ", ".join(sorted(set(lab.api.strangers))))
    lab.api.stop()
    if not args.scratch and not failed:
        shutil.rmtree(scratch, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""What the model says in the matrix: plays as data, see fake_api.py.

A step is a text, and the tools that are called after it. `{cwd}` is the directory
in which the CLI says that it works, `{agent}` the sub-agent that was named last,
`{plan}` the file in which the CLI wants its plan.
"""

# Plays of sub-agents: what is said in them is no turn of the main session.
HELPERS = {"notes", "noting", "asking", "counting", "waiting"}


def agent(play, description, background=False):
    return ("Agent", {"description": description, "subagent_type": "general-purpose", "run_in_background": background,
                      "prompt": "You are at work in {cwd}. [play:%s]" % play})


def write(name, content):
    return ("Write", {"file_path": "{cwd}/" + name, "content": content})


LAMP = "wick\noil\nglass\n"

PLAYS = {
    # The usual: files, a look at them through the shell, and a helper.
    "lamp": [
        ("I write the file in {cwd}.", [write("lamp.txt", LAMP)]),
        ("One change.", [("Edit", {"file_path": "{cwd}/lamp.txt", "old_string": "oil", "new_string": "lamp oil"})]),
        ("And a helper for the notes.", [agent("noting", "Write the notes")]),
        ("A look at all of it.", [("Bash", {"command": "cat '{cwd}/lamp.txt' && pwd && ls '{cwd}'", "description": "Show the files"})]),
        ("The lamp in {cwd}/lamp.txt is ready.", []),
    ],
    "noting": [
        ("Writing them.", [write("notes.md", "Trim the wick.\n")]),
        ("The notes are in {cwd}/notes.md.", []),
    ],
    # Sub-agents.
    "ask": [
        ("I ask somebody.", [agent("counting", "Count the files")]),
        ("It was counted in {cwd}.", []),
    ],
    "counting": [
        ("Counting.", [("Bash", {"command": "ls '{cwd}' && pwd", "description": "Count"})]),
        ("There are some files in {cwd}.", []),
    ],
    "ask-deep": [
        ("I ask somebody who asks somebody.", [agent("asking", "Ask on")]),
        ("The answer came from two floors down.", []),
    ],
    "asking": [
        ("I ask on.", [agent("counting", "Count for the helper")]),
        ("I was told what is in {cwd}.", []),
    ],
    "ask-aside": [
        ("I ask somebody to look meanwhile.", [agent("waiting", "Look slowly", background=True)]),
        ("It is being looked at.", []),
        ("The look in {cwd} is over.", []),
    ],
    "waiting": [
        ("Looking slowly.", [("Bash", {"command": "sleep 2; ls '{cwd}'", "description": "Look slowly"})]),
        ("I have looked at {cwd}.", []),
    ],
    "ask-again": [
        ("I need the tool for it.", [("ToolSearch", {"query": "select:SendMessage", "max_results": 1})]),
        ("Once more to the same one.", [("SendMessage", {"to": "{agent}", "summary": "go on", "message": "Please count again. [play:counting]"})]),
        ("It was asked again.", []),
        ("It has answered again.", []),
    ],
    # The list of tasks.
    "tasks": [
        ("This is to be done.", [
            ("TaskCreate", {"subject": "Trim the wick", "description": "With the small scissors", "activeForm": "Trimming the wick"}),
            ("TaskCreate", {"subject": "灯油 for the lamp", "description": "One litre", "activeForm": "Fetching oil"}),
            ("TaskCreate", {"subject": "Light the lamp", "description": "At dusk"})]),
        ("I begin.", [("TaskUpdate", {"taskId": "1", "status": "in_progress"}), ("TaskUpdate", {"taskId": "3", "addBlockedBy": ["2"]})]),
        ("The first is done.", [("TaskUpdate", {"taskId": "1", "status": "completed"})]),
        ("One of three is done.", []),
    ],
    "list-tasks": [
        ("What is on the list?", [("TaskList", {})]),
        ("That is on the list.", []),
    ],
    # Two turns of which the second can be taken back.
    "draft": [
        ("The first form.", [write("lamp.txt", LAMP), write("shade/paper.txt", "rice paper\n")]),
        ("The first form stands.", []),
    ],
    "redraft": [
        ("I look at it first.", [("Read", {"file_path": "{cwd}/lamp.txt"})]),
        ("The second form.", [
            ("Edit", {"file_path": "{cwd}/lamp.txt", "old_string": "glass", "new_string": "red glass"}),
            write("stand.txt", "three legs\n")]),
        ("The second form stands.", []),
    ],
    # A plan, as the CLI asks for it in plan mode.
    "plan": [
        ("I write the plan.", [("Write", {"file_path": "{plan}", "content": "# The lamp\n\n1. Work in {cwd}\n2. 点灯\n"})]),
        ("That is the plan.", [("ExitPlanMode", {})]),
        ("The plan stands.", []),
    ],
    "long-output": [
        ("A long list.", [("Bash", {"command": "seq 1 9000; pwd", "description": "Many numbers"})]),
        ("That was long.", []),
    ],
}

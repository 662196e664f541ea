"""A model that says what it is told, over the Messages API on loopback.

It gives the real CLI somebody to talk to: no key, no network, no chance. What it
says is chosen from the request alone, so that retries, resumed sessions and
sub-agents running side by side need no memory here:

* `[play:NAME]` in a prompt starts the play NAME; its next step is the one whose
  number is the count of assistant messages since that prompt.
* Without a play, or after its end, the reply repeats the prompt and tells how
  many messages arrived, which shows how much history was sent.

Every request is kept, whole, in `requests`; attempts to reach anything else
through the proxy variables are refused and kept in `strangers`.
"""
import json
import re
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import plays

PLAY = re.compile(r"\[play:([a-z0-9-]+)\]")
# The rest of the line: directories may have spaces in their names.
CWD = re.compile(r"(?:[Ww]orking directory|cwd): (.+)")
AGENT = re.compile(r"agentId: (a[0-9a-f]{16})")
PLAN = re.compile(r"(/[^\n`]*/plans/[^\s`]+\.md)")
SUMMARY = "<analysis>Seen.</analysis>\n\n<summary>\n1. Primary Request and Intent:\n   SUMMARY of what was said in {cwd}.\n</summary>"

# A step is a text, and tools to call after it: (name, input). `{cwd}` in any
# string is the directory in which the CLI says that it works.
PLAYS = {
    **plays.PLAYS,
    "build": [
        ("I will write the file and hand the notes to a helper.", [
            ("Write", {"file_path": "{cwd}/lantern.txt", "content": "wick\noil\nglass\n"}),
            ("Agent", {"description": "Write the notes", "subagent_type": "general-purpose", "run_in_background": False,
                       "prompt": "Write notes into {cwd}/notes.md. [play:notes]"}),
        ]),
        ("Now one change.", [("Edit", {"file_path": "{cwd}/lantern.txt", "old_string": "oil", "new_string": "lamp oil"})]),
        ("And a look at it.", [("Bash", {"command": "cd {cwd} && cat lantern.txt && pwd", "description": "Show the file"})]),
        ("The lantern in {cwd} is built.", []),
    ],
    "notes": [
        ("Writing them.", [("Write", {"file_path": "{cwd}/notes.md", "content": "Trim the wick.\n"})]),
        ("The notes are in {cwd}/notes.md.", []),
    ],
    "light": [
        ("I look where we stand.", [("Bash", {"command": "pwd && ls", "description": "Look around"})]),
        ("The lantern in {cwd} is lit.", []),
    ],
}


class FakeApi:
    """The server, in a thread of this process."""

    def __init__(self):
        self.requests = []
        self.strangers = []
        self.lock = threading.Lock()
        handler = type("Handler", (Handler,), {"api": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = "http://127.0.0.1:%d" % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()

    def mark(self):
        """How many requests there were so far: an argument for `since`."""
        with self.lock:
            return len(self.requests)

    def after(self, mark):
        """All requests after a mark."""
        with self.lock:
            return self.requests[mark:]

    def since(self, mark):
        """Conversations of the main session (not of sub-agents or titles) after a mark."""
        with self.lock:
            return [r for r in self.requests[mark:] if r["kind"] == "talk"]


def texts(content):
    """The plain texts of a message's content."""
    if isinstance(content, str):
        return [content]
    return [b.get("text", "") for b in content or [] if b.get("type") == "text"]


def system_texts(body):
    return texts(body.get("system") or "")


def working_directory(body):
    for text in system_texts(body) + [t for m in body.get("messages", []) for t in texts(m.get("content"))]:
        found = CWD.search(text)
        if found:
            return found.group(1).strip()
    return "/nowhere"


def all_texts(body):
    """Everything that the model was told, results of tools too."""
    out = system_texts(body)
    for m in body.get("messages", []):
        out += texts(m.get("content"))
        for block in m["content"] if isinstance(m.get("content"), list) else []:
            if block.get("type") == "tool_result":
                out += texts(block.get("content"))
    return out


def named(pattern, body):
    """What a pattern finds last in all that was told."""
    found = [f for text in all_texts(body) for f in pattern.findall(text)]
    return found[-1] if found else "nothing-was-named"


def choose(body):
    """(kind, text, tools): what is said in answer to a request."""
    messages = body.get("messages", [])
    last = next((m for m in reversed(messages) if m.get("role") == "user"), {"content": ""})
    asked = " ".join(re.sub(r"(?s)<system-reminder>.*?</system-reminder>", "", " ".join(texts(last["content"]))).split())
    if "create a detailed summary of" in asked and "summary" in asked:
        return ("compact",) + fill((SUMMARY, []), body)
    wants_json = (body.get("output_config") or {}).get("format")
    if wants_json:
        return "title", json.dumps({"title": "Lantern", "branch": "lantern"}), []
    if body.get("max_tokens") == 1 or not body.get("tools"):
        return "side", "ok", []
    for i in range(len(messages) - 1, -1, -1):
        names = [n for t in texts(messages[i].get("content")) for n in PLAY.findall(t)] if messages[i]["role"] == "user" else []
        if names:
            step = sum(m["role"] == "assistant" for m in messages[i + 1:])
            play = PLAYS.get(names[-1], [])
            kind = "helper" if names[-1] in plays.HELPERS else "talk"
            if step < len(play):
                return (kind,) + fill(play[step], body)
            break
    # The CLI takes white space off the end of what it sends again.
    return "talk", "REPLY to %d messages: %s" % (len(messages), asked[:80].strip() or "nothing"), []


def fill(value, body):
    """The value with what stands in braces replaced by what the request tells."""
    if isinstance(value, str):
        for hole, told in (("{cwd}", working_directory), ("{agent}", lambda b: named(AGENT, b)), ("{plan}", lambda b: named(PLAN, b))):
            if hole in value:
                value = value.replace(hole, told(body))
        return value
    if isinstance(value, dict):
        return {k: fill(v, body) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(fill(v, body) for v in value)
    return value


def conversation(body):
    """What was said, as [(role, kind, text)], without the CLI's own reminders and tool ids."""
    out = []
    for m in body.get("messages", []):
        content = m.get("content")
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
        for b in blocks:
            if m["role"] == "system":
                continue
            if b["type"] == "text":
                if not b["text"].lstrip().startswith("<system-reminder>"):
                    out.append((m["role"], "text", b["text"].strip()))
            elif b["type"] == "tool_use":
                out.append((m["role"], "tool_use", json.dumps([b["name"], b["input"]], sort_keys=True, ensure_ascii=False)))
            elif b["type"] == "tool_result":
                inner = b.get("content")
                out.append((m["role"], "tool_result", "\n".join(texts(inner))))
    return out


class Handler(BaseHTTPRequestHandler):
    """HTTP in front of `choose`."""

    protocol_version = "HTTP/1.1"
    api = None

    def log_message(self, *_):
        pass

    def do_CONNECT(self):
        self.api.strangers.append(self.path)
        self.send_response(403)
        self.send_header("content-length", "0")
        self.end_headers()
        self.close_connection = True

    def do_HEAD(self):
        self.answer({})

    def do_GET(self):
        if self.path.startswith("http://"):
            self.api.strangers.append(self.path)
        self.answer({"data": [], "has_more": False})

    def do_POST(self):
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        try:
            body = json.loads(raw or b"{}")
        except ValueError:
            body = {}
        path = self.path.split("?")[0]
        if path.endswith("/count_tokens"):
            self.answer({"input_tokens": max(1, len(raw) // 4)})
        elif path.endswith("/v1/messages"):
            self.reply(body)
        else:
            self.answer({})

    def answer(self, value):
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def reply(self, body):
        kind, text, tools = choose(body)
        with self.api.lock:
            self.api.requests.append({"kind": kind, "body": body, "text": text, "tools": tools})
        blocks = [{"type": "text", "text": text}]
        blocks += [{"type": "tool_use", "id": "toolu_" + uuid.uuid4().hex[:24], "name": n, "input": i} for n, i in tools]
        message = {
            "id": "msg_" + uuid.uuid4().hex[:24], "type": "message", "role": "assistant", "model": body.get("model"),
            "content": blocks, "stop_reason": "tool_use" if tools else "end_turn", "stop_sequence": None,
            "usage": {"input_tokens": 100, "output_tokens": 10, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0},
        }
        if not body.get("stream"):
            return self.answer(message)
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        try:
            for event in stream(message):
                data = ("event: %s\ndata: %s\n\n" % (event["type"], json.dumps(event))).encode()
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.write(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True


def stream(message):
    """A message as the events of a stream."""
    yield {"type": "message_start", "message": dict(message, content=[], stop_reason=None)}
    for i, block in enumerate(message["content"]):
        if block["type"] == "text":
            empty, delta = dict(block, text=""), {"type": "text_delta", "text": block["text"]}
        else:
            empty, delta = dict(block, input={}), {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        yield {"type": "content_block_start", "index": i, "content_block": empty}
        yield {"type": "content_block_delta", "index": i, "delta": delta}
        yield {"type": "content_block_stop", "index": i}
    yield {"type": "message_delta", "delta": {"stop_reason": message["stop_reason"], "stop_sequence": None}, "usage": message["usage"]}
    yield {"type": "message_stop"}

#!/usr/bin/env python3
"""Makes up Claude Code session trees for measuring: the same arguments give the same bytes.

    sessions.py --root DIR --sessions N (--total SIZE | --each SIZE) [--seed S] [--home HOME]

Below DIR/.claude come projects/, file-history/ and tasks/ in the shapes that Claude
Code writes: replies split into one record a block, tool results said twice (once
for the model, once for the program), edits with the whole file as it was before,
signatures that do not compress, state records without ids, sub-agents, absolute
paths everywhere. Only the proportions are of use; the words mean nothing.

As a module: `tree` writes a tree, `turns` gives what a session would grow by.
"""
import argparse
import base64
import json
import math
import os
import random
import re
import sys
import time

# Part of every seed: whoever changes what is made counts it up, so that figures
# of different generations are not put beside each other.
GENERATION = 1
BEGIN = 1764600000  # 2025-12-01T14:40:00Z: no clock is asked
KIB, MIB = 1 << 10, 1 << 20
# Of a hundred calls of tools, so many give a picture, which compresses as little as a signature.
SCREENSHOTS = 0.35 / 100

COMMON = """the a of to and in is it that for on with as this be are from or an by at not but if we can has when
then which will so all after before one only there into no should would may still each other than more first
because while now here where both every next last same already again must does was were its our their any some
file test line code error value type path name list call state change result function module config request
response client server session token user data text string number field key index cache store queue event
handler builder parser reader writer loader buffer stream socket thread task timer retry timeout limit policy
version branch commit merge release build check fix read write open close parse render send receive wait start
stop create remove update insert select filter collect return throw raise ignore accept refuse match split join
missing stale wrong empty full broken slow fast safe strict optional internal public shared unused duplicate
fails passes holds returns expects means needs takes gives keeps drops leaks blocks hangs works""".split()
SYLLABLES = """ra re ri ro ta te ti to ka ke ki ko ma me mi mo na ne ni no sa se si so la le li lo da de di do
pa pe po ba be bo ga ge go va ve vi ha he ho fa fe fi wi za ze plan grid port node lock page leaf span""".split()
ZH = """的 是 在 了 这个 我们 需要 文件 测试 修改 函数 错误 因为 所以 已经 没有 可以 检查 返回 参数 配置 缓存 请求 结果 状态 更新 运行 代码 之后 之前
如果 然后 问题 通过 失败 添加 删除 会话 路径 版本""".split()
OWNERS = ("ann", "bea", "chen", "dora")
PLACES = ("/Users/%s/src/%s", "/home/%s/work/%s", "/home/%s/code/apps/%s", "C:\\Users\\%s\\src\\%s")
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
MODELS = ("claude-opus-5", "claude-sonnet-5")
REMINDER = "\n\n<system-reminder>\nConsider whether this file is what it claims to be before you change it.\n</system-reminder>"


def size(text):
    """`300M`, `12K`, `5000` as bytes."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMG]?)", text.strip().upper())
    if not found:
        raise argparse.ArgumentTypeError("not a size: " + text)
    return int(float(found[1]) * {"": 1, "K": KIB, "M": MIB, "G": KIB * MIB}[found[2]])


class Dice(random.Random):
    """Chance from a text, and the kinds of names that such records are full of."""

    def __init__(self, *seed):
        super().__init__("%d/%s" % (GENERATION, "/".join(str(s) for s in seed)))

    def uuid(self):
        h = "%032x" % self.getrandbits(128)
        return "-".join((h[:8], h[8:12], "4" + h[13:16], "a" + h[17:20], h[20:]))

    def name(self, prefix, length=22):
        return prefix + "".join(self.choices(LETTERS, k=length))

    def noise(self, count):
        return base64.b64encode(self.getrandbits(8 * count).to_bytes(count, "big")).decode()

    def around(self, middle, spread, low, high):
        """Mostly near the middle, sometimes far above it."""
        return max(low, min(high, int(self.lognormvariate(math.log(middle), spread))))


def zipf(count, skew):
    total, out = 0.0, []
    for i in range(count):
        total += (i + 3) ** -skew
        out.append(total)
    return out


class Project:
    """A code base; all of it follows from its directory."""

    def __init__(self, cwd):
        dice = Dice("project", cwd)
        self.cwd = cwd
        self.sep = "\\" if ":" in cwd[:2] else "/"
        made = ["".join(dice.choices(SYLLABLES, k=dice.randint(2, 4))) for _ in range(700)]
        self.words = COMMON + made
        self.weights = zipf(len(self.words), 0.95)
        self.idents = []
        for _ in range(400):
            parts = [w for w in self.some(dice, 6) if len(w) > 3][: dice.randint(1, 3)] or ["value"]
            self.idents.append(parts[0] + "".join(w.title() for w in parts[1:]))
        self.ident_weights = zipf(len(self.idents), 0.9)
        self.language = dice.choice(("ts", "py", "rs"))
        folders = ["src", "src/core", "src/" + made[0], "tests", "lib/" + made[1]]
        self.files = {}
        for _ in range(dice.randint(25, 45)):
            path = "%s/%s.%s" % (dice.choice(folders), dice.choice(self.idents).lower(), self.language)
            self.files[path] = self.source(dice, dice.around(5200, 0.9, 700, 50000))
        self.files["README.md"] = "\n".join("## %s\n\n%s.\n" % (self.text(dice, 3).title(), self.text(dice, 50)) for _ in range(9))
        self.order = list(self.files)

    def some(self, dice, count):
        return dice.choices(self.words, cum_weights=self.weights, k=count)

    def text(self, dice, count):
        return " ".join(self.some(dice, count))

    def ident(self, dice):
        return dice.choices(self.idents, cum_weights=self.ident_weights)[0]

    def path(self, name):
        return self.cwd + self.sep + name.replace("/", self.sep)

    def function(self, dice):
        """A function as somebody might have written it."""
        i, words = (lambda: self.ident(dice)), (lambda n: self.text(dice, n))
        out = []
        if self.language == "py":
            out.append("def %s(%s, %s=%d):\n    \"\"\"%s.\"\"\"" % (i().lower(), i(), i(), dice.randint(0, 99), words(8).capitalize()))
            lines = ("    {a} = self.{b}.{c}({d}, timeout={n})", "    if {a} is None:\n        raise {b}Error(\"{w}: %r\" % {c})",
                     "    for {a} in {b}.get(\"{c}\", ()):\n        {d}.append({a})", "    # {w}", "    log.info(\"{w}\", {a}={n})")
            end = "    return {a}\n\n"
        elif self.language == "rs":
            out.append("/// %s.\npub fn %s(&self, %s: &str, %s: usize) -> Result<%s, Error> {" % (words(8).capitalize(), i().lower(), i(), i(), i().title()))
            lines = ("    let {a} = self.{b}.{c}({d})?;", "    if {a}.is_empty() {{\n        return Err(Error::{b}({n}));\n    }}",
                     "    for {a} in &{b}.{c} {{\n        {d}.push({a}.clone());\n    }}", "    // {w}", "    tracing::info!({a} = {n}, \"{w}\");")
            end = "    Ok({a})\n}}\n"
        else:
            out.append("/** %s. */\nexport async function %s(%s: string, %s = %d) {" % (words(8).capitalize(), i(), i(), i(), dice.randint(0, 99)))
            lines = ("  const {a} = await this.{b}.{c}({d}, {{ {b}: {n} }});", "  if (!{a}) {{\n    throw new Error(`{w}: ${{{b}}}`);\n  }}",
                     "  for (const {a} of {b}.{c} ?? []) {{\n    {d}.push({a});\n  }}", "  // {w}", "  logger.info('{w}', {{ {a}, {b}: {n} }});")
            end = "  return {a};\n}}\n"
        for line in dice.choices(lines, k=dice.randint(3, 15)) + [end]:
            out.append(line.format(a=i(), b=i(), c=i(), d=i(), n=dice.randint(0, 5000), w=words(6)))
        return "\n".join(out)

    def source(self, dice, bytes_wanted):
        out, length = [], 0
        while length < bytes_wanted:
            out.append(self.function(dice))
            length += len(out[-1]) + 1
        return "\n".join(out)


PROJECTS = {}


def project(cwd):
    if cwd not in PROJECTS:
        PROJECTS[cwd] = Project(cwd)
    return PROJECTS[cwd]


def slug(cwd):
    return re.sub(r"[^A-Za-z0-9]", "-", cwd)


class Session:
    """One conversation; gives lines."""

    def __init__(self, dice, cwd, sid, parent=None, agent=None, at=0):
        self.dice, self.project, self.sid, self.parent, self.agent = dice, project(cwd), sid, parent, agent
        self.now = BEGIN + at
        self.files = dict(self.project.files)
        self.versions, self.kept, self.tasks, self.agents = {}, [], [], []
        self.model, self.branch = dice.choice(MODELS), dice.choice(("main", "main", "fix/" + self.project.ident(dice).lower()))
        self.chinese = dice.random() < 0.15
        self.context = dice.randint(12000, 30000)
        self.prompt = "begin"

    # -- words

    def prose(self, sentences):
        dice, p, out = self.dice, self.project, []
        for _ in range(sentences):
            if self.chinese:
                out.append("".join(dice.choices(ZH, k=dice.randint(6, 16))) + "`%s`。" % p.ident(dice))
            else:
                said = p.text(dice, dice.randint(6, 16)).capitalize()
                out.append(dice.choice(("%s.", "%s, see `" + dice.choice(p.order) + "`.", "%s in `" + p.ident(dice) + "`.")) % said)
        return " ".join(out)

    def output(self, bytes_wanted):
        """What a command printed: tests, a log, a listing, a diff or a compiler."""
        dice, p, out, length = self.dice, self.project, [], 0
        kind = dice.randrange(5)
        while length < bytes_wanted:
            name = dice.choice(p.order)
            if kind == 0:
                line = "test %s::%s ... ok (%d ms)" % (name.split(".")[0].replace("/", "::"), p.ident(dice).lower(), dice.randint(1, 900))
            elif kind == 1:
                line = "%s INFO %s: request=%012x user=%d took=%.2fms" % (self.stamp(), p.ident(dice), dice.getrandbits(48), dice.randint(1, 99999), dice.random() * 90)
            elif kind == 2:
                line = "-rw-r--r--  1 dev  staff  %6d Dec %2d %02d:%02d %s" % (dice.randint(90, 99999), dice.randint(1, 28), dice.randint(0, 23), dice.randint(0, 59), p.path(name))
            elif kind == 3:
                lines = self.files[name].split("\n")
                at = dice.randrange(max(1, len(lines) - 8))
                line = "diff --git a/%s b/%s\nindex %07x..%07x\n@@ -%d,6 +%d,7 @@\n %s\n+%s" % (
                    name, name, dice.getrandbits(28), dice.getrandbits(28), at, at, "\n ".join(lines[at:at + 5]), p.text(dice, 6))
            else:
                line = "warning: `%s` is never used\n  --> %s:%d:%d" % (p.ident(dice), p.path(name), dice.randint(1, 400), dice.randint(1, 80))
            out.append(line)
            length += len(line) + 1
        return "\n".join(out)

    # -- records

    def stamp(self):
        whole = time.gmtime(int(self.now))
        return time.strftime("%Y-%m-%dT%H:%M:%S", whole) + ".%03dZ" % (self.now * 1000 % 1000)

    def record(self, kind, **fields):
        """A record of the chain: it has an id and the one before it as its parent."""
        self.now += self.dice.random() * 5
        out = {"parentUuid": self.parent, "isSidechain": bool(self.agent)}
        if self.agent:
            out["agentId"] = self.agent
        out["type"] = kind
        out.update(fields)
        self.parent = self.dice.uuid()
        out.update(uuid=self.parent, timestamp=self.stamp(), userType="external", entrypoint="cli", cwd=self.project.cwd,
                   sessionId=self.sid, version="2.1.329", gitBranch=self.branch)
        return out

    def state(self, kind, **fields):
        return dict({"type": kind, "sessionId": self.sid}, **fields)

    def reply(self, *blocks):
        """One answer of the model: a record for each block, with the same id and bill."""
        dice = self.dice
        self.context = self.context + dice.randint(60, 2400) if self.context < 190000 else 20000
        spent = {"input_tokens": dice.choice((1, 3, 6)), "cache_creation_input_tokens": dice.randint(60, 2400),
                 "cache_read_input_tokens": self.context, "output_tokens": dice.randint(80, 3000), "service_tier": "standard",
                 "server_tool_use": {"web_search_requests": 0, "web_fetch_requests": 0},
                 "cache_creation": {"ephemeral_1h_input_tokens": 0, "ephemeral_5m_input_tokens": dice.randint(60, 2400)}}
        mid, rid = dice.name("msg_01"), dice.name("req_011")
        stop = "tool_use" if blocks[-1]["type"] == "tool_use" else "end_turn"
        return [self.record("assistant", message={"id": mid, "type": "message", "role": "assistant", "model": self.model, "content": [block],
                                                  "stop_reason": stop, "stop_sequence": None, "usage": spent}, requestId=rid) for block in blocks]

    def thought(self):
        dice = self.dice
        words = "" if dice.random() < 0.6 else self.prose(dice.randint(1, 6))
        return {"type": "thinking", "thinking": words, "signature": dice.noise(dice.around(430, 0.7, 180, 2400))}

    def said(self):
        return {"type": "text", "text": self.prose(self.dice.randint(1, 4))}

    def begin(self):
        """The user's prompt and what is written around it."""
        self.prompt = self.prose(self.dice.randint(1, 5))
        asked = self.record("user", promptId=self.dice.uuid(), message={"role": "user", "content": self.prompt}, permissionMode="acceptEdits",
                            origin={"kind": "human"}, promptSource="typed")
        backups = {name: {"backupFileName": self.backup(name, v), "version": v, "backupTime": self.stamp()} for name, v in list(self.versions.items())[-6:]}
        snapshot = {"type": "file-history-snapshot", "messageId": asked["uuid"], "isSnapshotUpdate": False,
                    "snapshot": {"messageId": asked["uuid"], "trackedFileBackups": backups, "timestamp": self.stamp()}}
        return [snapshot, asked]

    def end(self):
        done = self.reply(self.said())
        hooks = [{"command": "ccpeer hook Stop", "durationMs": self.dice.randint(2, 60)}]
        out = done + [self.record("system", subtype="stop_hook_summary", hookCount=1, hookInfos=hooks, hookErrors=[], level="info"),
                      self.record("system", subtype="turn_duration", durationMs=self.dice.randint(3000, 300000), isMeta=False)]
        out.append(self.state("last-prompt", lastPrompt=self.prompt[:200], leafUuid=self.parent))
        if self.dice.random() < 0.5:
            out.append(self.state("ai-title", aiTitle=self.project.text(self.dice, 4)))
            out.append(self.state("mode", mode="normal"))
            out.append(self.state("permission-mode", permissionMode="acceptEdits"))
        return out

    def backup(self, name, version):
        return "%016x@v%d" % (Dice("backup", self.sid, name).getrandbits(64), version)

    def tool(self, room=None):
        """A call of a tool and its result; `room` keeps them short, about so many bytes."""
        dice, p = self.dice, self.project
        name = p.order[min(int(abs(dice.gauss(0, 9))), len(p.order) - 1)]
        small = room is not None
        kind = dice.choices(("read", "edit", "bash", "grep", "write", "task"), (27, 19, 34, 12, 3, 5))[0]
        if not small and dice.random() < SCREENSHOTS:
            kind = "image"
        now = self.files[name]
        if small and kind == "edit" and len(now) > room:
            kind = "bash"
        lines = now.split("\n")
        if kind == "image":
            image = {"type": "base64", "media_type": "image/png", "data": dice.noise(dice.around(45000, 0.5, 9000, 200000))}
            tool, told, given = "Read", [{"type": "image", "source": image}], {"file_path": p.path("shot.png")}
            result = {"type": "image", "file": {"base64": image["data"], "type": "image/png"}}
        elif kind == "read":
            at, count = 0, len(lines)
            if small or dice.random() < 0.5:
                at, count = dice.randrange(max(1, len(lines) - 20)), dice.randint(15, 40 if small else 160)
            part = lines[at:at + count]
            tool, told = "Read", "".join("%6d\u2192%s\n" % (at + 1 + n, line) for n, line in enumerate(part)) + REMINDER
            given = {"file_path": p.path(name), "offset": at + 1, "limit": len(part)}
            result = {"type": "text", "file": {"filePath": p.path(name), "content": "\n".join(part), "numLines": len(part), "startLine": at + 1, "totalLines": len(lines)}}
        elif kind == "edit":
            at, count = dice.randrange(max(1, len(lines) - 10)), dice.randint(1, 8)
            old, new = lines[at:at + count], p.function(dice).split("\n")[1:dice.randint(3, 12)]
            if len(now) > 45000:
                new = new[:1]
            version = self.versions[name] = self.versions.get(name, 0) + 1
            self.kept.append((self.backup(name, version), now))
            lines[at:at + count] = new
            self.files[name] = "\n".join(lines)
            near = "\n".join("%6d\u2192%s" % (n + 1, lines[n]) for n in range(max(0, at - 4), min(len(lines), at + len(new) + 4)))
            tool, told = "Edit", "The file %s has been updated:\n%s" % (p.path(name), near)
            given = {"file_path": p.path(name), "old_string": "\n".join(old), "new_string": "\n".join(new), "replace_all": False}
            result = {"filePath": p.path(name), "oldString": given["old_string"], "newString": given["new_string"], "originalFile": now,
                      "structuredPatch": [{"oldStart": at, "oldLines": len(old), "newStart": at, "newLines": len(new),
                                           "lines": ["-" + x for x in old] + ["+" + x for x in new]}], "userModified": False, "replaceAll": False}
        elif kind == "bash":
            told = self.output(dice.around(1500, 1.0, 80, room // 3 if small else 29000))
            tool, given = "Bash", {"command": "cd %s && make %s 2>&1 | tail -60" % (p.cwd, p.ident(dice).lower()), "description": p.text(dice, 5)}
            result = {"stdout": told, "stderr": "", "interrupted": False, "isImage": False}
        elif kind == "grep":
            found = sorted(dice.sample(p.order, k=min(len(p.order), dice.randint(2, 14))))
            told = "\n".join(p.path(f) for f in found)
            tool, given = "Grep", {"pattern": p.ident(dice), "path": p.cwd, "output_mode": "files_with_matches"}
            result = {"mode": "files_with_matches", "filenames": [p.path(f) for f in found], "numFiles": len(found)}
        elif kind == "write":
            name, text = "src/%s.%s" % (p.ident(dice).lower(), p.language), p.source(dice, dice.around(1800, 0.6, 300, room // 4 if small else 9000))
            self.files.setdefault(name, text)
            tool, told = "Write", "File created successfully at: " + p.path(name)
            given = {"file_path": p.path(name), "content": text}
            result = {"type": "create", "filePath": p.path(name), "content": text, "structuredPatch": [], "originalFile": None}
        else:
            self.tasks.append({"id": str(len(self.tasks) + 1), "subject": p.text(dice, 5), "description": self.prose(1), "activeForm": p.text(dice, 3),
                               "status": dice.choice(("completed", "in_progress", "pending")), "blocks": [], "blockedBy": []})
            tool, given = "TaskCreate", {k: self.tasks[-1][k] for k in ("subject", "description", "activeForm")}
            told = "Task #%d created: %s" % (len(self.tasks), given["subject"])
            result = {"task": {"id": str(len(self.tasks)), "subject": given["subject"]}}
        blocks = [self.thought()] if dice.random() < 0.25 else []
        blocks += [self.said()] if dice.random() < 0.6 else []
        call = dice.name("toolu_01")
        out = self.reply(*blocks, {"type": "tool_use", "id": call, "name": tool, "input": given})
        answer = {"tool_use_id": call, "type": "tool_result", "content": told}
        out.append(self.record("user", message={"role": "user", "content": [answer]}, toolUseResult=result, sourceToolAssistantUUID=self.parent))
        return out

    def turn(self, bytes_wanted=None):
        """The lines of one turn, about so many bytes if that is asked for."""
        small = bytes_wanted is not None
        out = [spell(r) for r in self.begin()]
        length, calls = sum(map(len, out)), self.dice.randint(2, 12)
        while length < bytes_wanted - 4500 if small else calls > 0:
            calls -= 1
            lines = [spell(r) for r in self.tool((bytes_wanted - length) // 2 if small else None)]
            length += sum(map(len, lines))
            out += lines
        return out + [spell(r) for r in self.end()]


def spell(record):
    """As Claude Code spells it: compact, and nothing escaped that need not be."""
    return (json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n").encode()


def cwd_of(n, home):
    """Where the n-th project lies: below a home that is there, or in somebody's."""
    dice = Dice("cwd", n)
    if home:
        return "%s/src/%s" % (home, "".join(dice.choices(SYLLABLES, k=3)))
    return dice.choice(PLACES) % (dice.choice(OWNERS), "".join(dice.choices(SYLLABLES, k=3)))


def write(path, content):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(content)
    os.chmod(path, 0o600)


def one(root, dice, cwd, bytes_wanted, at):
    """Writes a session and what belongs to it; the bytes of all of it."""
    claude, sid = os.path.join(root, ".claude"), dice.uuid()
    session = Session(dice, cwd, sid, at=at)
    home = os.path.join(claude, "projects", slug(cwd))
    os.makedirs(home, exist_ok=True)
    total, aside = 0, 0
    with open(os.path.join(home, sid + ".jsonl"), "wb") as f:
        while total + aside < bytes_wanted:
            for line in session.turn(6000 if bytes_wanted < 60000 else None):
                f.write(line)
                total += len(line)
            # A fifth of a session's bytes or less lies beside its transcript.
            if dice.random() < 0.1 and aside * 6 < total and bytes_wanted >= 60000:
                aside += helper(os.path.join(home, sid, "subagents"), session, min(bytes_wanted // 10, 400000))
    os.chmod(os.path.join(home, sid + ".jsonl"), 0o600)
    for name, content in session.kept[-4:]:
        content = content.encode()
        write(os.path.join(claude, "file-history", sid, name), content)
        aside += len(content)
    for task in session.tasks[-4:] if bytes_wanted >= 60000 else ():
        write(os.path.join(claude, "tasks", sid, task["id"] + ".json"), json.dumps(task, indent=2).encode())
    return total + aside


def helper(folder, session, bytes_wanted):
    """A sub-agent's own transcript."""
    dice = session.dice
    name = "a%016x" % dice.getrandbits(64)
    agent, out = Session(dice, session.project.cwd, session.sid, agent=name, at=session.now - BEGIN), []
    while sum(map(len, out)) < bytes_wanted and len(out) < 400:
        out += agent.turn()
    write(os.path.join(folder, "agent-%s.jsonl" % name), b"".join(out))
    about = {"agentType": "general-purpose", "isBuiltIn": True, "description": session.project.text(dice, 4), "toolUseId": dice.name("toolu_01"), "finished": True}
    write(os.path.join(folder, "agent-%s.meta.json" % name), json.dumps(about, separators=(",", ":")).encode())
    return sum(map(len, out))


def tree(root, sessions, total=None, each=None, seed="tree", home=None):
    """Writes a tree; gives its bytes."""
    dice = Dice("tree", seed, sessions, total, each)
    # A few projects have most of the sessions, a few sessions most of the bytes.
    cwds = [cwd_of(n, home) for n in range(max(1, min(40, int(math.sqrt(sessions)))))]
    popular = zipf(len(cwds), 0.8)
    shares = [dice.lognormvariate(0, 1.3) for _ in range(sessions)]
    scale = sum(shares)
    done = 0
    for n, share in enumerate(shares):
        cwd = dice.choices(cwds, cum_weights=popular)[0]
        want = each or max(12 * KIB, int((total - done) * share / scale))
        scale -= share
        done += one(root, Dice("session", seed, n, each or total), cwd, want, at=n * 3600 % 7_000_000)
    return done


def largest(root):
    """The session with the longest transcript."""
    found = []
    for folder, _, files in os.walk(os.path.join(root, ".claude", "projects")):
        if os.path.basename(folder) != "subagents":
            found += [os.path.join(folder, f) for f in files if f.endswith(".jsonl")]
    return max(found, key=lambda f: (os.path.getsize(f), f))


def turns(transcript, count, seed="turns", low=2 * KIB, high=20 * KIB):
    """What a session would grow by: so many turns of 2 to 20 KB, 12 KB in the middle."""
    with open(transcript, "rb") as f:
        f.seek(max(0, os.path.getsize(transcript) - 4 * MIB))
        tail = f.read().split(b"\n")[1:]
    records = [json.loads(line) for line in tail if line]
    last = [r for r in records if "uuid" in r][-1]
    dice = Dice(seed, last["sessionId"], count)
    session = Session(dice, last["cwd"], last["sessionId"], parent=last["uuid"], at=8_000_000)
    # The files as the session's last edits left them, so that a turn repeats what is there.
    for r in records:
        seen = r.get("toolUseResult", {})
        if isinstance(seen, dict) and seen.get("originalFile"):
            name = seen["filePath"][len(last["cwd"]) + 1:].replace("\\", "/")
            session.files[name] = seen["originalFile"].replace(seen["oldString"], seen["newString"], 1)
    out = []
    while len(out) < count:
        turn = b"".join(session.turn(int(dice.triangular(low + 500, high, 12000))))
        if low <= len(turn) <= high:
            out.append(turn)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", required=True)
    parser.add_argument("--sessions", type=int, required=True)
    parser.add_argument("--total", type=size)
    parser.add_argument("--each", type=size)
    parser.add_argument("--seed", default="tree")
    parser.add_argument("--home", help="the projects lie in src below this directory")
    a = parser.parse_args()
    if (a.total is None) == (a.each is None):
        parser.error("one of --total and --each")
    print("%d bytes" % tree(a.root, a.sessions, a.total, a.each, a.seed, a.home))


if __name__ == "__main__":
    sys.exit(main())

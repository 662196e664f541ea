// The page of `ccpeer ui` in a real browser: three devices with 200 sessions, looked
// at in dark, in light and narrow; then a world in which every field is an attempt to
// run something, which must run nothing. See README.md beside this file.
//
// node check.mjs --program <ccpeer> --playwright <dir with node_modules> [--out <dir>]
//   [--chromium <path>] [--only shots|hostile|hold]

import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { createHash } from "node:crypto";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const args = new Map();
for (let n = 2; n < process.argv.length; n += 2) args.set(process.argv[n].replace(/^--/, ""), process.argv[n + 1]);
const program = resolve(args.get("program") || "target/debug/ccpeer");
const require = createRequire(join(resolve(args.get("playwright") || "."), "x.js"));
const { chromium } = args.get("only") === "hold" ? {} : require("playwright-core");
const out = args.has("out") ? resolve(args.get("out")) : null;
const only = args.get("only");
const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const DEADLINE_MS = 180_000;

const world = mkdtempSync(join(tmpdir(), "ccpeer-page-"));
const running = [];
let failures = 0;

function check(what, holds, more = "") {
  console.log(`${holds ? "ok  " : "FAIL"}  ${what}${holds ? "" : ` ${more}`}`);
  if (!holds) failures += 1;
}

async function until(what, met) {
  const end = Date.now() + DEADLINE_MS;
  while (!(await met())) {
    if (Date.now() > end) throw new Error(`never came true: ${what}`);
    await new Promise((done) => setTimeout(done, 400));
  }
}

// --- Devices -----------------------------------------------------------------------

class Device {
  constructor(name, hostname = name) {
    this.name = name;
    this.home = join(world, name, "home");
    mkdirSync(join(this.home, ".claude", "projects"), { recursive: true });
    this.env = { PATH: process.env.PATH, HOME: this.home, CCPEER_HOME: join(world, name, "ccpeer"), LANG: "C.UTF-8" };
    this.hostname = hostname;
  }

  run(...words) {
    const ran = spawnSync(program, words, { env: this.env, cwd: this.home, encoding: "utf8" });
    if (ran.status !== 0) throw new Error(`${this.name}: ccpeer ${words.join(" ")}: ${ran.stdout}${ran.stderr}`);
    return ran.stdout;
  }

  json(...words) {
    return JSON.parse(this.run(...words, "--json"));
  }

  start(words, input) {
    const child = spawn(program, words, { env: this.env, cwd: this.home, stdio: [input ? "pipe" : "ignore", "pipe", "inherit"] });
    running.push(child);
    if (input) child.stdin.end(input);
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    return { child, line: async () => (await lines.next()).value };
  }

  async up() {
    const agent = this.start(["agent", "--listen", "127.0.0.1:0", "--no-mdns"]);
    const ready = await agent.line();
    if (!String(ready).startsWith("ready")) throw new Error(`${this.name}: ${ready}`);
    this.run("rename", this.hostname);
  }

  hook(event, session, more = {}) {
    const ran = spawnSync(program, ["hook", event], {
      env: this.env,
      input: JSON.stringify({ session_id: session.id, transcript_path: session.file, cwd: session.cwd, hook_event_name: event, ...more }),
    });
    if (ran.status !== 0) throw new Error(`hook ${event}: ${ran.stderr}`);
  }

  // Writes a session as Claude Code would.
  session({ id, project, turns, end, branch = "main", agent }) {
    const cwd = join(this.home, "code", project);
    mkdirSync(cwd, { recursive: true });
    const dir = join(this.home, ".claude", "projects", cwd.replace(/[^A-Za-z0-9]/g, "-"));
    mkdirSync(dir, { recursive: true });
    const file = join(dir, `${id}.jsonl`);
    let leaf = null;
    let at = end - turns.length * 47_000;
    const lines = [];
    turns.forEach(([type, message, more], n) => {
      const uuid = idOf(`${id}/${n}`);
      lines.push(JSON.stringify({ parentUuid: leaf, isSidechain: false, userType: "external", cwd, sessionId: id, version: "2.1.329", gitBranch: branch, type, message, uuid, timestamp: new Date(at).toISOString(), ...more }));
      leaf = uuid;
      at += 47_000;
    });
    writeFileSync(file, `${lines.join("\n")}\n`);
    utimesSync(file, end / 1000, end / 1000);
    if (agent) {
      mkdirSync(join(dir, id, "subagents"), { recursive: true });
      writeFileSync(join(dir, id, "subagents", `agent-${agent.id}.jsonl`), `${agent.lines.join("\n")}\n`);
      writeFileSync(join(dir, id, "subagents", `agent-${agent.id}.meta.json`), JSON.stringify({ agentType: "general-purpose", description: agent.about }));
    }
    return { id, cwd, file };
  }

  async page() {
    const ui = this.start(["ui", "--no-open"]);
    return ui.line();
  }
}

function idOf(text) {
  const hex = createHash("sha256").update(text).digest("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

async function pair(a, b) {
  const inviting = a.start(["pair", "--ticket", "--yes", "--json"]);
  const { ticket } = JSON.parse(await inviting.line());
  const joining = b.start(["join", "--json"], `${ticket}\n`);
  await new Promise((done, failed) => joining.child.on("exit", (code) => (code === 0 ? done() : failed(new Error("join failed")))));
}

async function devices(names) {
  const all = names.map(([name, hostname]) => new Device(name, hostname));
  for (const device of all) await device.up();
  for (let a = 0; a < all.length; a += 1) {
    for (let b = a + 1; b < all.length; b += 1) await pair(all[a], all[b]);
  }
  return all;
}

// --- What is in sessions -----------------------------------------------------------

const user = (text) => ["user", { role: "user", content: text }];
const claude = (...content) => ["assistant", { role: "assistant", model: "claude-opus-5-5", content }];
const text = (t) => ({ type: "text", text: t });
const thinking = (t) => ({ type: "thinking", thinking: t, signature: "x" });
const tool = (id, name, input) => ({ type: "tool_use", id, name, input });
const result = (id, content, more = {}, top = {}) => ["user", { role: "user", content: [{ type: "tool_result", tool_use_id: id, content, ...more }] }, top];

function long(cwd) {
  const turns = [
    user("The importer drops the last line of a file when it has no line break at its end.\n\nPlease find out why, and write a test **before** you fix it. The file to look at is `src/import.rs`."),
    claude(thinking("The user wants a test first. Let me look at the importer and at how it splits lines. Probably `split` is followed by dropping the last, empty piece, which is not empty when there is no line break.")),
    claude(text("I'll look at the importer first."), tool("t1", "Read", { file_path: `${cwd}/src/import.rs` })),
    result("t1", Array.from({ length: 60 }, (_, n) => `${n + 1}\tfn line_${n}() { /* … */ }`).join("\n")),
    claude(tool("t2", "Grep", { pattern: "split\\(.*\\\\n", path: `${cwd}/src` })),
    result("t2", "src/import.rs:41: let mut lines: Vec<_> = text.split('\\n').collect();\nsrc/import.rs:42: lines.pop();"),
    claude(text("There it is: `lines.pop()` in line 42 assumes that the text ends with a line break.\n\n## Plan\n\n1. a test that feeds `\"a\\nb\"` and expects two lines\n2. `lines()` instead of `split` and `pop`\n\n```rust\nassert_eq!(import(\"a\\nb\"), [\"a\", \"b\"]);\n```"), tool("t3", "Edit", { file_path: `${cwd}/tests/import.rs`, old_string: "use importer::import;\n\n#[test]\nfn ends_with_break() {", new_string: "use importer::import;\n\n#[test]\nfn a_last_line_without_break_is_kept() {\n    assert_eq!(import(\"a\\nb\"), [\"a\", \"b\"]);\n}\n\n#[test]\nfn ends_with_break() {" })),
    result("t3", "The file has been updated."),
    claude(tool("t4", "Bash", { command: "cargo test --test import", description: "Run the new test" })),
    result("t4", "running 2 tests\ntest a_last_line_without_break_is_kept ... FAILED\ntest ends_with_break ... ok\n\nfailures:\n    left: [\"a\"]\n   right: [\"a\", \"b\"]", { is_error: true }),
    claude(text("The test fails as it should. Now the fix."), tool("t5", "Edit", { file_path: `${cwd}/src/import.rs`, old_string: "    let mut lines: Vec<_> = text.split('\\n').collect();\n    lines.pop();\n    lines", new_string: "    // A last line without its break counts, too.\n    text.lines().collect()" })),
    result("t5", "The file has been updated."),
    claude(tool("t6", "Task", { description: "Look for the same mistake elsewhere", prompt: "Search the repository for `split('\\n')` followed by `pop`.", subagent_type: "general-purpose" })),
    result("t6", [{ type: "text", text: "Found no other place." }], {}, { toolUseResult: { status: "completed", agentId: "a1b2c3d4e5f6a7b8c", content: [] } }),
    claude(tool("t7", "Bash", { command: "cargo test && git commit -am 'import: keep the last line'" })),
    result("t7", "test result: ok. 14 passed; 0 failed\n[main 1a2b3c4] import: keep the last line\n 2 files changed, 7 insertions(+), 3 deletions(-)"),
    claude(text("Done:\n\n- the **test** is in `tests/import.rs`\n- the fix is `text.lines()`\n- nothing else in the repository makes the same mistake")),
    user("Good. 再加一个空文件的测试，谢谢。"),
    claude(thinking("A test for the empty file."), text("好的，我来加。"), tool("t8", "MultiEdit", { file_path: `${cwd}/tests/import.rs`, edits: [{ old_string: "", new_string: "#[test]\nfn nothing_is_no_line() {\n    assert!(import(\"\").is_empty());\n}" }] })),
    result("t8", "The file has been updated."),
  ];
  return turns;
}

function hostile(cwd, payload) {
  return [
    user(`${payload} ${"and more of it ".repeat(3)}`),
    claude(thinking(payload), text(`# ${payload}\n\n- ${payload}\n\n**${payload}** \`${payload}\`\n\n\`\`\`${payload}\n${payload}\n\`\`\``)),
    claude(tool(payload, payload, { file_path: payload, command: payload, [payload]: payload, deep: { [payload]: payload } })),
    result(payload, payload, { is_error: true }, { toolUseResult: { agentId: payload } }),
    claude(tool("w1", "Write", { file_path: `${cwd}/${payload}`, content: payload })),
    result("w1", [{ type: "text", text: payload }]),
    claude(tool("e1", "Edit", { file_path: payload, old_string: payload, new_string: `${payload}${payload}` })),
    ["system", undefined, { subtype: payload, content: payload }],
    ["user", { role: "user", content: `<system-reminder>${payload}</system-reminder>` }, { isMeta: true }],
    claude(text(payload)),
    user(payload),
  ];
}

// Each tells `hit` if it runs; more than one way into a page.
const PAYLOADS = [
  `<img src=x onerror=hit(1)>`,
  `<script>hit(2)</script>`,
  `"><svg/onload=hit(3)>`,
  `'-hit(4)-'`,
  `javascript:hit(5)`,
  `[click](javascript:hit(6))`,
  `<iframe srcdoc="<script>parent.hit(7)</script>">`,
  `</title><script>hit(8)</script>`,
  `<a href="javascript:hit(9)" autofocus onfocus=hit(9)>x</a>`,
  `<details open ontoggle=hit(10)>`,
  `<style>@import 'http://127.0.0.1:9/x'</style>`,
  `<link rel=stylesheet href=http://127.0.0.1:9/x>`,
  `<meta http-equiv=refresh content="0;url=http://127.0.0.1:9/">`,
  `<base href=http://127.0.0.1:9/>`,
  `<math><mtext></p><img src onerror=hit(15)>`,
  `\u202e<img src=x onerror=hit(16)>\u202c`,
  `\${hit(17)}{{hit(17)}}`,
  `__proto__`,
  `constructor`,
  `<img src="http://127.0.0.1:9/leak">`,
  `<input autofocus onfocus=hit(21)>`,
  `<form action=http://127.0.0.1:9/><button>x`,
  `<object data=http://127.0.0.1:9/>`,
  `\u001b]0;x\u0007<b onmouseover=hit(24)>x`,
];

// --- Looking -----------------------------------------------------------------------

async function browser() {
  return chromium.launch({ executablePath: args.get("chromium") || "/usr/bin/chromium", args: FLAGS });
}

// A tab that writes down everything that must not happen.
async function tab(chrome, url, options) {
  const context = await chrome.newContext(options);
  const seen = { hits: [], violations: [], elsewhere: [], errors: [], dialogs: 0 };
  const origin = new URL(url).origin;
  await context.exposeFunction("hit", (n) => seen.hits.push(n));
  await context.exposeFunction("violated", (v) => seen.violations.push(v));
  await context.addInitScript(() => {
    addEventListener("securitypolicyviolation", (e) => window.violated(`${e.violatedDirective} ${e.blockedURI} ${e.sample}`));
  });
  const page = await context.newPage();
  context.on("request", (r) => {
    if (new URL(r.url()).origin !== origin) seen.elsewhere.push(r.url());
  });
  page.on("dialog", (d) => {
    seen.dialogs += 1;
    d.dismiss();
  });
  page.on("pageerror", (e) => seen.errors.push(String(e)));
  page.on("console", (m) => {
    if (m.type() === "error") seen.errors.push(m.text());
  });
  await page.goto(url);
  await page.waitForSelector("main h1");
  return { page, seen, context };
}

async function shot(page, name) {
  if (out) await page.screenshot({ path: join(out, `${name}.png`) });
}

function clean(seen) {
  check("nothing was run", seen.hits.length === 0 && seen.dialogs === 0, JSON.stringify(seen.hits));
  check("the content policy had nothing to refuse", seen.violations.length === 0, seen.violations.slice(0, 5).join("; "));
  check("nothing was asked of anybody else", seen.elsewhere.length === 0, seen.elsewhere.slice(0, 5).join("; "));
  check("no script failed", seen.errors.length === 0, seen.errors.slice(0, 5).join("; "));
}

// A watch that cannot see proves nothing: what must not happen is made to happen.
async function sees(chrome, page, seen) {
  const context = await chrome.newContext();
  let hit = 0;
  await context.exposeFunction("hit", (n) => { hit = n; });
  const bare = await context.newPage();
  await bare.setContent(PAYLOADS[0]);
  for (let n = 0; n < 50 && hit === 0; n += 1) await bare.waitForTimeout(100);
  check("the watch sees what runs", hit === 1);
  await context.close();
  const before = seen.violations.length;
  const thrown = await page.evaluate(() => {
    const ways = [
      () => { document.createElement("p").innerHTML = "<b>x"; },
      () => document.createElement("img").setAttribute("onerror", "hit(98)"),
      () => { document.createElement("script").text = "hit(98)"; },
      () => setTimeout("hit(98)"),
    ];
    return ways.filter((way) => {
      try {
        way();
        return false;
      } catch {
        return true;
      }
    }).length;
  });
  await page.waitForTimeout(500);
  check("a mistake in the page would be stopped, and seen", thrown === 4 && seen.violations.length > before && !seen.hits.includes(98), `${thrown} ${JSON.stringify(seen.violations)}`);
}

const VIEWS = ["tasks", "sessions/local", "sessions/remote", "devices", "transfers", "timeline", "timeline/two", "store", "search"];

async function visit(page, view) {
  await page.evaluate((v) => { location.hash = `#/${v}`; }, view);
  await page.waitForFunction(() => document.querySelector("main h1") && !document.querySelector("main .loading"));
}

// Three devices with 200 sessions, in step.
async function busy() {
  const names = [["desk", "desk"], ["laptop", "laptop"], ["atelier", "atelier-mac"]];
  const all = [new Device(...names[0]), new Device(...names[1]), new Device(...names[2])];
  const projects = ["importer", "website", "notes", "thesis-figures", "home-automation", "payments-api", "dotfiles", "game-of-life", "translations", "kitchen-sink"];
  const titles = ["Fix the importer's last line", "Why is the build so slow?", "Add dark mode to the settings page", "把设置页面翻译成中文", "Write release notes for 0.4", "Find the flaky test in CI", "Refactor the session store", "Plot the figures of chapter 3", "Move from webpack to vite and keep the old paths working for everybody who has them in a bookmark", "Explain the borrow checker error"];
  const branches = ["main", "main", "fix/last-line", "feature/dark-mode", "main"];
  const now = Date.now();
  const hooks = [];
  for (let n = 0; n < 200; n += 1) {
    const device = all[n < 90 ? 0 : n < 155 ? 1 : 2];
    const project = projects[(n * 7 + (n % 3)) % projects.length];
    const id = idOf(`session ${n}`);
    // More by day than by night, and more lately than long ago.
    const ago = Math.floor(((n * 7919) % 1000) ** 1.5 / 31.6) * 3600_000 * 0.32;
    const end = now - ago - (n % 50) * 60_000;
    const cwd = join(device.home, "code", project);
    const turns = n === 0 ? long(cwd) : [
      user(titles[n % titles.length] + (n >= 10 ? ` (${n})` : "")),
      claude(tool("x", "Edit", { file_path: `${cwd}/src/main.rs`, old_string: "a", new_string: "b" })),
      result("x", "The file has been updated."),
      claude(text("Done. All tests pass.")),
    ];
    const agent = n === 0 ? { id: "a1b2c3d4e5f6a7b8c", about: "Look for the same mistake elsewhere", lines: [
      JSON.stringify({ type: "user", isSidechain: true, uuid: idOf("a"), sessionId: id, timestamp: new Date(end).toISOString(), message: { role: "user", content: "Search the repository for `split('\\n')` followed by `pop`." } }),
      JSON.stringify({ type: "assistant", isSidechain: true, uuid: idOf("b"), sessionId: id, timestamp: new Date(end).toISOString(), message: { role: "assistant", content: [tool("g", "Grep", { pattern: "split" }), text("Found no other place.")] } }),
    ] } : undefined;
    const session = device.session({ id, project, turns, end, branch: branches[n % branches.length], agent });
    if (n % 9 === 0) hooks.push([device, n % 27 === 0 ? "UserPromptSubmit" : "Stop", session]);
    else if (n % 4 === 0) hooks.push([device, "SessionEnd", session]);
  }
  for (const device of all) await device.up();
  await pair(all[0], all[1]);
  await pair(all[0], all[2]);
  await pair(all[1], all[2]);
  for (const [device, event, session] of hooks) device.hook(event, session, event === "SessionEnd" ? { reason: "prompt_input_exit" } : { prompt: "go on" });
  for (const device of all) device.run("push", "--all");
  await until("the first machine holds all of it", () => {
    const found = all[0].json("sessions");
    return found.length === 200 && all[0].json("tasks", "--all").every((t) => t.complete);
  });
  return all;
}

async function shots() {
  const all = await busy();
  const chrome = await browser();
  for (const [name, options] of [
    ["light", { colorScheme: "light", viewport: { width: 1280, height: 860 } }],
    ["dark", { colorScheme: "dark", viewport: { width: 1280, height: 860 } }],
    ["narrow", { colorScheme: "dark", viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true }],
  ]) {
    const { page, seen, context } = await tab(chrome, await all[0].page(), options);
    check(`${name}: the link is out of the address`, !page.url().includes("t="), page.url());
    for (const view of VIEWS) {
      await visit(page, view);
      await shot(page, `${name}-${view.replace("/", "-")}`);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      check(`${name}: ${view} is not wider than the window`, wide <= 0, String(wide));
    }
    await search(page, name);
    await visit(page, `session/${idOf("session 0")}`);
    await page.waitForSelector(".entry");
    await shot(page, `${name}-session`);
    await page.keyboard.press("x");
    await page.evaluate(() => document.querySelectorAll(".call")[2].scrollIntoView());
    await shot(page, `${name}-transcript`);
    if (name === "light") {
      await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
      await shot(page, `${name}-transcript-end`);
      await visit(page, `session/${idOf("session 0")}/agent/a1b2c3d4e5f6a7b8c`);
      await page.waitForSelector(".entry");
      await shot(page, `${name}-agent`);
      await keys(page);
      // A second tab is not let in by what the first has used.
      const used = await context.newPage();
      await used.goto(page.url());
      await used.waitForSelector(".empty");
      await shot(used, `${name}-locked`);
      // A tab that is not looked at asks nothing.
      await hidden(page);
    }
    clean(seen);
    await context.close();
  }
  await chrome.close();
}

// What is typed is found in what was said on any machine, and opens there.
async function search(page, name) {
  await visit(page, "tasks");
  await page.keyboard.press("/");
  await page.waitForFunction(() => location.hash.startsWith("#/search") && document.activeElement.id === "filter");
  await page.keyboard.type("importer last line");
  // An answer to the first of the words may come before.
  await page.waitForFunction(() => [...document.querySelectorAll(".hit mark")].some((m) => /^last/i.test(m.textContent)));
  await shot(page, `${name}-search`);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  check(`${name}: what was found is not wider than the window`, wide <= 0, String(wide));
  const marks = await page.evaluate(() => [...document.querySelectorAll(".hit mark")].map((m) => m.textContent.toLowerCase()));
  check(`${name}: the words are marked`, marks.length > 2 && marks.every((m) => /^(importer|last|lines?)/.test(m)), JSON.stringify(marks.slice(0, 9)));
  // A word of the only session that says it, in the middle of its transcript.
  await page.fill("#filter", "assumes that the text ends");
  await page.waitForFunction(() => document.querySelectorAll(".hit").length === 1 && document.querySelector(".hit mark"));
  await page.keyboard.press("Enter");
  await page.keyboard.press("Enter");
  await page.waitForSelector(".entry.found");
  await shot(page, `${name}-search-hit`);
  const seen = await page.evaluate(() => {
    const found = document.querySelector(".entry.found");
    const box = found.getBoundingClientRect();
    return { text: found.textContent.includes("assumes that the text ends"), there: box.top < innerHeight && box.bottom > 0, focus: document.activeElement === found, field: document.getElementById("filter").value };
  });
  check(`${name}: a hit opens its place`, seen.text && seen.there && seen.focus && seen.field === "", JSON.stringify(seen));
  await page.keyboard.press("Escape");
  await page.waitForFunction(() => location.hash.startsWith("#/search/assumes") && document.querySelectorAll(".hit").length === 1);
  check(`${name}: Esc is back at what was found`, await page.evaluate(() => document.getElementById("filter").value === "assumes that the text ends"));
  await page.evaluate(() => { location.hash = "#/search/%22no%20such%20words%20anywhere%22"; });
  await page.waitForFunction(() => document.querySelector(".search .empty") && document.getElementById("filter").value.includes("no such"));
  await shot(page, `${name}-search-nothing`);
}

async function keys(page) {
  await visit(page, "tasks");
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  const second = await page.evaluate(() => [...document.querySelectorAll("[data-row]")].indexOf(document.activeElement));
  check("j goes from row to row", second === 1, String(second));
  await shot(page, "light-focus");
  await page.keyboard.press("Enter");
  await page.waitForSelector(".entry");
  check("Enter opens a session", (await page.url()).includes("#/session/"));
  await page.keyboard.press("Escape");
  await page.waitForFunction(() => location.hash === "#/tasks");
  await page.keyboard.press("f");
  await page.keyboard.type("importer");
  const all = await page.evaluate(() => document.querySelectorAll("[data-row]").length);
  check("f filters", all > 0 && all < 60, String(all));
  await page.keyboard.press("Escape");
  await page.keyboard.press("?");
  check("? helps", await page.evaluate(() => document.getElementById("help").open));
  await shot(page, "light-help");
  await page.keyboard.press("Escape");
  await page.keyboard.press("3");
  await page.waitForFunction(() => location.hash === "#/devices");
  check("digits choose views", true);
}

async function hidden(page) {
  await page.evaluate(() => {
    Object.defineProperty(document, "visibilityState", { value: "hidden", configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  });
  await page.waitForFunction(() => document.getElementById("link").textContent === "not looking");
  let asked = 0;
  page.on("request", () => { asked += 1; });
  await page.waitForTimeout(9000);
  check("a hidden tab asks nothing", asked === 0, String(asked));
}

async function hostileWorld() {
  const all = await devices([["bad", PAYLOADS[0]], ["victim", "victim"]]);
  const [bad, victim] = all;
  const ids = [];
  PAYLOADS.forEach((payload, n) => {
    const project = payload.replaceAll("/", "∕").replaceAll("\u0007", "").replaceAll("\u001b", "").slice(0, 100);
    const id = idOf(`hostile ${n}`);
    ids.push(id);
    const cwd = join(bad.home, "code", project);
    const session = bad.session({ id, project, turns: hostile(cwd, payload), end: Date.now() - n * 60_000, branch: payload, agent: {
      id: `a${idOf(payload).slice(0, 8)}`, about: payload,
      lines: [JSON.stringify({ type: "user", isSidechain: true, uuid: idOf(`${n}`), timestamp: payload, message: { role: "user", content: payload } })],
    } });
    bad.hook(n % 2 === 0 ? "Stop" : "UserPromptSubmit", session, { prompt: payload });
  });
  bad.run("push", "--all");
  await until("the victim holds all of it", () => victim.json("sessions").length === PAYLOADS.length && victim.json("tasks", "--all").every((t) => t.complete));
  const chrome = await browser();
  for (const [n, device] of [bad, victim].entries()) {
    const url = await device.page();
    // Names of hosts in the address mean nothing.
    const odd = url.replace("/#", `/?gatewayUrl=ws://127.0.0.1:9/&server=http://127.0.0.1:9/#`);
    const { page, seen, context } = await tab(chrome, odd, { viewport: { width: 1100, height: 800 } });
    for (const view of VIEWS) {
      await visit(page, view);
      await page.waitForTimeout(150);
    }
    await shot(page, `hostile-${n}-store`);
    for (const payload of ["#/session/<img src=x onerror=hit(0)>", "#/javascript:hit(0)", "#//127.0.0.1:9/", "#server=http://127.0.0.1:9/", "#/session/../../x", "#/tasks/<script>hit(0)</script>"]) {
      await page.evaluate((p) => { location.hash = p; }, payload);
      await page.waitForTimeout(50);
    }
    for (const [at, id] of ids.entries()) {
      await visit(page, `session/${id}`);
      await page.waitForSelector(".entry");
      await page.keyboard.press("x");
      await page.evaluate(() => document.querySelectorAll("details").forEach((d) => { d.open = true; }));
      if (at === 0) await shot(page, `hostile-${n}-session`);
      const agent = `a${idOf(PAYLOADS[at]).slice(0, 8)}`;
      await visit(page, `session/${id}/agent/${agent}`);
      await page.waitForSelector(".entry");
    }
    // Each of them looked for, by its address and by hand; hits and snippets hold it.
    let hits = 0;
    for (const payload of PAYLOADS) {
      await page.evaluate((p) => { location.hash = `#/search/${encodeURIComponent(p.slice(0, 200))}`; }, payload);
      await page.waitForTimeout(120);
      await page.fill("#filter", payload.slice(0, 190).replaceAll(/[\u0000-\u001f]/g, ""));
      await page.waitForTimeout(700);
      hits += await page.evaluate(() => document.querySelectorAll(".hit").length);
    }
    await page.fill("#filter", "hit");
    await page.waitForFunction(() => document.querySelectorAll(".hit mark").length > 9);
    await shot(page, `hostile-${n}-search`);
    check("what was looked for was found", hits > PAYLOADS.length / 2, String(hits));
    await page.click(".hit .open");
    await page.waitForSelector(".entry.found");
    await visit(page, "search");
    await page.fill("#filter", "hit");
    await page.waitForSelector(".hit mark");
    const made = await page.evaluate(() => document.querySelectorAll("main script, main img, main iframe, main style, main link, main base, main meta, main object, main form, main input, [onerror], [onload], [onfocus], a[href^='javascript'], a[href^='http']").length);
    check("no text has become an element", made === 0, String(made));
    await visit(page, "tasks");
    await shot(page, `hostile-${n}-tasks`);
    await visit(page, "sessions/remote");
    await page.waitForTimeout(300);
    await shot(page, `hostile-${n}-remote`);
    clean(seen);
    await sees(chrome, page, seen);
    await context.close();
  }
  await chrome.close();
}

// The same devices for somebody who wants to look around: `ccpeer tui`, lists, all.
async function hold() {
  for (const { env } of await busy()) console.log(`HOME=${env.HOME} CCPEER_HOME=${env.CCPEER_HOME} ${program} tui`);
  console.log("they end with standard input");
  for await (const _ of createInterface({ input: process.stdin }));
}

function stop() {
  // The youngest first: pages before agents.
  while (running.length > 0) running.pop().kill();
}

try {
  if (out) mkdirSync(out, { recursive: true });
  if (only === "hold") await hold();
  else if (only !== "hostile") await shots();
  stop();
  if (!only || only === "hostile") await hostileWorld();
} finally {
  stop();
  await new Promise((done) => setTimeout(done, 500));
  rmSync(world, { recursive: true, force: true });
}
console.log(failures === 0 ? "all is well" : `${failures} failed`);
process.exit(failures === 0 ? 0 : 1);

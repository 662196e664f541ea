// Writes the golden files beside it: what JavaScript makes of JSON, and bundles as
// claude-sync-sessions packs them (gzip of JSON.stringify; SHA-256 of
// JSON.stringify(session)). Nothing of that program is in it: it follows the
// contract in docs/BRIDGES.md. Run it with node 20 or later.
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const here = (name) => new URL(name, import.meta.url);
const texts = [
  '{}', '[]', ' [ 1 , 2 ] ', '{"b":1,"a":2}', '{"b":1,"10":2,"2":3,"b":4,"a":5}',
  '{"4294967294":1,"4294967295":2,"0":3,"00":4,"-1":5,"1.0":6,"1":7}',
  '{"__proto__":1,"constructor":{"10":[],"9":{}}}',
  '{"2":{"b":1,"1":2},"x@v1":"","1":"y","2":"again"}',
  '"\\ud83d"', '"\\ude00"', '"\\ude00\\ud83d"', '"\\ud83d\\ude00"', '"\\ud83dx\\ud83d\\ud83d\\ude00"',
  '{"\\ud83d":1,"\\ud83e":2,"\\u0031":3}',
  '"\\u0000\\u0001\\u001f\\u007f\\u0080\\u2028\\u2029\\ufeff\\uffff"', '"\\/\\b\\f\\n\\r\\t\\"\\\\"', '"\u00e9\u4e2d\u{1f600}\u2028"',
  '"a\\u000D\\u000a"', '"\\u00E9\\u0041"',
  ...["0", "-0", "1.0", "1e3", "1E3", "1e+3", "100000000000000000000", "1e21", "123456789012345680000", "1234567890123456800000",
    "1e-6", "0.000001", "1e-7", "0.00000012", "1.5e-9", "-1.5e-9", "0.1", "1.10", "5e-324", "2.5e-324", "2e-324", "1.7976931348623157e308", "1e999", "-1e999",
    "9007199254740993", "0.30000000000000004", "123.456e5", "123.456e30", "4.35", "1e22", "1e23", "12e20", "0.1e-5", "-12345.678e-3", "33333333333333333333.3"],
  'true', 'null', '[true,false,null,[[]],{"a":{}}]',
];
const canonical = texts.map((t) => [t, JSON.stringify(JSON.parse(t))]);
let state = 1;
const chance = () => (state = (state * 48271) % 2147483647) / 2147483647;
for (let i = 0; i < 200; i++) {
  const bytes = new DataView(new ArrayBuffer(8));
  bytes.setUint32(0, Math.floor(chance() * 2 ** 32));
  bytes.setUint32(4, Math.floor(chance() * 2 ** 32));
  const number = i % 2 ? bytes.getFloat64(0) : chance() * 10 ** Math.floor(chance() * 46 - 23);
  if (Number.isFinite(number)) canonical.push([number.toExponential(20).replace("e", i % 3 ? "e" : "E"), JSON.stringify(Number(number.toExponential(20)))]);
}
writeFileSync(here("canonical.json"), "[\n" + canonical.map((p) => JSON.stringify(p)).join(",\n") + "\n]\n");

const id = "00000000-0000-4000-8000-000000000001";
const session = (more) => ({
  sessionId: id,
  project: { name: "app", relativeToRoot: "team/app", tokenizedPath: "${PROJECT_ROOT}", originalPath: "/w/team/app" },
  messages: ['{"type":"user","cwd":"${PROJECT_ROOT}","message":{"role":"user","content":"hi \u00e9/\\n"}}'],
  agents: { "agent-a1.jsonl": '{"cwd":"${PROJECT_ROOT}/src"}' },
  todos: [{ filename: `${id}-agent-x.json`, content: "[]" }],
  fileHistory: { "abc@v1": "aGk=" },
  meta: { firstPrompt: "hi \u00e9/\n", messageCount: 1, modified: "2026-06-06T00:00:00.000Z" },
  ...more,
});
const bundles = {
  plain: session({}),
  split: session({
    fileHistory: { "b@v1": "", 10: "YQ==", 2: "Yw==" },
    meta: { firstPrompt: ("x".repeat(119) + "\u{1f600}").slice(0, 120), messageCount: 1, modified: "2026-06-06T00:00:00.000Z" },
  }),
  odd: session({
    project: { name: "my \u00e4pp", relativeToRoot: null, tokenizedPath: "${PROJECT_ROOT}", originalPath: "C:\\Users\\bob\\my \u00e4pp" },
    messages: ['{"a":"\\ud83d","b":"${HOME}\\\\x","c":1.0}\r', 'no json \ud83d \u2028\u0007', '{"type":"user","message":{"role":"user","content":[{"text":"two"},{"text":"words"}]}}'],
    agents: { "agent-B-2_x.jsonl": '{"a":1}\n{"b":"${PROJECT_ROOT}"}', "agent-a1.jsonl": "" },
    fileHistory: { "00112233445566ff@v1": Buffer.from([0, 255, 13, 10]).toString("base64"), "00112233445566ff@v12": "" },
    meta: { firstPrompt: "two words", messageCount: 3, modified: "2026-06-06T00:00:00.000Z", later: { 3: 1e21 } },
  }),
};
const sums = {};
for (const [name, part] of Object.entries(bundles)) {
  const checksum = createHash("sha256").update(JSON.stringify(part), "utf8").digest("hex");
  const whole = { version: "1", exportedAt: "2026-06-06T00:00:01.000Z", sourceDevice: "desk", updatedAt: "2026-06-06T00:00:00.000Z", session: part, checksum };
  writeFileSync(here(`${name}.bundle.gz`), gzipSync(JSON.stringify(whole)));
  sums[name] = checksum;
}
writeFileSync(here("checksums.json"), JSON.stringify(sums, null, 1) + "\n");

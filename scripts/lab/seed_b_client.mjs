// A client of claude-sync-sessions' HTTP contract, written from its description:
// Upload All, Download All, and the checksums of both sides in both directions.
//
//   node seed_b_client.mjs URL TOKEN [SESSIONS]
//
// It makes sessions, pushes each as the extension does, lists, pulls every one, and
// verifies each checksum as the extension does: parse the document, write `session`
// anew with JSON.stringify, hash that. What it pushed must come back line for line.

import { createHash, randomUUID } from 'node:crypto';
import { gunzipSync, gzipSync } from 'node:zlib';

const [url, token, wanted] = process.argv.slice(2);
const count = Number(wanted ?? 200);
const base = url.replace(/\/+$/, '');
const headers = { Authorization: `Bearer ${token}` };
const sha = (text) => createHash('sha256').update(text, 'utf8').digest('hex');

async function ask(what, path, init = {}) {
  const answer = await fetch(base + path, { ...init, headers: { ...headers, ...init.headers } });
  if (!answer.ok) throw new Error(`${what} failed: ${answer.status}`);
  return answer;
}

function pack(session, updatedAt) {
  const document = {
    version: '1',
    exportedAt: new Date().toISOString(),
    sourceDevice: 'lab',
    updatedAt,
    session,
    checksum: sha(JSON.stringify(session)),
  };
  return gzipSync(Buffer.from(JSON.stringify(document), 'utf8'));
}

function unpack(bytes) {
  const document = JSON.parse(gunzipSync(bytes).toString('utf8'));
  if (document.version !== '1') throw new Error('another version');
  if (sha(JSON.stringify(document.session)) !== document.checksum) throw new Error('checksum mismatch');
  return document.session;
}

function made(n) {
  const id = randomUUID();
  const updatedAt = new Date(Date.now() - n * 1000).toISOString();
  const words = ['plain', 'ümlaut \u{1f600}', 'tab\tand "quotes"', '\u2028line', 'C:\\\\x', '\u0001'];
  const messages = [];
  for (let turn = 0; turn < 1 + (n % 7); turn += 1) {
    const content = `${words[(n + turn) % words.length]} ${turn} in \${PROJECT_ROOT}/src and \${HOME}/x`;
    messages.push(JSON.stringify({
      type: 'user', uuid: randomUUID(), sessionId: id, cwd: '${PROJECT_ROOT}',
      timestamp: updatedAt, message: { role: 'user', content },
    }));
  }
  if (n % 5 === 0) messages[0] += '\r';
  const name = n % 3 === 0 ? `my app ${n % 4}` : `app-${n % 4}`;
  // Cut as the extension cuts, in the middle of a pair.
  const firstPrompt = n % 11 === 0 ? `${'x'.repeat(119)}\ud83d` : words[n % words.length];
  return {
    updatedAt,
    session: {
      sessionId: id,
      project: { name, relativeToRoot: name, tokenizedPath: '${PROJECT_ROOT}', originalPath: `/home/lab/code/${name}` },
      messages,
      agents: n % 2 ? { 'agent-a1.jsonl': '{"cwd":"${PROJECT_ROOT}/src"}\n{"n":2}' } : {},
      todos: n % 4 ? [] : [{ filename: `${id}-agent-${id}.json`, content: '[]' }],
      fileHistory: n % 6 ? {} : { 'abcdef0123456789@v1': Buffer.from('before').toString('base64') },
      meta: { firstPrompt, messageCount: messages.length, modified: updatedAt },
    },
  };
}

const same = (what, a, b) => {
  if (JSON.stringify(a) !== JSON.stringify(b)) throw new Error(`${what} differs: ${JSON.stringify(a)} ${JSON.stringify(b)}`);
};

const began = Date.now();
await ask('health', '/health');
const before = (await (await ask('list', '/api/sessions')).json()).bundles;
const all = Array.from({ length: count }, (_, n) => made(n));
for (const { session, updatedAt } of all) {
  const project = encodeURIComponent(session.project.name);
  const filename = encodeURIComponent(`${session.sessionId}.bundle.gz`);
  await ask('push', `/api/sessions/push?project=${project}&filename=${filename}`, {
    method: 'POST', headers: { 'Content-Type': 'application/gzip' }, body: pack(session, updatedAt),
  });
}
const uploaded = Date.now();
const listed = (await (await ask('list', '/api/sessions')).json()).bundles;
const ids = new Set(listed.map((b) => b.sessionId));
if (ids.size !== listed.length) throw new Error('a session is listed twice');
if (listed.length !== before.length + count) throw new Error(`${listed.length} are listed`);
let pulled = 0;
for (const { sessionId, label, filename } of listed) {
  if (!label || filename !== `${sessionId}.bundle.gz`) throw new Error(`odd row ${sessionId}`);
  const answer = await ask('pull', `/api/sessions/${encodeURIComponent(sessionId)}`);
  const got = unpack(Buffer.from(await answer.arrayBuffer()));
  pulled += 1;
  const sent = all.find((a) => a.session.sessionId === sessionId)?.session;
  if (!sent) continue;
  for (const part of ['messages', 'agents', 'todos', 'fileHistory']) same(`${part} of ${sessionId}`, got[part], sent[part]);
  same('project', [got.project.name, got.project.relativeToRoot], [sent.project.name, sent.project.relativeToRoot]);
}
const done = Date.now();
console.log(JSON.stringify({ pushed: count, listed: listed.length, pulled, upload_ms: uploaded - began, download_ms: done - uploaded }));

// The back ends of examples/: they open sessions, and believe only webhooks that are signed.
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Cleanup } from '../lib/cleanup.mjs';
import { ENROLLED, portrait } from '../lib/films.mjs';
import { Forged } from '../lib/forged.mjs';
import { Platform } from '../lib/platform.mjs';
import { ended, start } from '../lib/process.mjs';
import { Server } from '../lib/server.mjs';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const EXAMPLES = {
  node: [process.execPath, 'web-client/examples/node/server.mjs'],
  // With the packages that the other tests pin by hash.
  python: [`${root}tests/cache/venv/bin/python`, 'web-client/examples/python/server.py'],
};

async function freePort() {
  const probe = createServer();
  await new Promise((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

/** A program's standard output, line by line: `next(pattern)` waits for one. */
function listen(child) {
  const lines = [];
  const waiting = [];
  createInterface({ input: child.stdout }).on('line', (line) => {
    const at = waiting.findIndex(({ pattern }) => pattern.test(line));
    if (at < 0) lines.push(line);
    else waiting.splice(at, 1)[0].resolve(line);
  });
  const next = (pattern) => {
    const at = lines.findIndex((line) => pattern.test(line));
    if (at >= 0) return Promise.resolve(lines.splice(at, 1)[0]);
    return new Promise((resolve) => waiting.push({ pattern, resolve }));
  };
  return { next };
}

for (const [name, [program, script]] of Object.entries(EXAMPLES)) {
  test(`the ${name} example opens sessions and checks webhooks`, { timeout: 120_000 }, async () => {
    const cleanup = new Cleanup();
    try {
      await tryOut(program, script, cleanup);
    } finally {
      await cleanup.run();
    }
  });
}

async function tryOut(program, script, cleanup) {
  const server = await Server.start(cleanup);
  const origin = 'http://127.0.0.1:1';
  const platform = await Platform.join(server, { lessonMs: 20_000, origins: [origin] });
  const learner = await platform.enrol(portrait(ENROLLED));
  const port = await freePort();
  const back = `http://127.0.0.1:${port}`;
  const { secret } = await platform.api.send('PUT', '/platform/webhook', { url: `${back}/invigil-webhook` });
  const env = {
    ...process.env,
    INVIGIL_URL: server.url,
    INVIGIL_KEY: platform.api.key,
    WEBHOOK_SECRET: secret,
    LESSON: platform.lesson,
    LEARNER: learner,
    PORT: String(port),
  };
  const example = start(program, [root + script], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  cleanup.defer(() => {
    example.kill('SIGKILL');
    return ended(example);
  });
  const said = listen(example);
  await said.next(/^listening/);

  const post = (path, body, headers = {}) => fetch(back + path, { method: 'POST', body, headers });
  const ask = async (request) => {
    const answer = await post('/token', JSON.stringify(request));
    return { status: answer.status, access: answer.ok ? await answer.json() : null };
  };
  const { access } = await ask({ reason: 'start', session: null });
  assert.ok(access.session && access.token && access.url, JSON.stringify(access));
  const again = await ask({ reason: 'start', session: access.session });
  assert.equal(again.access.session, access.session, 'a page that is loaded again goes on with its session');
  assert.notEqual(again.access.token, access.token);

  const forged = {
    'webhook-id': 'msg_1',
    'webhook-timestamp': String(Math.floor(Date.now() / 1000)),
    'webhook-signature': 'v1,AAAA',
  };
  const lie = JSON.stringify({
    type: 'session.verdict',
    data: { session: access.session, verdict: { status: 'valid' } },
  });
  assert.equal((await post('/invigil-webhook', lie, forged)).status, 401);

  const client = await Forged.connect(again.access, origin);
  await client.next('welcome');
  client.say({ type: 'close', reason: 'left' });
  await client.next('closed');
  const { status } = await platform.verdict(access.session);
  assert.equal(await said.next(/^verdict/), `verdict ${access.session} ${status}`, 'and nothing of what was forged');
  assert.equal((await ask({ reason: 'expired', session: access.session })).status, 409);
}

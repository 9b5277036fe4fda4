// docs/integrate.md, followed literally: its commands in a shell, its page in a browser. Only ports, photo and film differ.
import assert from 'node:assert/strict';
import { readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openBrowser } from '../lib/browser.mjs';
import { Cleanup } from '../lib/cleanup.mjs';
import { ENROLLED, Films, portrait } from '../lib/films.mjs';
import { ended, start } from '../lib/process.mjs';
import { binary } from '../lib/server.mjs';

const root = fileURLToPath(new URL('../../..', import.meta.url));
/** Longer than the shortest session that must have shown a face. */
const LESSON_S = 65;

/** The commands of a document: `{ tag, text }` each. */
async function commands(file) {
  const text = await readFile(`${root}docs/${file}`, 'utf8');
  return [...text.matchAll(/^```sh ?(\w*)\n(.*?)^```$/gms)].map(([, tag, text]) => ({ tag, text }));
}

async function freePort() {
  const probe = createServer();
  await new Promise((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

/** A shell that is given commands as somebody would type them, and stops at the first that fails. */
class Shell {
  constructor(env) {
    // Of its own group, so that what it started in the background ends with it.
    this.child = start('bash', ['-euo', 'pipefail', '-s'], {
      cwd: root,
      env,
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.said = '';
    this.wrong = '';
    this.failed = new Promise((_, reject) => {
      this.child.once('exit', (code) => reject(new Error(`a command failed (${code}): ${this.wrong.slice(-1500)}`)));
    });
    this.failed.catch(() => {});
    this.failed = new Promise((_, reject) => {
      this.child.once('exit', (code) => reject(new Error(`a command failed (${code}): ${this.wrong.slice(-1500)}`)));
    });
    this.failed.catch(() => {});
    for (const [stream, name] of [
      ['stdout', 'said'],
      ['stderr', 'wrong'],
    ]) {
      this.child[stream].setEncoding('utf8').on('data', (text) => {
        this[name] += text;
        this.onSaid?.();
      });
    }
  }

  /** What these commands write. */
  async type(text) {
    const from = this.said.length;
    this.child.stdin.write(`${text}\necho "-- done --"\n`);
    await this.says(/-- done --\n/, from);
    return this.said.slice(from).replace('-- done --\n', '');
  }

  says(pattern, from = 0) {
    const said = new Promise((resolve) => {
      this.onSaid = () => pattern.test(this.said.slice(from)) && resolve();
      this.onSaid();
    });
    return Promise.race([said, this.failed]);
  }

  async end() {
    process.kill(-this.child.pid, 'SIGTERM');
    await ended(this.child);
  }
}

test('both languages have the same commands', async () => {
  assert.deepEqual(await commands('integrate.zh-CN.md'), await commands('integrate.md'));
});

test('whoever follows docs/integrate.md gets a verdict', { timeout: 240_000 }, async () => {
  const cleanup = new Cleanup();
  try {
    await follow(cleanup);
  } finally {
    await cleanup.run();
  }
});

async function follow(cleanup) {
  const films = new Films(process.env.E2E_FILMS ?? tmpdir());
  const [film, camera, server, pages] = await Promise.all([
    films.lesson(LESSON_S),
    films.camera('learner'),
    freePort(),
    freePort(),
  ]);
  const given = { FILM: film, DURATION_MS: String(LESSON_S * 1000), PHOTO: portrait(ENROLLED) };
  const shell = new Shell({ ...process.env, ...given, PATH: `${dirname(binary)}:${process.env.PATH}` });
  cleanup.defer(() => shell.end());
  const port = (text) => text.replaceAll('8080', server).replaceAll('3000', pages);
  const all = await commands('integrate.md');
  assert.deepEqual([...new Set(all.map(({ tag }) => tag))], ['build', '', 'after']);
  for (const { tag, text } of all) if (tag === '') await shell.type(port(text));
  const folder = (await shell.type('echo "$TRY"')).trim();
  cleanup.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));

  const context = await openBrowser(cleanup, camera);
  const page = await context.newPage();
  await page.goto(`http://127.0.0.1:${pages}/course.html`);
  await page.click('#begin');
  await page.locator('invigil-prompt button.main').click();
  await shell.says(/^verdict \S+ valid$/m);
  const [after] = all.filter(({ tag }) => tag === 'after');
  const verdict = JSON.parse(await shell.type(port(after.text)));
  assert.deepEqual([verdict.status, verdict.completed, verdict.violations], ['valid', true, []]);
  assert.equal(await page.title(), 'valid');
}

// The demo's course page: a person enrols by webcam, learns, and reads the verdict.
import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openBrowser } from '../lib/browser.mjs';
import { Cleanup } from '../lib/cleanup.mjs';
import { Films } from '../lib/films.mjs';
import { ended, start } from '../lib/process.mjs';
import { binary } from '../lib/server.mjs';

const root = fileURLToPath(new URL('../../..', import.meta.url));

/** Where `invigil demo --classroom` says that the course page is. */
function open(cleanup) {
  const demo = start(binary, ['demo', '--classroom'], { cwd: root, stdio: ['ignore', 'ignore', 'pipe'] });
  cleanup.defer(() => {
    demo.kill('SIGINT');
    return ended(demo);
  });
  let said = '';
  return new Promise((resolve, reject) => {
    demo.stderr.on('data', (text) => {
      said += text;
      const found = /http:\S+\/demo\//.exec(said);
      if (found) resolve(found[0]);
    });
    demo.once('exit', () => reject(new Error(said)));
  });
}

async function visit(cleanup) {
  const films = new Films(process.env.E2E_FILMS ?? tmpdir());
  const [address, camera] = await Promise.all([open(cleanup), films.camera('learner')]);
  const part = await fetch(new URL('lesson.mp4', address), { headers: { range: 'bytes=100-199' } });
  assert.deepEqual([part.status, part.headers.get('content-length')], [206, '100']);
  const context = await openBrowser(cleanup, camera);
  const page = await context.newPage();
  const refused = [];
  page.on('console', (message) => /Content Security Policy/i.test(message.text()) && refused.push(message.text()));
  await page.goto(address);
  await page.click('#open-camera');
  await page.click('#take');
  await page.click('#begin');
  await page.locator('invigil-prompt button.main').click();
  await page.locator('#happened li', { hasText: 'match' }).waitFor();
  await page.click('#leave');
  await page.locator('#whole', { hasText: 'log_digest' }).waitFor({ state: 'attached' });
  assert.equal(await page.textContent('#status'), '有效');
  const verdict = JSON.parse(await page.textContent('#whole'));
  assert.deepEqual([verdict.status, verdict.violations], ['valid', []]);
  assert.deepEqual(refused, [], 'a page with a strict policy');
}

test('a person with a webcam enrols, learns and reads the verdict on the demo page', { timeout: 180_000 }, async () => {
  const cleanup = new Cleanup();
  try {
    await visit(cleanup);
  } finally {
    await cleanup.run();
  }
});

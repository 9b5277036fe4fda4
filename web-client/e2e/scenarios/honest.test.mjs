// Somebody who learns as they should.
import assert from 'node:assert/strict';
import { events, rules, scenario } from '../lib/scenario.mjs';

scenario('an honest session is valid, with matched photos and answered prompts', { lessonS: 30 }, async (stage) => {
  const visit = await stage.page();
  await visit.begin();
  const [{ verdict, log }] = await Promise.all([visit.ends(), visit.answerAll()]);
  assert.deepEqual([verdict.status, verdict.completed, rules(verdict)], ['valid', true, []]);
  const checks = events(log, 'face.checked').map(({ outcome }) => outcome);
  assert.ok(checks.length >= 2 && checks.every((outcome) => outcome === 'match'), checks.join());
  const prompts = events(log, 'prompt.resolved').map(({ outcome }) => outcome);
  // The film may end while one is open.
  if (prompts.at(-1) === 'expired') prompts.pop();
  assert.ok(prompts.length >= 2 && prompts.every((outcome) => outcome === 'passed'), prompts.join());
  const [consent] = events(log, 'consent');
  assert.match(consent.text_sha256, /^[0-9a-f]{64}$/);
  assert.equal(consent.language, 'zh-CN');
  assert.deepEqual(visit.errors, [], 'a page with a strict policy');
});

scenario(
  'a page that is loaded again goes on with its session and meets its prompt all the same',
  { lessonS: 25 },
  async (stage) => {
    const visit = await stage.page();
    await visit.begin();
    for (const reachedMs of [2_500, 5_000]) {
      await visit.until((proctor, reachedMs) => proctor.state.positionMs >= reachedMs, reachedMs);
      await visit.reload();
      await visit.begin();
    }
    // No prompt is later than prompt_max_ms of watching, however often the page was loaded.
    await visit.hears('prompt');
    const [{ verdict, log }] = await Promise.all([visit.ends(), visit.answerAll()]);
    assert.equal(stage.site.sessions.length, 1, 'one session');
    assert.equal(events(log, 'consent').length, 1, 'asked once');
    assert.ok(events(log, 'connection.opened').length >= 3);
    assert.deepEqual([verdict.status, verdict.completed, rules(verdict)], ['valid', true, []]);
    const first = log.find(({ type }) => type === 'prompt.issued');
    const watched = log.filter(({ n, type }) => n < first.n && type === 'heartbeat').at(-1);
    assert.ok(watched.data.pos_ms <= 9_000 + 2_500, `the first prompt came at ${watched.data.pos_ms} ms`);
  },
);

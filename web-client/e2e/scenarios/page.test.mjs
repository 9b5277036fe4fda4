// Pages that are hidden, doubled, or that nobody answers.
import assert from 'node:assert/strict';
import { events, rules, scenario } from '../lib/scenario.mjs';

/** A page whose film cannot be paused, in no realm: what a cheat's extension would do. */
const unstoppable = () => {
  HTMLMediaElement.prototype.pause = () => {};
  Object.defineProperty(HTMLIFrameElement.prototype, 'contentWindow', { get: () => window });
};

const isPaused = (visit) => visit.page.evaluate(() => document.getElementById('film').paused);

scenario(
  'a page that is hidden pauses, and goes on when it is seen again',
  { lessonS: 20, real: true },
  async (stage) => {
    const visit = await stage.page();
    await visit.begin();
    await visit.until((proctor) => proctor.state.positionMs > 2_000);
    const other = await stage.context.newPage();
    await other.bringToFront();
    await visit.until((proctor) => proctor.state.holds.includes('hidden') && document.hidden);
    assert.equal(await isPaused(visit), true);
    await visit.page.bringToFront();
    await visit.until((proctor) => !proctor.state.holds.includes('hidden'));
    const [{ verdict, log }] = await Promise.all([visit.ends(), visit.answerAll()]);
    assert.deepEqual([verdict.status, verdict.completed, rules(verdict)], ['valid', true, []]);
    const seen = events(log, 'page').map(({ visible }) => visible);
    assert.ok(seen.includes(false) && seen.at(-1) === true, seen.join());
  },
);

scenario('a film that plays in a hidden page is not watched', { lessonS: 60, real: true }, async (stage) => {
  const visit = await stage.page({ before: unstoppable });
  await visit.begin();
  const other = await stage.context.newPage();
  await other.bringToFront();
  await visit.hears('warning', { source: 'server', code: 'multi_window', cause: 'hidden' });
  const { verdict } = await visit.stop();
  assert.equal(verdict.status, 'invalid');
  assert.ok(rules(verdict).includes('multi_window/hidden'), rules(verdict).join());
});

const quick = { schedule: { prompt_answer_ms: 4_000 } };
scenario(
  'a question that nobody answers stops the film until somebody is there',
  { lessonS: 20, pack: quick },
  async (stage) => {
    const visit = await stage.page();
    await visit.begin();
    await visit.hears('prompt.closed', { outcome: 'expired' });
    // The next one comes at once, and passes as well.
    await visit.until((proctor) => proctor.state.awaitsReady && proctor.state.prompt === null);
    assert.equal(await isPaused(visit), true);
    await visit.page.locator('invigil-prompt').getByRole('button', { name: /我在/ }).click();
    const [{ verdict, log }] = await Promise.all([visit.ends(), visit.answerAll()]);
    assert.deepEqual([verdict.status, verdict.completed, rules(verdict)], ['valid', true, []]);
    const outcomes = events(log, 'prompt.resolved').map(({ outcome }) => outcome);
    assert.equal(outcomes[0], 'expired');
    assert.ok(outcomes.includes('passed'), outcomes.join());
    const first = log.find(({ type }) => type === 'prompt.resolved').n;
    const passed = log.find(({ type, data }) => type === 'prompt.resolved' && data.outcome === 'passed').n;
    const unwatched = log.filter(
      ({ n, type, data }) => n > first && n < passed && type === 'heartbeat' && !data.playing,
    );
    assert.ok(unwatched.length > 0, 'the film stood still');
  },
);

const strict = { prompt_max_gap_ms: 24_000, schedule: { prompt_answer_ms: 4_000 } };
scenario('a film that plays on while nobody answers is not learning', { lessonS: 90, pack: strict }, async (stage) => {
  const visit = await stage.page({ before: unstoppable });
  await visit.begin();
  await visit.hears('warning', { source: 'server', code: 'prompt_gap' });
  const { verdict } = await visit.stop();
  assert.equal(verdict.status, 'invalid');
  assert.ok(rules(verdict).includes('prompt_gap'), rules(verdict).join());
});

scenario('two lessons at once are none', { lessonS: 60 }, async (stage) => {
  await stage.secondCourse();
  const first = await stage.page({ guide: 'no' });
  await first.begin();
  const second = await stage.page({ guide: 'no', course: 'second' });
  await second.begin();
  const both = [first, second];
  const answering = both.map((visit) => visit.answerAll());
  const told = { source: 'server', code: 'multi_window', cause: 'windows' };
  await second.hears('warning', told);
  // Longer than the five seconds of overlap that are forgiven.
  await first.until(
    (proctor, reachedMs) => proctor.state.positionMs > reachedMs,
    (await first.see((proctor) => proctor.state.positionMs)) + 4_000,
  );
  for (const visit of both) {
    const { verdict } = await visit.stop();
    const broken = rules(verdict);
    assert.equal(verdict.status, 'invalid');
    assert.ok(broken.length > 0 && broken.every((rule) => rule.startsWith('multi_window/')), broken.join());
  }
  await Promise.all(answering);
});

scenario('a second window of the same lesson takes it over', { lessonS: 20 }, async (stage) => {
  const first = await stage.page();
  await first.begin();
  const second = await stage.page();
  await second.begin();
  const { verdict: before } = await first.ends();
  assert.deepEqual([before.status, rules(before)], ['valid', []]);
  const [{ verdict }] = await Promise.all([second.ends(), second.answerAll()]);
  assert.equal(stage.site.sessions.length, 2);
  assert.deepEqual([verdict.status, verdict.completed, rules(verdict)], ['valid', true, []]);
});

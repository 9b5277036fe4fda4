// Learners whose camera cannot be had: told why, and not accused of anything.
import assert from 'node:assert/strict';
import { events, rules, scenario } from '../lib/scenario.mjs';

for (const [camera, problem] of [
  ['refused', 'blocked'],
  ['absent', 'none'],
]) {
  scenario(`a camera that is ${camera} is said, and nothing is begun`, { camera, lessonS: 15 }, async (stage) => {
    const visit = await stage.page();
    await visit.page.click('#begin');
    await visit.hears('failed', { code: 'camera', field: problem });
    assert.equal(await visit.see((proctor) => proctor.state.phase), 'idle');
    assert.deepEqual(stage.site.sessions, []);
  });

  scenario(
    `without a camera (${camera}) no film plays, and nobody is blamed`,
    { camera, lessonS: 15 },
    async (stage) => {
      const visit = await stage.page({ camera: 'missing' });
      await visit.page.click('#begin');
      await visit.until((proctor) => proctor.state.phase === 'consent');
      await visit.agree();
      await visit.until((proctor) => proctor.state.holds.includes('camera'));
      const { verdict } = await visit.stop();
      // Between a click on `play` and its being taken back.
      assert.ok(verdict.watched_ms < 500, `${verdict.watched_ms} ms`);
      assert.notEqual(verdict.status, 'invalid');
    },
  );
}

/** Learns for a while, until the camera is gone. */
async function bereft(stage) {
  const visit = await stage.page();
  await visit.begin();
  const answering = visit.answerAll();
  await visit.hears('capture.closed', { outcome: 'match' });
  await stage.context.clearPermissions();
  await visit.hears('camera', { status: 'failed', problem: 'taken_away' });
  await visit.until((proctor) => proctor.state.holds.includes('camera') && !proctor.state.playing);
  return { visit, answering };
}

scenario(
  'a camera that is taken away in the middle stops the film; given back, it costs nothing',
  { lessonS: 25, permits: true },
  async (stage) => {
    const { visit, answering } = await bereft(stage);
    await stage.context.grantPermissions(['camera']);
    await visit.page.locator('invigil-prompt').getByRole('button', { name: '打开摄像头' }).click();
    await visit.until((proctor) => proctor.state.playing);
    const { verdict } = await visit.ends();
    await answering;
    assert.deepEqual([verdict.status, verdict.completed, rules(verdict)], ['valid', true, []]);
  },
);

scenario('without the camera that was taken away nothing more is learned', { permits: true }, async (stage) => {
  const { visit, answering } = await bereft(stage);
  const before = await visit.see((proctor) => proctor.state.positionMs);
  await visit.page.evaluate(() => document.querySelector('video').play());
  await visit.until((proctor) => !proctor.state.playing);
  const { verdict, log } = await visit.stop();
  await answering;
  assert.deepEqual([verdict.status, verdict.completed, rules(verdict)], ['valid', false, []]);
  assert.ok(verdict.watched_ms < before + 2_000, `${verdict.watched_ms} ms`);
  assert.ok(events(log, 'face.checked').every(({ outcome }) => outcome === 'match'));
});

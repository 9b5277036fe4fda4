// Learners whose camera cannot be had: told why, and not accused of anything.
import assert from 'node:assert/strict';
import { scenario } from '../lib/scenario.mjs';

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

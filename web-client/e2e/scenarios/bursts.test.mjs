// Captures of several photos, and movements that are asked for.
import assert from 'node:assert/strict';
import { events, rules, scenario } from '../lib/scenario.mjs';

/** As many photos as were asked for, none earlier than the spacing allows. */
function spaced(times, count, everyMs) {
  assert.equal(times.length, count);
  for (const [index, time] of times.entries()) {
    // Times are rounded to whole ms.
    assert.ok(time >= index * everyMs - 1, `photo ${index} after ${time} ms: ${times.join()}`);
  }
}

scenario(
  'three photos in a row show that the learner is there',
  { lessonS: 20, pack: { schedule: { capture_frames: 3, capture_frame_every_ms: 300 } } },
  async (stage) => {
    const visit = await stage.page();
    await visit.begin();
    const [{ verdict, log }] = await Promise.all([visit.ends(), visit.answerAll()]);
    assert.deepEqual([verdict.status, verdict.completed, rules(verdict)], ['valid', true, []]);
    assert.ok(visit.submissions.length > 0);
    for (const times of visit.submissions) spaced(times, 3, 300);
    const checked = events(log, 'face.checked').map(({ outcome }) => outcome);
    assert.deepEqual(new Set(checked), new Set(['match']));
  },
);

scenario(
  'who does not do what is asked is not known to be there',
  {
    lessonS: 60,
    pack: {
      schedule: {
        challenge_start_milli: 1_000,
        challenge_recheck_milli: 1_000,
        challenge_random_milli: 1_000,
        challenge_frames: 8,
        challenge_frame_every_ms: 250,
      },
    },
  },
  async (stage) => {
    const visit = await stage.page();
    await visit.begin();
    const answering = visit.answerAll();
    await visit.until((proctor) => proctor.state.capture?.step === 'announced');
    const asked = await visit.see((proctor) => proctor.state.capture.challenge);
    const prompt = visit.page.locator('invigil-prompt');
    await prompt.locator(`svg.${asked} .face`).waitFor();
    await prompt.getByRole('dialog', { name: '请看摄像头，并照着做' }).waitFor();
    await visit.hears('warning', { source: 'server', code: 'face_liveness' });
    const { verdict, log } = await visit.stop();
    await answering;
    for (const times of visit.submissions) spaced(times, 8, 250);
    const requested = events(log, 'capture.requested');
    assert.equal(requested[0].challenge, asked);
    const checked = events(log, 'face.checked').map(({ outcome, reason }) => `${outcome}/${reason}`);
    assert.deepEqual(new Set(checked), new Set(['unusable/challenge_not_done']));
    await visit.hears('warning', { source: 'server', code: 'challenge_not_done' });
    assert.equal(verdict.status, 'invalid');
    // Three photos were of no use, or until now none was of any: whichever came first ended it.
    const blamed = rules(verdict).filter((rule) => /^face_liveness\/(unusable|unverified)$/.test(rule));
    assert.ok(blamed.length > 0, rules(verdict).join());
  },
);

// Who is, or is not, in front of the camera.
import assert from 'node:assert/strict';
import { events, rules, scenario } from '../lib/scenario.mjs';

/** Learns until the server says that this rule is broken. */
async function until(stage, rule) {
  const visit = await stage.page();
  await visit.begin();
  const answering = visit.answerAll();
  await visit.hears('warning', { source: 'server', code: rule });
  const outcome = await visit.stop();
  await answering;
  return outcome;
}

/** Invalid by one rule of faces; besides, at most, nobody was ever seen to be the learner. */
function blamed(verdict, rule) {
  const [broken, ...others] = rules(verdict);
  assert.equal(verdict.status, 'invalid');
  assert.match(broken, rule);
  assert.ok(
    others.every((other) => other === 'face_unchecked'),
    others.join(),
  );
}

scenario('a stand-in is not the learner', { camera: 'stand_in', lessonS: 60 }, async (stage) => {
  const { verdict, log } = await until(stage, 'face_liveness');
  blamed(verdict, /^face_liveness\/mismatch$/);
  assert.ok(events(log, 'face.checked').every(({ outcome }) => outcome === 'mismatch'));
});

scenario('an empty chair learns nothing', { camera: 'empty_chair', lessonS: 60 }, async (stage) => {
  const { verdict } = await until(stage, 'face_liveness');
  blamed(verdict, /^face_liveness\/no_face$/);
});

scenario('a still photo of the learner is not the learner', { camera: 'still_photo', lessonS: 60 }, async (stage) => {
  const { verdict } = await until(stage, 'face_liveness');
  blamed(verdict, /^face_liveness\/spoof$/);
});

scenario('a covered camera shows nobody', { camera: 'covered', lessonS: 60 }, async (stage) => {
  const { verdict } = await until(stage, 'face_liveness');
  blamed(verdict, /^face_liveness\/(no_face|unusable)$/);
});

scenario(
  'a camera that is a program is for a supervisor to judge',
  { label: 'OBS Virtual Camera', lessonS: 15 },
  async (stage) => {
    const visit = await stage.page();
    await visit.begin();
    const [{ verdict }] = await Promise.all([visit.ends(), visit.answerAll()]);
    assert.deepEqual([verdict.status, rules(verdict)], ['review', ['client_tamper/virtual_camera']]);
  },
);

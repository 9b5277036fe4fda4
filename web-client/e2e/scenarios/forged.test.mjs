// Clients that are no page.
import assert from 'node:assert/strict';
import { Forged } from '../lib/forged.mjs';
import { isRight } from '../lib/platform.mjs';
import { rules, scenario } from '../lib/scenario.mjs';

const RATE = { playing: true, rate: 1 };

const impatient = { schedule: { capture_answer_ms: 4_000 } };
scenario(
  'a client without a page that claims to watch shows no face',
  { lessonS: 120, pack: impatient },
  async (stage) => {
    const access = await stage.platform.open(stage.learner);
    const forged = await Forged.connect(access, stage.site.origin);
    await forged.next('welcome');
    const beganAt = performance.now();
    forged.event('page', { visible: true, focused: true, ...RATE, pos_ms: 0 });
    forged.event('playback', { event: 'play', ...RATE, pos_ms: 0 });
    const beat = setInterval(
      () => forged.event('heartbeat', { ...RATE, pos_ms: Math.floor(performance.now() - beganAt) }),
      1_000,
    );
    stage.cleanup.defer(() => clearInterval(beat));
    for (;;) {
      const message = await forged.next('prompt', 'warning');
      if (message.type === 'warning' && message.rule === 'face_liveness') break;
      // The questions can be learned by heart; a face cannot.
      if (message.type === 'prompt')
        forged.event('prompt.answered', { prompt: message.prompt, answer: message.options.find(isRight) });
    }
    forged.say({ type: 'close', reason: 'left' });
    await forged.next('closed');
    const { verdict } = await stage.outcome(access.session);
    assert.equal(verdict.status, 'invalid');
    assert.ok(rules(verdict).includes('face_liveness/expired'), rules(verdict).join());
  },
);

scenario("a stolen token opens nothing: the page's key does not leave it", { lessonS: 20 }, async (stage) => {
  const visit = await stage.page();
  await visit.begin();
  const answering = visit.answerAll();
  const session = stage.site.sessions[0];
  const stolen = { session, ...(await stage.platform.renew(session)) };
  const forged = await Forged.connect(stolen, stage.site.origin);
  assert.equal((await forged.next('error')).code, 'key_mismatch');
  assert.equal(await forged.closed, 4401);
  const { verdict } = await visit.ends();
  await answering;
  assert.deepEqual([verdict.status, rules(verdict)], ['valid', []], 'nobody noticed');
});

scenario('a page of another site is refused', { lessonS: 20 }, async (stage) => {
  const access = await stage.platform.open(stage.learner);
  const forged = await Forged.connect(access, 'https://elsewhere.example').catch((error) => error);
  assert.equal((await forged.next('error')).code, 'origin_refused');
  assert.equal(await forged.closed, 4403);
});

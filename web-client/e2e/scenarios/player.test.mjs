// Who does not watch the film as it is.
import assert from 'node:assert/strict';
import { rules, scenario } from '../lib/scenario.mjs';

const film = (visit, act) => visit.page.evaluate(`(${act})(document.getElementById('film'))`);

const twice = (film) => {
  film.playbackRate = 2;
};
const nearTheEnd = (film) => {
  film.currentTime = film.duration - 5;
};

/** Plays, does `act` to the film, and leaves once the server has noticed all that is to be noticed. */
async function play(stage, act, { before, noticed = ['fast_forward'] } = {}) {
  const visit = await stage.page({ guide: 'no', before });
  await visit.begin();
  const answering = visit.answerAll();
  await film(visit, act);
  for (const code of noticed) await visit.hears('warning', { source: 'server', code });
  const outcome = await visit.stop();
  await answering;
  return outcome.verdict;
}

scenario('twice the speed is not learning', { lessonS: 60 }, async (stage) => {
  const verdict = await play(stage, twice);
  assert.equal(verdict.status, 'invalid');
  assert.ok(rules(verdict).includes('fast_forward/rate'), rules(verdict).join());
});

scenario('a getter that lies and events that are swallowed hide no speed', { lessonS: 60 }, async (stage) => {
  const lie = () => {
    const honest = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, 'playbackRate');
    Object.defineProperty(HTMLMediaElement.prototype, 'playbackRate', { ...honest, get: () => 1 });
    window.addEventListener('ratechange', (event) => event.stopImmediatePropagation(), true);
  };
  const verdict = await play(stage, twice, { before: lie, noticed: ['fast_forward', 'client_tamper'] });
  assert.equal(verdict.status, 'invalid');
  assert.ok(
    rules(verdict).some((rule) => rule.startsWith('fast_forward/')),
    rules(verdict).join(),
  );
  assert.ok(rules(verdict).includes('client_tamper/playback_rate_overridden'), rules(verdict).join());
});

scenario('a jump to the end is not learning', { lessonS: 60 }, async (stage) => {
  const verdict = await play(stage, nearTheEnd);
  assert.deepEqual([verdict.status, rules(verdict)], ['invalid', ['fast_forward/seek']]);
});

scenario('a page that guides takes back speed and jump, and the session stays good', { lessonS: 20 }, async (stage) => {
  const visit = await stage.page();
  await visit.begin();
  const answering = visit.answerAll();
  await film(visit, twice);
  await film(
    visit,
    (film) =>
      new Promise((resolve) => {
        const look = () =>
          film.playbackRate === 1 ? resolve() : film.addEventListener('ratechange', look, { once: true });
        look();
      }),
  );
  await film(visit, nearTheEnd);
  const { verdict } = await visit.ends();
  await answering;
  assert.deepEqual([verdict.status, verdict.completed, rules(verdict)], ['valid', true, []]);
});

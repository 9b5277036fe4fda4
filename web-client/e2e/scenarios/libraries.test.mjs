// Players that are libraries, as their packages have them; what is held against whom is the same as for a plain film.
import assert from 'node:assert/strict';
import { rules, scenario } from '../lib/scenario.mjs';

const PLAYERS = {
  hls: {
    name: 'hls.js',
    hurry: (_, film) => {
      film.playbackRate = 2;
    },
    jump: (_, film) => {
      film.currentTime = film.duration - 5;
    },
  },
  videojs: {
    name: 'video.js',
    hurry: (player) => player.playbackRate(2),
    jump: (player) => player.currentTime(player.duration() - 5),
  },
};

for (const [player, { name, hurry, jump }] of Object.entries(PLAYERS)) {
  const stream = player === 'hls';
  const act = (visit, what) => visit.page.evaluate(`(${what})(window.player, document.querySelector('video'))`);

  scenario(`whoever learns with ${name} as they should has learned`, { lessonS: 20, stream }, async (stage) => {
    const visit = await stage.page({ player });
    await visit.begin();
    const [{ verdict }] = await Promise.all([visit.ends(), visit.answerAll()]);
    assert.deepEqual([verdict.status, verdict.completed, rules(verdict)], ['valid', true, []]);
    assert.ok(verdict.watched_ms > 18_000, `${verdict.watched_ms} ms`);
    assert.deepEqual(visit.errors, []);
  });

  scenario(`with ${name}, too, twice the speed and a jump are not learning`, { lessonS: 60, stream }, async (stage) => {
    const visit = await stage.page({ player, guide: 'no' });
    await visit.begin();
    const answering = visit.answerAll();
    await act(visit, hurry);
    await visit.hears('warning', { source: 'server', code: 'fast_forward' });
    await act(visit, jump);
    const { verdict } = await visit.ends();
    await answering;
    // Played fast for long enough, the film has also got further than time went by.
    const broken = rules(verdict).filter((rule) => rule !== 'fast_forward/advance');
    assert.deepEqual([verdict.status, broken], ['invalid', ['fast_forward/rate', 'fast_forward/seek']]);
  });
}

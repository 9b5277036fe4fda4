// Pictures of what a learner sees, in both languages, for people to look at.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Cleanup } from './lib/cleanup.mjs';
import { Stage } from './lib/stage.mjs';

const folder = fileURLToPath(new URL('../../target/screenshots-sdk', import.meta.url));
await mkdir(folder, { recursive: true });

/** Every capture asks for a movement, and nothing else is asked for meanwhile. */
const ALWAYS_A_MOVEMENT = {
  prompt_min_ms: 200_000,
  prompt_max_ms: 240_000,
  challenge_start_milli: 1_000,
  challenge_recheck_milli: 1_000,
  challenge_random_milli: 1_000,
  challenge_frame_every_ms: 250,
};

/** Holds a session on a stage of its own, and takes pictures where `play` says so. */
async function picture(locale, options, play) {
  const cleanup = new Cleanup();
  try {
    const stage = await Stage.set(cleanup, options);
    const visit = await stage.page({ locale });
    await play(visit, async (name) => {
      const path = join(folder, `${name}.${locale}.png`);
      await visit.page.screenshot({ path });
      console.log(path);
    });
  } finally {
    await cleanup.run();
  }
}

for (const locale of ['zh-CN', 'en']) {
  await picture(locale, { lessonS: 60, pack: { schedule: { prompt_answer_ms: 5_000 } } }, async (visit, take) => {
    await visit.page.click('#begin');
    await visit.until((proctor) => proctor.state.phase === 'consent');
    await take('consent');
    await visit.agree();
    await visit.until((proctor) => proctor.state.playing);
    await take('recording');
    await visit.until((proctor) => proctor.state.prompt !== null);
    await take('prompt');
    await visit.until((proctor) => proctor.state.awaitsReady);
    await take('unanswered');
  });
  await picture(locale, { lessonS: 60, pack: { schedule: { prompt_sum_milli: 1_000 } } }, async (visit, take) => {
    await visit.begin();
    await visit.page.evaluate(() => {
      document.getElementById('film').currentTime = 50;
    });
    await visit.hears('warning', { source: 'page', code: 'seek_ahead' });
    await take('warning');
    await visit.until((proctor) => proctor.state.prompt !== null);
    // The picture of the sum is decoded beside the page.
    await visit.page.waitForSelector('invigil-prompt canvas');
    await visit.page.evaluate(
      () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))),
    );
    await take('sum');
  });
  await picture(locale, { camera: 'refused', lessonS: 60 }, async (visit, take) => {
    await visit.load({ locale, camera: 'missing' });
    await visit.page.click('#begin');
    await visit.until((proctor) => proctor.state.phase === 'consent');
    await visit.agree();
    await visit.until((proctor) => proctor.state.phase === 'running' && proctor.state.holds.includes('camera'));
    await take('camera-blocked');
  });
  await picture(locale, { camera: 'empty_chair', lessonS: 60 }, async (visit, take) => {
    await visit.begin();
    await visit.hears('capture.closed', { outcome: 'no_face' });
    await take('no-face');
  });
  await picture(locale, { lessonS: 240, pack: { schedule: ALWAYS_A_MOVEMENT } }, async (visit, take) => {
    await visit.begin();
    const seen = [];
    while (seen.length < 5) {
      // The learner of the film does none of them, and so is asked for another soon.
      await visit.until(({ state }, seen) => {
        const { challenge, step } = state.capture ?? {};
        return challenge && ['announced', 'taking'].includes(step) && !seen.includes(challenge);
      }, seen);
      const movement = await visit.see((proctor) => proctor.state.capture.challenge);
      await visit.page.locator('invigil-prompt').locator(`svg.${movement}`).waitFor();
      // As it stands in the middle of the movement.
      await visit.page.evaluate(
        async (atMs) => {
          for (const animation of document.querySelector('invigil-prompt').shadowRoot.getAnimations()) {
            animation.pause();
            await animation.ready;
            animation.currentTime = atMs;
          }
        },
        movement === 'blink_twice' ? 480 : 1_200,
      );
      await take(`challenge-${movement}`);
      seen.push(movement);
    }
  });
}

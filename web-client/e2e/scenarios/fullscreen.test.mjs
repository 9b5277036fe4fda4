// A film that fills the screen, and players that are more than a <video>.
import assert from 'node:assert/strict';
import { rules, scenario } from '../lib/scenario.mjs';

scenario('a question reaches a learner whose film fills the screen', { lessonS: 20 }, async (stage) => {
  const visit = await stage.page();
  await visit.begin();
  await visit.page.click('#fill');
  await visit.page.waitForSelector('#stage:fullscreen');
  await visit.hears('prompt');
  const isInside = () => document.getElementById('stage').contains(document.querySelector('invigil-prompt'));
  assert.equal(await visit.page.evaluate(isInside), true);
  // Answered by keyboard: the dialog has the focus, and keeps it.
  const { options, prompt } = await visit.see((proctor) => proctor.state.prompt);
  await visit.page.keyboard.press(String(options.indexOf('right') + 1));
  await visit.hears('prompt.closed', { prompt, outcome: 'passed' });
  await visit.page.evaluate(() => document.exitFullscreen());
  await visit.page.waitForSelector('body > invigil-prompt', { state: 'attached' });
  const [{ verdict }] = await Promise.all([visit.ends(), visit.answerAll()]);
  assert.deepEqual([verdict.status, verdict.completed, rules(verdict)], ['valid', true, []]);
  assert.deepEqual(visit.errors, []);
});

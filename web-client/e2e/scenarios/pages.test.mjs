// Nothing on any page of the console stands in the way of whoever cannot see or has no mouse: in both languages, by day and by
// night.
import assert from 'node:assert/strict';
import { Desk } from '../lib/console.mjs';
import { portrait } from '../lib/films.mjs';
import { isSatFor, learns } from '../lib/morning.mjs';
import { scenario } from '../lib/scenario.mjs';
import { tour } from '../lib/tour.mjs';

scenario('every page for everybody', { label: 'OBS Virtual Camera', lessonS: 20 }, async (stage) => {
  const { platform, site } = stage;
  const { session } = await learns(stage);
  const learner = site.learner;
  site.learner = await platform.enrol(portrait({ person: 'webcam_man', frame: 2 }), '王建国');
  const refused = await isSatFor(stage);

  const desks = {
    nobody: await Desk.sit(stage, { width: 390, height: 844 }),
    supervisor: await Desk.take(stage, 'li', 'supervisor'),
    auditor: await Desk.take(stage, 'zhao', 'auditor'),
    administrator: await Desk.take(stage, 'qian', 'administrator'),
    staff: await Desk.take(stage, 'sun', 'staff', { more: { platform: platform.id } }),
  };
  const [{ label: policy }] = await platform.operator.send('GET', '/policies');
  const token = await platform.appealToken(refused.session);
  const pages = tour(desks, { session, learner, platform: platform.id, policy, token });

  // Somebody is at their lesson meanwhile, and the queue holds an appeal.
  const visit = await stage.page();
  await visit.begin();
  const answering = visit.answerAll();
  const appeal = await fetch(`${stage.server.url}/api/v1/appeal`, {
    method: 'POST',
    headers: { authorization: `Appeal ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ statement: '本人可以到场核对。', attachments: [] }),
  });
  assert.equal(appeal.status, 201);

  const found = [];
  for (const [name, desk, path] of pages) {
    await desk.arrive(path);
    found.push(...(await desk.obstacles()).map((obstacle) => `${name}: ${obstacle}`));
  }

  // What opens over a page counts, too.
  const { supervisor } = desks;
  await supervisor.arrive(`/sessions/${session}`);
  await supervisor.page.keyboard.press('d');
  await supervisor.page.getByRole('radio').first().waitFor();
  found.push(...(await supervisor.obstacles()).map((obstacle) => `a decision: ${obstacle}`));
  await supervisor.page.keyboard.press('Escape');
  await supervisor.page.keyboard.press('?');
  await supervisor.page.getByRole('dialog').waitFor();
  found.push(...(await supervisor.obstacles(['zh-CN'])).map((obstacle) => `the keys: ${obstacle}`));
  await supervisor.page.keyboard.press('Escape');
  await supervisor.arrive('/account');
  await supervisor.page.getByRole('button', { name: '开启' }).click();
  await supervisor.page.getByRole('img', { name: /二维码/ }).waitFor();
  found.push(...(await supervisor.obstacles()).map((obstacle) => `the second step: ${obstacle}`));

  assert.deepEqual(found, []);
  for (const desk of Object.values(desks)) assert.deepEqual(desk.refused, []);
  await visit.stop();
  await answering;
});

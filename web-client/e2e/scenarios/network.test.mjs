// Networks and servers that fail: no learner is blamed for them.
import assert from 'node:assert/strict';
import { setTimeout as passing } from 'node:timers/promises';
import { events, rules, scenario } from '../lib/scenario.mjs';

scenario('a network that is gone for ten seconds costs nothing', { lessonS: 30, wired: true }, async (stage) => {
  const visit = await stage.page();
  await visit.begin();
  const answering = visit.answerAll();
  await visit.until((proctor) => proctor.state.positionMs > 3_000);
  stage.wire.cut();
  // Ten seconds are what this is about.
  await passing(10_000);
  stage.wire.mend();
  const { verdict, log } = await visit.ends();
  await answering;
  assert.deepEqual([verdict.status, verdict.completed, rules(verdict)], ['valid', true, []]);
  assert.deepEqual(events(log, 'gap'), []);
  assert.equal(events(log, 'connection.opened').length, 2);
});

scenario(
  'after three minutes without a network the film goes on where it was stopped',
  { lessonS: 90, wired: true },
  async (stage) => {
    const visit = await stage.page();
    await visit.begin();
    const answering = visit.answerAll();
    await visit.until((proctor) => proctor.state.positionMs > 3_000);
    stage.wire.cut();
    const cutAt = Date.now();
    const lastSeenMs = await visit.see((proctor) => proctor.state.positionMs);
    await visit.until((proctor) => proctor.state.holds.includes('connection'));
    await visit.until((proctor) => !proctor.state.playing);
    // Nobody closes a connection that falls silent: its loss is told by what is not acknowledged.
    const ranMs = (await visit.see((proctor) => proctor.state.positionMs)) - lastSeenMs;
    assert.ok(ranMs < 30_000, `the film ran on for ${ranMs} ms`);
    await passing(180_000 - (Date.now() - cutAt));
    stage.wire.mend();
    await visit.until((proctor) => proctor.state.playing);
    const { verdict, log } = await visit.ends();
    await answering;
    assert.deepEqual([verdict.status, rules(verdict)], ['valid', []]);
    assert.deepEqual(events(log, 'gap'), []);
  },
);

scenario('a server that is killed in the middle is not noticed in the verdict', { lessonS: 30 }, async (stage) => {
  const visit = await stage.page();
  await visit.begin();
  const answering = visit.answerAll();
  await visit.until((proctor) => proctor.state.positionMs > 6_000);
  await stage.server.kill();
  await stage.server.restart();
  const { verdict, log } = await visit.ends();
  await answering;
  assert.deepEqual([verdict.status, verdict.completed, rules(verdict)], ['valid', true, []]);
  assert.ok(events(log, 'connection.opened').length >= 2);
});

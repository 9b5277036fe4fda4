// A supervisor's morning, against the server and sessions that were really held: find, open, compare, decide by keyboard; a
// learner answers back, two people agree, the platform hears of it; on paper the clause and the digest stand.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Desk, Mailbox } from '../lib/console.mjs';
import { portrait } from '../lib/films.mjs';
import { isSatFor, learns } from '../lib/morning.mjs';
import { scenario } from '../lib/scenario.mjs';

const run = promisify(execFile);

/** The text of a page as it is printed, sheet by sheet. */
async function printed(desk, folder) {
  const file = join(folder, 'print.pdf');
  await writeFile(file, await desk.page.pdf({ format: 'A4' }));
  const { stdout } = await run('pdftotext', ['-layout', file, '-']);
  return stdout.split('\f').filter((sheet) => sheet.trim() !== '');
}

const verdictOf = (session, version) => (event) =>
  event.type === 'invigil.session.verdict.v1' &&
  event.data.verdict.session === session &&
  event.data.version === version;

scenario("a supervisor's morning", { label: 'OBS Virtual Camera', lessonS: 20 }, async (stage) => {
  const { platform, cleanup, site } = stage;
  const mailbox = await Mailbox.open(cleanup);
  await platform.tell(mailbox.url);

  const reviewed = await learns(stage);
  assert.equal(reviewed.status, 'review');

  // The queue has it: by keyboard to the session.
  const li = await Desk.take(stage, 'li', 'supervisor');
  await li.heading('待办').waitFor();
  const row = li.page.getByRole('row').filter({ hasText: '客户端环境异常' });
  await row.waitFor();
  assert.match(await row.textContent(), /李/);
  assert.ok(!(await row.textContent()).includes('李晓明'), 'a name is masked in lists');
  await li.isAccessible('the queue');
  await li.types('j', 'Enter');
  await li.heading('异常').waitFor();
  assert.ok(li.page.url().endsWith(`/sessions/${reviewed.session}`));

  // The evidence: the clause, faces side by side, each mark of the axis a line of the log.
  const clause = reviewed.violations[0].clause;
  await li.page.getByText(clause.text).first().waitFor();
  await li.sees('.pair', 2);
  const mark = li.page.locator(`.chart a[href="#n${reviewed.violations[0].n}"]`).first();
  await mark.focus();
  await li.page.keyboard.press('Enter');
  await li.page.getByText('"type":"tamper"').waitFor();
  await li.isAccessible('a session');

  // Decided by keyboard; a new version, and the platform hears of it.
  await li.types('d', '2', 'Enter');
  await li.page.getByText('已记录：改判为有效').waitFor();
  await li.page.getByText(/判定第 2 版：有效/).waitFor();
  const told = await mailbox.first(verdictOf(reviewed.session, 2));
  assert.equal(told.data.verdict.status, 'valid');
  assert.equal(told.data.verdict.credited_ms, reviewed.credited_ms);

  // It is among the decided ones now.
  await li.page.getByRole('link', { name: '← 待办' }).click();
  await li.page.getByRole('button', { name: /已决定/ }).click();
  await li.page.getByRole('row', { selected: true }).filter({ hasText: '有效' }).waitFor();

  // A learner who was sat for, as the server has it, answers back while the supervisor looks at the appeals.
  site.learner = await platform.enrol(portrait({ person: 'webcam_man', frame: 2 }), '王建国');
  const refused = await isSatFor(stage);
  assert.equal(refused.status, 'invalid');
  await li.open('/queue?tab=appeals');
  await li.page.getByText('没有需要处理的会话').waitFor();
  const learner = await Desk.sit(stage, { width: 390, height: 844 });
  await learner.open(`/appeal#${await platform.appealToken(refused.session)}`);
  await learner.page.getByText('人脸比对未通过').first().waitFor();
  await learner.isAccessible("a learner's own page");
  await learner.page.getByLabel('您的说明').fill('登记照是十年前的，现在戴眼镜、换了发型，本人可以到场核对。');
  await learner.page.getByRole('button', { name: '提交申诉' }).click();
  await learner.page.getByText('已收到您的申诉').waitFor();
  await li.page.getByRole('button', { name: /1 条新记录/ }).click();
  await li.page.getByRole('row').filter({ hasText: '王**' }).click();
  await li.page.getByText('本人可以到场核对').first().waitFor();

  // One proposes, and cannot confirm it; a second person does.
  await li.page.keyboard.press('d');
  await li.page.keyboard.press('1');
  await li.page.keyboard.press('Enter');
  await li.page
    .getByText(/^已提议：改判为有效/)
    .first()
    .waitFor();
  await li.page.keyboard.press('d');
  await li.page.keyboard.press('1');
  await li.page.keyboard.press('Enter');
  await li.page.getByText('不能由同一人确认自己的提议').waitFor();
  const wang = await Desk.take(stage, 'wang', 'supervisor');
  await wang.open(`/sessions/${refused.session}`);
  await wang.page.getByText('li 提议：改判为有效').waitFor();
  await wang.page.keyboard.press('d');
  await wang.page.keyboard.press('1');
  await wang.page.keyboard.press('Enter');
  await wang.page.getByText('已记录：改判为有效').waitFor();
  const overturned = await mailbox.first(verdictOf(refused.session, 2));
  assert.equal(overturned.data.verdict.status, 'valid');
  await learner.page.reload();
  await learner.page.getByText('复核结果').first().waitFor();
  await learner.page.getByText('改判为有效').waitFor();

  // On paper: the clause, and the digest on every sheet.
  await wang.open(`/sessions/${refused.session}/print`);
  await wang.heading('学习会话核查单').waitFor();
  await wang.sees('.photos', 2);
  const sheets = await printed(wang, stage.server.folder);
  const face = refused.violations.find(({ rule }) => rule === 'face_liveness');
  const paper = sheets.join('\n').replaceAll(/\s+/g, '');
  assert.ok(paper.includes(face.clause.source.replaceAll(/\s+/g, '')), paper);
  assert.ok(paper.includes(face.clause.text.replaceAll(/\s+/g, '')), paper);
  for (const sheet of sheets) assert.ok(sheet.includes(refused.log_digest), sheet);

  // Whoever watches the watchers finds it all; whoever keeps accounts sees no photo.
  const auditor = await Desk.take(stage, 'zhao', 'auditor');
  await auditor.open('/access-log?kind=decision');
  await auditor.page.getByRole('cell', { name: refused.session }).first().waitFor();
  assert.equal(await auditor.page.getByRole('cell', { name: refused.session }).count(), 2);
  await auditor.open(`/sessions/${refused.session}`);
  await auditor.page.getByText('您的角色可以查看，不能作决定。').waitFor();
  const administrator = await Desk.take(stage, 'qian', 'administrator');
  await administrator.open(`/sessions/${refused.session}`);
  await administrator.page.getByText(/没有找到|您没有权限/).waitFor();

  const answer = await fetch(`${stage.server.url}/console/`);
  const policy = answer.headers.get('content-security-policy');
  assert.match(policy, /script-src 'self';/);
  assert.doesNotMatch(policy, /unsafe/);
  for (const desk of [li, wang, learner, auditor, administrator]) assert.deepEqual(desk.refused, []);
  for (const desk of [li, wang, learner, auditor]) assert.deepEqual(desk.missing, []);
});

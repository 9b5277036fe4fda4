// Pictures of the console for people to look at, and those of the README. The server is the demo's, with what its learners did.
import { mkdir, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { openBrowser } from './lib/browser.mjs';
import { Cleanup } from './lib/cleanup.mjs';
import { Desk } from './lib/console.mjs';
import { Api } from './lib/platform.mjs';
import { ended, run, start } from './lib/process.mjs';
import { binary } from './lib/server.mjs';
import { tour } from './lib/tour.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = join(root, 'target/screenshots');
const pictures = join(root, 'docs/pictures');
/** What GitHub shows without a wait: bytes of one picture, and of all. */
const PICTURE_LIMIT = 150_000;
const PICTURES_LIMIT = 600_000;

/** What learners who were refused say to that. */
const STATEMENTS = [
  '登记照是十年前的，现在戴眼镜、换了发型，本人可以到场核对。',
  '当天停电，用手机热点上课，网络断断续续，请核对平台的记录。',
  '孩子点了鼠标，我马上退回来重新看了一遍。',
];

/** How many begin at once, at least: the others are there by then. */
const LEARNERS = 14;

/** Names that nobody has who takes part. */
const NAMES =
  '李晓明 王建国 张伟 陈丽华 赵敏 孙志强 周芳 吴海军 郑秀英 刘洋 黄志远 徐静 马超 朱琳 胡兵 郭晓东 何燕 高峰'.split(
    ' ',
  );

/** The demo, and what it says line by line. */
class Demo {
  static async start(cleanup) {
    const demo = new Demo();
    demo.folder = await mkdtemp(join(tmpdir(), 'invigil-pictures-'));
    cleanup.defer(() => rm(demo.folder, { recursive: true, force: true }));
    const args = ['demo', '--models', join(root, 'models/cache')];
    const env = { ...process.env, TMPDIR: demo.folder };
    const child = start(binary, args, { cwd: root, env, stdio: ['ignore', 'inherit', 'pipe'] });
    cleanup.defer(async () => {
      child.kill('SIGTERM');
      await ended(child);
    });
    demo.over = new Promise((resolve, reject) => {
      demo.serving = new Promise((serving) => {
        createInterface({ input: child.stderr }).on('line', (line) => {
          console.log(line);
          const address = /^serving at (http:\S+?),/.exec(line);
          if (address) serving(address[1]);
          if (line.startsWith('still serving')) resolve();
        });
      });
      child.once('exit', (code) => reject(new Error(`the demo ended with ${code}`)));
    });
    demo.url = await Promise.race([demo.serving, demo.over.then(() => demo.serving)]);
    return demo;
  }

  /** As whoever runs the server. */
  async operator() {
    for (const name of await readdir(this.folder)) {
      const key = await readFile(join(this.folder, name, 'data/operator.key'), 'utf8').catch(() => null);
      const operator = key && new Api(this.url, key.trim());
      // The course page beside it has a server and a key of its own.
      if (operator && (await operator.send('GET', '/accounts').catch(() => null))) return operator;
    }
    throw new Error(`no key of the operator in ${this.folder}`);
  }
}

/** The demo gives its learners no names; a platform does. */
async function nameAll(operator) {
  const known = new Set();
  while (known.size < LEARNERS) {
    for (const { learner } of (await operator.send('GET', '/sessions?limit=100')).items) known.add(learner);
    await delay(200);
  }
  for (const [index, learner] of [...known].entries()) {
    await operator.send('PUT', `/learners/${learner}/person`, { name: NAMES[index % NAMES.length] });
  }
}

/** Nobody can be known: a face is a few grey squares. The photos of the demo are of real people. */
function mosaic() {
  const SQUARES = 14;
  const photos = [...document.querySelectorAll('.photo img:not([data-mosaic])')];
  return Promise.all(
    photos.map(async (photo) => {
      await photo.decode();
      const canvas = document.createElement('canvas');
      const scale = SQUARES / Math.max(photo.naturalWidth, photo.naturalHeight);
      canvas.width = Math.round(photo.naturalWidth * scale);
      canvas.height = Math.round(photo.naturalHeight * scale);
      const context = canvas.getContext('2d');
      context.imageSmoothingQuality = 'high';
      context.filter = 'grayscale(1)';
      context.drawImage(photo, 0, 0, canvas.width, canvas.height);
      const blob = await new Promise((resolve) => canvas.toBlob(resolve));
      photo.dataset.mosaic = '';
      photo.style.imageRendering = 'pixelated';
      photo.src = URL.createObjectURL(blob);
      await photo.decode();
    }),
  );
}

/** All photos that can be seen are there, or their reason not to be. */
function photosArrive() {
  const isSeen = (element) => {
    const { left, right, top, bottom } = element.getBoundingClientRect();
    return element === document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
  };
  return new Promise((resolve) => {
    const look = () => {
      if ([...document.querySelectorAll('.photo .skeleton')].some(isSeen)) requestAnimationFrame(look);
      else resolve();
    };
    look();
  });
}

/** A picture of the whole page, or of what is seen first. */
async function take(desk, name, { width = 1280, height = 800, whole = true, masked = false, file } = {}) {
  const { page } = desk;
  await page.setViewportSize({ width, height });
  // What is far below is fetched only when it is in view.
  const tall = await page.evaluate(() => document.documentElement.scrollHeight);
  if (whole) await page.setViewportSize({ width, height: Math.max(height, tall) });
  await page.evaluate(photosArrive);
  if (masked) await page.evaluate(mosaic);
  await page.evaluate(() => document.activeElement?.blur());
  const path = file ?? join(folder, `${name}.png`);
  await page.screenshot({ path });
  return path;
}

/** A picture for the README: few colours, few bytes. */
async function keep(desk, name, language, options) {
  const draft = join(folder, `${name}.${language}.draft.png`);
  await take(desk, name, { ...options, whole: options.whole ?? false, masked: true, file: draft });
  const path = join(pictures, `${name}.${language}.png`);
  const palette = 'split[a][b];[a]palettegen=max_colors=128:stats_mode=single[p];[b][p]paletteuse=dither=none';
  await run('ffmpeg', ['-nostdin', '-loglevel', 'error', '-y', '-i', draft, '-vf', palette, path]);
  await rm(draft);
  const { size } = await stat(path);
  if (size > PICTURE_LIMIT) throw new Error(`${path} has ${size} bytes, more than ${PICTURE_LIMIT}`);
  return size;
}

const cleanup = new Cleanup();
try {
  await mkdir(folder, { recursive: true });
  await mkdir(pictures, { recursive: true });
  const demo = await Demo.start(cleanup);
  const operator = await demo.operator();
  const context = await openBrowser(cleanup, 'absent');
  const stage = { server: demo, platform: { operator }, context, cleanup };
  await nameAll(operator);
  const supervisor = await Desk.take(stage, 'li', 'supervisor');
  const second = await Desk.take(stage, 'wang', 'supervisor');
  const auditor = await Desk.take(stage, 'zhao', 'auditor');
  const administrator = await Desk.take(stage, 'qian', 'administrator');
  const nobody = await Desk.sit(stage, { width: 1280, height: 800 });
  let bytes = 0;

  // While they learn.
  await supervisor.arrive('/live');
  await supervisor.page.locator('.card .tone-bad').nth(1).waitFor();
  bytes += await keep(supervisor, 'live', 'zh-CN', { height: 640 });
  await supervisor.speaks('en');
  bytes += await keep(supervisor, 'live', 'en', { height: 640 });
  await supervisor.speaks('zh-CN');
  await demo.over;

  // Some of those who were refused answer back, so that there is something to do.
  const { items } = await operator.send('GET', '/sessions?limit=100');
  const keys = new Map();
  const refused = [];
  for (const { id, platform, learner } of items) {
    const { status, violations } = await operator.send('GET', `/sessions/${id}/verdict`);
    if (status !== 'invalid') continue;
    if (!keys.has(platform)) {
      const { key } = await operator.send('POST', `/platforms/${platform}/keys`, { label: 'pictures' });
      keys.set(platform, new Api(demo.url, key));
    }
    const { url } = await keys.get(platform).send('POST', `/sessions/${id}/appeal-link`, {});
    refused.push({ id, platform, learner, token: new URL(url).hash.slice(1), violations });
  }
  const isSatFor = ({ violations }) => violations.some(({ cause }) => cause === 'mismatch');
  const session = refused.find(isSatFor);
  const jumped = refused.find(({ violations }) => violations.some(({ cause }) => cause === 'seek'));
  const appealing = refused.filter((one, index) => one === session || one === jumped || index % 3 > 0);
  for (const [index, one] of appealing.entries()) {
    const { token } = one;
    const statement = one === session ? STATEMENTS[0] : STATEMENTS[index % STATEMENTS.length];
    const headers = { authorization: `Appeal ${token}`, 'content-type': 'application/json' };
    const body = JSON.stringify({ statement, attachments: [] });
    const answer = await fetch(`${demo.url}/api/v1/appeal`, { method: 'POST', headers, body });
    if (!answer.ok) throw new Error(`an appeal was refused: ${await answer.text()}`);
  }
  // One has been proposed, and one decided by two.
  const others = appealing.filter((one) => one !== session && one !== jumped);
  for (const [desk, { id }] of [
    [second, jumped],
    [second, others[0]],
    [supervisor, others[0]],
  ]) {
    await desk.arrive(`/sessions/${id}`);
    await desk.page.keyboard.press('d');
    await desk.page.keyboard.press('2');
    await desk.page.keyboard.press('Enter');
    await desk.page
      .getByText(/已提议：|已记录：/)
      .first()
      .waitFor();
  }

  for (const language of ['zh-CN', 'en']) {
    for (const [name, desk, path, options] of [
      ['queue', supervisor, '/queue?tab=appeals', { height: 720 }],
      ['session', supervisor, `/sessions/${session.id}`, { height: 1000 }],
      ['appeal', nobody, `/appeal#${session.token}`, { width: 860, height: 900 }],
    ]) {
      await desk.arrive(path);
      await desk.speaks(language);
      bytes += await keep(desk, name, language, options);
      await desk.speaks('zh-CN');
    }
  }
  console.log(`${pictures}: ${bytes} of ${PICTURES_LIMIT} bytes`);
  if (bytes > PICTURES_LIMIT) throw new Error('the pictures of the README have grown too big');

  const [{ label: policy }] = await operator.send('GET', '/policies');
  const staff = await Desk.take(stage, 'sun', 'staff', { more: { platform: session.platform } });
  const desks = { nobody, supervisor, auditor, administrator, staff };
  const things = {
    session: session.id,
    learner: session.learner,
    platform: session.platform,
    policy,
    token: session.token,
  };
  const pages = [
    ...tour(desks, things),
    ['session-jump', supervisor, `/sessions/${jumped.id}`],
    [
      'session-large',
      supervisor,
      `/sessions/${session.id}`,
      (page) => page.getByRole('button', { name: '放大对照' }).click(),
    ],
    ['decision', supervisor, `/sessions/${session.id}`, (page) => page.keyboard.press('d')],
    ['keys', supervisor, '/queue', (page) => page.keyboard.press('?')],
    ['evidence', supervisor, '/findings', (page) => page.locator('summary').first().click()],
    ['second-step', supervisor, '/account', (page) => page.getByRole('button', { name: /开启|Turn on/ }).click()],
  ];
  const wanted = process.argv.slice(2);
  for (const [name, desk, path, then] of pages.filter(([name]) => wanted.length === 0 || wanted.includes(name))) {
    const whole = !/^(queue|login|keys)/.test(name);
    await desk.arrive(path);
    await then?.(desk.page);
    await take(desk, `${name}.1280`, { whole });
    await take(desk, `${name}.1920`, { whole, width: 1920, height: 1080 });
    await take(desk, `${name}.phone`, { whole, width: 390, height: 844 });
    await desk.page.emulateMedia({ colorScheme: 'dark' });
    await take(desk, `${name}.dark`, { whole });
    await desk.page.emulateMedia({ colorScheme: 'light' });
    // A dialog keeps one from what is behind it.
    if (name === 'keys') continue;
    await desk.speaks('en');
    await take(desk, `${name}.en`, { whole });
    await desk.speaks('zh-CN');
  }
} finally {
  await cleanup.run();
}

// Debian's Chromium, with a film for a camera.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { ended, start } from './process.mjs';

const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';

function flags(camera, permits) {
  const flags = [
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--no-first-run',
    '--mute-audio',
  ];
  // Chromium's own sandbox does not work for root.
  if (process.getuid() === 0) flags.push('--no-sandbox');
  const answer = camera === 'refused' ? '=deny' : '';
  if (!permits) flags.push(`--use-fake-ui-for-media-stream${answer}`);
  flags.push(`--use-fake-device-for-media-stream${camera === 'absent' ? '=device-count=0' : ''}`);
  if (camera.startsWith('/')) flags.push(`--use-file-for-fake-video-capture=${camera}`);
  return flags;
}

/**
 * A browser as Playwright keeps it: every page believes itself visible and focused. `permits`: pages have the camera by
 * a permission of the context, which can be withdrawn; otherwise the browser says yes to whoever asks.
 */
export async function openBrowser(cleanup, camera, permits) {
  const browser = await chromium.launch({ executablePath, args: flags(camera, permits) });
  cleanup.defer(() => browser.close());
  const context = await browser.newContext({ locale: 'zh-CN', viewport: { width: 1000, height: 760 } });
  if (permits) await context.grantPermissions(['camera']);
  return context;
}

/** A browser as a person keeps it: a page that goes behind another is hidden. */
export async function openRealBrowser(cleanup, camera) {
  const profile = await mkdtemp(join(tmpdir(), 'invigil-chromium-'));
  const args = [
    ...flags(camera),
    `--user-data-dir=${profile}`,
    '--remote-debugging-port=0',
    '--headless=new',
    '--window-size=1000,760',
    '--lang=zh-CN',
    'about:blank',
  ];
  const child = start(executablePath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  cleanup.defer(async () => {
    child.kill('SIGKILL');
    await ended(child);
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  });
  const address = await new Promise((resolve, reject) => {
    let said = '';
    child.stderr.on('data', (text) => {
      said += text;
      const found = /DevTools listening on (ws:\S+)/.exec(said);
      if (found) resolve(found[1]);
    });
    child.once('exit', () => reject(new Error(`Chromium ended: ${said}`)));
  });
  const browser = await chromium.connectOverCDP(address, { noDefaults: true });
  cleanup.defer(() => browser.close());
  return browser.contexts()[0];
}

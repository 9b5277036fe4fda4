// One scenario: its stage is set before it, struck after it, and what its page said is shown when it fails.
import { join } from 'node:path';
import { test } from 'node:test';
import { Cleanup } from './cleanup.mjs';
import { Stage } from './stage.mjs';

/** `play` gets a stage that was set with `options`. */
export function scenario(name, options, play) {
  test(name, { timeout: 420_000 }, async (context) => {
    const cleanup = new Cleanup();
    let stage;
    try {
      stage = await Stage.set(cleanup, options);
      await play(stage);
    } catch (error) {
      await tell(stage, context).catch(() => {});
      throw error;
    } finally {
      await cleanup.run();
    }
  });
}

/** Every page that is open, in the folder that was asked for. */
async function picture(stage, context) {
  const pages =
    stage?.context
      .browser()
      .contexts()
      .flatMap((of) => of.pages()) ?? [];
  for (const [index, page] of pages.entries()) {
    const path = join(process.env.E2E_PICTURES, `${context.name.replaceAll(/\W+/g, '-')}-${index}.png`);
    await page.screenshot({ path, fullPage: true });
    context.diagnostic(`picture: ${path}`);
  }
}

/** What happened, for whoever reads why a scenario failed. */
async function tell(stage, context) {
  for (const line of stage?.server.log.slice(-5) ?? []) context.diagnostic(`server: ${line}`);
  if (process.env.E2E_PICTURES) await picture(stage, context);
  for (const page of stage?.context.pages() ?? []) {
    const happened = await page
      .evaluate(() => ({ happened: window.happened, state: window.proctor?.state }))
      .catch(() => null);
    for (const { name, detail } of happened?.happened ?? [])
      context.diagnostic(`page: ${name} ${JSON.stringify(detail).slice(0, 300)}`);
    if (happened) context.diagnostic(`state: ${JSON.stringify(happened.state).slice(0, 600)}`);
  }
}

/** The rules that a verdict names, each once. */
export const rules = (verdict) =>
  [...new Set(verdict.violations.map(({ rule, cause }) => (cause ? `${rule}/${cause}` : rule)))].sort();

/** Events of one type in a log. */
export const events = (log, type) => log.filter((event) => event.type === type).map(({ data }) => data);

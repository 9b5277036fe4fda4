// People at the console: accounts, browsers, and what a page must never do.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';

const axe = readFile(new URL(import.meta.resolve('axe-core/axe.min.js')), 'utf8');
const LANGUAGES = ['zh-CN', 'en'];
const SCHEMES = ['light', 'dark'];
const PASSWORD = 'correct-horse-battery';

/** Where the platform's webhooks arrive. */
export class Mailbox {
  #heard = [];
  #waiting = [];

  static async open(cleanup) {
    const mailbox = new Mailbox();
    const listener = createServer(async (request, response) => {
      const chunks = [];
      for await (const chunk of request) chunks.push(chunk);
      mailbox.#take(JSON.parse(Buffer.concat(chunks).toString()));
      response.writeHead(204).end();
    });
    await new Promise((resolve) => listener.listen(0, '127.0.0.1', resolve));
    cleanup.defer(() => {
      listener.closeAllConnections();
      listener.close();
    });
    mailbox.url = `http://127.0.0.1:${listener.address().port}/`;
    return mailbox;
  }

  #take(event) {
    this.#heard.push(event);
    for (const look of this.#waiting) look();
  }

  /** The first event for which `holds`, now or as soon as it comes. */
  first(holds) {
    return new Promise((resolve) => {
      const look = () => {
        const found = this.#heard.find(holds);
        if (found) resolve(found);
      };
      this.#waiting.push(look);
      look();
    });
  }
}

export class Desk {
  /** words of the content policy that pages were refused by; there must be none */
  refused = [];
  /** what pages asked for and is not there; a page that is led to by another finds all */
  missing = [];

  /** Somebody with an account, in a browser of their own. */
  static async take(stage, name, role, { more = {}, viewport = { width: 1280, height: 800 } } = {}) {
    await stage.platform.operator.send('POST', '/accounts', { name, role, password: PASSWORD, ...more });
    const desk = await Desk.sit(stage, viewport);
    desk.name = name;
    await desk.open('/');
    await desk.page.getByLabel('账号').fill(name);
    await desk.page.getByLabel('密码').fill(PASSWORD);
    await desk.page.keyboard.press('Enter');
    await desk.page.getByRole('navigation', { name: '主导航' }).waitFor();
    return desk;
  }

  /** Somebody without one: a learner with a link. */
  static async sit(stage, viewport) {
    const desk = new Desk();
    desk.base = `${stage.server.url}/console`;
    const context = await stage.context.browser().newContext({ locale: 'zh-CN', viewport });
    stage.cleanup.defer(() => context.close());
    desk.page = await context.newPage();
    desk.page.setDefaultTimeout(30_000);
    desk.page.on('console', (message) => {
      if (/Content Security Policy/i.test(message.text())) desk.refused.push(message.text());
    });
    desk.page.on('response', (answer) => {
      if (answer.status() === 404) desk.missing.push(answer.url());
    });
    desk.page.on('pageerror', (error) => desk.refused.push(error.message));
    return desk;
  }

  async open(path) {
    await this.page.goto(this.base + path);
  }

  /** Opens a page and returns once it is there. */
  async arrive(path) {
    // Where only what stands behind the # differs, nothing would be loaded.
    await this.page.goto('about:blank');
    await this.open(path);
    await this.page.getByRole('heading', { level: 1 }).first().waitFor();
    await this.page
      .getByRole('status', { name: /正在加载|Loading/ })
      .first()
      .waitFor({ state: 'detached' });
  }

  /** Presses keys one after the other, before the page is painted again: each is meant for what the one before has chosen. */
  async types(...keys) {
    await this.page.evaluate(() => {
      window.framesOf = window.requestAnimationFrame;
      window.requestAnimationFrame = () => 0;
    });
    for (const key of keys) await this.page.keyboard.press(key);
    await this.page.evaluate(() => {
      window.requestAnimationFrame = window.framesOf;
    });
  }

  heading(name) {
    return this.page.getByRole('heading', { name, exact: true });
  }

  /** Every picture within `place` is there. */
  async sees(place, count) {
    const pictures = this.page.locator(place).locator('img');
    await pictures.nth(count - 1).waitFor();
    for (let index = 0; index < count; index += 1) {
      assert.ok((await pictures.nth(index).evaluate((image) => image.decode().then(() => image.naturalWidth))) > 100);
    }
  }

  /** What stands in the way of whoever cannot see, or has no mouse: in either language, by day and by night. */
  async obstacles(languages = LANGUAGES) {
    const found = [];
    for (const language of languages) {
      await this.speaks(language);
      for (const colorScheme of SCHEMES) {
        await this.page.emulateMedia({ colorScheme });
        await this.page.evaluate(await axe);
        const { violations } = await this.page.evaluate(() => window.axe.run(document));
        for (const { id, nodes } of violations)
          found.push(`${language}, ${colorScheme}: ${id}: ${nodes[0].target} (${nodes.length})`);
      }
    }
    await this.speaks(languages[0]);
    await this.page.emulateMedia({ colorScheme: 'light' });
    return found;
  }

  /** Has the page in a language. */
  async speaks(language) {
    const html = this.page.locator(`html[lang="${language}"]`);
    if ((await html.count()) === 0) {
      await this.page.getByRole('button', { name: language === 'en' ? 'English' : '中文' }).click();
    }
    await html.waitFor({ state: 'attached' });
  }

  async isAccessible(what) {
    assert.deepEqual(await this.obstacles(), [], what);
  }
}

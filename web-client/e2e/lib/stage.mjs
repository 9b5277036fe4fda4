// All that a scenario needs: server, platform, site, learner, browser; and what a learner does with a page.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openBrowser, openRealBrowser } from './browser.mjs';
import { ENROLLED, Films, portrait } from './films.mjs';
import { isRight, Platform } from './platform.mjs';
import { Wire } from './proxy.mjs';
import { Server } from './server.mjs';
import { Site } from './site.mjs';

// `run.mjs` has one for all scenarios; one that is run by itself makes its own.
const folder = process.env.E2E_FILMS ?? mkdtempSync(join(tmpdir(), 'invigil-films-'));
if (!process.env.E2E_FILMS) process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
const films = new Films(folder);

/** How long a scenario waits for something that must come, ms. Not a measure: only a bound, for a machine that is busy. */
const PATIENCE_MS = 120_000;

export class Stage {
  /**
   * `camera`: a film (see `films.mjs`), `absent` or `refused`; `label`: what the camera is called; `lessonS`: length of
   * the lesson; `pack`: what differs in the pack; `stream`: there is the lesson as a stream, too; `wired`: the page
   * reaches the server through a wire that can be cut; `real`: the browser hides pages that are behind others;
   * `permits`: the camera is permitted, and the permission can be withdrawn.
   */
  static async set(cleanup, { camera = 'learner', label, lessonS = 30, pack, stream, wired, real, permits } = {}) {
    const stage = new Stage();
    stage.cleanup = cleanup;
    const isFilm = !['absent', 'refused'].includes(camera);
    const [film, lesson, pieces, server, site] = await Promise.all([
      !isFilm ? camera : label ? films.cameraCalled(label, camera) : films.camera(camera),
      films.lesson(lessonS),
      stream && films.stream(lessonS),
      Server.start(cleanup, pack),
      Site.open(cleanup),
    ]);
    const platform = await Platform.join(server, { lessonMs: lessonS * 1000, origins: [site.origin] });
    const learner = await platform.enrol(portrait(ENROLLED), '李晓明');
    const wire = wired ? await Wire.to(server.address, cleanup) : null;
    site.teach({ platform, learner, film: lesson, stream: pieces, server, wire: wire?.address });
    const context = await (real ? openRealBrowser : openBrowser)(cleanup, film, permits);
    return Object.assign(stage, { server, site, platform, learner, wire, context });
  }

  /** A course page, loaded. `before` is a script that runs in it before any other. */
  async page({ before, ...parameters } = {}) {
    const page = await this.context.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    if (before) await page.addInitScript(before);
    const visit = new Visit(page, this);
    await visit.load(parameters);
    return visit;
  }

  /** Another course of the same learner, at `?course=second`. */
  async secondCourse() {
    this.site.second = await this.platform.further();
    await this.site.second.admit(this.learner);
  }

  /** The verdict and the log of a session that has ended. */
  async outcome(session) {
    const verdict = await this.platform.verdict(session);
    return { verdict, log: await this.platform.log(session) };
  }
}

/** The times of the photos in a binary message of docs/protocol.md, ms after the first. */
function submission(message) {
  const bytes = message.subarray(4 + message.readUInt32BE(0));
  if (bytes.toString('latin1', 0, 4) !== 'IVB1') return [0];
  const times = [];
  for (let at = 5; at < bytes.length; at += 8 + bytes.readUInt32BE(at + 4)) times.push(bytes.readUInt32BE(at));
  assert.equal(times.length, bytes[4]);
  return times;
}

/** A learner at a course page. */
export class Visit {
  constructor(page, stage) {
    this.page = page;
    this.stage = stage;
    this.errors = [];
    /** what was sent for captures, in order */
    this.submissions = [];
    page.on('websocket', (socket) =>
      socket.on(
        'framesent',
        ({ payload }) => typeof payload !== 'string' && this.submissions.push(submission(payload)),
      ),
    );
    page.on('pageerror', (error) => this.errors.push(error.message));
    page.on('console', (message) => {
      if (/Content Security Policy/i.test(message.text())) this.errors.push(message.text());
      if (process.env.E2E_LOUD) console.error(`page: ${message.text()}`);
    });
  }

  async load(parameters = {}) {
    this.address = `${this.stage.site.course}?${new URLSearchParams(parameters)}`;
    await this.page.goto(this.address);
    await this.#arrive();
  }

  async #arrive() {
    await this.page.waitForSelector('html[data-ready]', { state: 'attached' });
  }

  async reload() {
    await this.page.reload();
    await this.#arrive();
  }

  /** Presses the button and agrees to what is asked; returns once the lesson plays. */
  async begin() {
    await this.page.click('#begin');
    await this.until(
      (proctor) =>
        proctor.state.phase === 'consent' ||
        proctor.state.phase === 'running' ||
        window.happened.some(({ name }) => name === 'failed'),
    );
    if (await this.see((proctor) => proctor.state.phase === 'consent')) await this.agree();
    await this.until((proctor) => proctor.state.playing);
  }

  async agree() {
    await this.page.locator('invigil-prompt button.main').click();
  }

  /** Whether `condition` (a function of the proctor, in the page) holds; or what it gives. */
  see(condition, argument) {
    const text = `(${condition})(window.proctor, ${JSON.stringify(argument)})`;
    return this.page.evaluate(text);
  }

  /** Returns once it holds. It is looked at whenever something changes; the page's own policy forbids to poll with `eval`. */
  async until(condition, argument, patienceMs = PATIENCE_MS) {
    const holds = `(${condition})(window.proctor, ${JSON.stringify(argument)})`;
    const waiting = this.page.evaluate(`new Promise((resolve) => {
      if (${holds}) return resolve();
      const stop = window.onChange(() => {
        if (!(${holds})) return;
        stop();
        resolve();
      });
    })`);
    let timer;
    const late = new Promise((_, reject) => {
      if (patienceMs === null) return;
      timer = setTimeout(
        () => reject(new Error(`it never came to this: ${condition} ${JSON.stringify(argument) ?? ''}`)),
        patienceMs,
      );
    });
    await Promise.race([waiting, late]).finally(() => clearTimeout(timer));
  }

  /** Returns once the page has been told `name` for the `times`th time, with `detail` if one is given. */
  hears(name, detail = {}, times = 1) {
    const heard = (_, [name, detail, times]) =>
      window.happened.filter(
        (event) => event.name === name && Object.entries(detail).every(([key, value]) => event.detail?.[key] === value),
      ).length >= times;
    return this.until(heard, [name, detail, times]);
  }

  happened() {
    return this.page.evaluate(() => window.happened);
  }

  /** Answers every question that comes, until the session has ended or the page is gone. */
  async answerAll() {
    try {
      for (;;) {
        await this.until((proctor) => proctor.state.prompt !== null || proctor.state.phase === 'ended', null, null);
        if (await this.see((proctor) => proctor.state.phase === 'ended')) return;
        await this.answer();
      }
    } catch (error) {
      // A scenario that failed has closed it; why it failed is said there.
      if (!this.page.isClosed()) throw error;
    }
  }

  /** Chooses the right option of the question that is shown. */
  async answer() {
    const shown = await this.see((proctor) => proctor.state.prompt);
    // It was closed meanwhile: by its deadline, or because the session ended.
    if (shown === null) return;
    const { prompt, options } = shown;
    const option = this.page
      .locator('invigil-prompt')
      .getByRole('button', { name: options.find(isRight), exact: true });
    // It may be closed under our hand.
    const closed = this.until((proctor, prompt) => proctor.state.prompt?.prompt !== prompt, prompt);
    await Promise.race([option.click().then(() => closed), closed]);
  }

  /** Returns the server's verdict once the session has ended in this page. */
  async ends() {
    await this.until((proctor) => proctor.state.phase === 'ended');
    return this.stage.outcome(await this.see((proctor) => proctor.state.session));
  }

  async stop() {
    await this.see((proctor) => void proctor.stop());
    return this.ends();
  }
}

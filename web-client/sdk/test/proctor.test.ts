// @vitest-environment happy-dom
import { IDBFactory } from 'fake-indexeddb';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { ProctorOptions, TokenRequest } from '../src/options.js';
import { Proctor } from '../src/proctor.js';
import { captureNatives } from '../src/realm.js';
import { MEMORY_ONLY } from '../src/store.js';
import { FakeSocket, Film, ManualClock, settle, useFakeSockets, WELCOME } from './world.js';
import '../src/ui/index.js';

const ACCESS = { session: 's1', token: 'ivt_1', url: 'ws://server.test/v1/stream' };
let clock: ManualClock;
let film: Film;
let proctor: Proctor;
let requests: TokenRequest[];
let events: string[];

function make(options: Partial<ProctorOptions> = {}): Proctor {
  const getToken = async (request: TokenRequest) => {
    requests.push(request);
    return ACCESS;
  };
  const natives = { ...captureNatives(window as never), now: () => clock.nowMs, wall: () => clock.wallMs };
  Object.assign(natives, { visible: () => true, focused: () => true, hasFocus: () => document.hasFocus() });
  performance.now = () => clock.nowMs;
  const environment = { natives, clock, random: () => 0.5, store: MEMORY_ONLY };
  const made = new Proctor({ getToken, ui: false, camera: false, consent: false, ...options }, environment);
  for (const name of ['prompt', 'prompt.closed', 'warning', 'ended', 'notice'] as const) {
    made.on(name, (event) => events.push(`${name} ${JSON.stringify(event)}`));
  }
  made.on('error', ({ code, field }) => events.push(`error ${code} ${field}`));
  return made;
}

beforeEach(() => {
  globalThis.indexedDB = new IDBFactory();
  sessionStorage.clear();
  useFakeSockets();
  clock = new ManualClock();
  film = new Film(clock);
  requests = [];
  events = [];
  Object.defineProperty(document, 'hidden', { get: () => false, configurable: true });
  Object.defineProperty(document, 'visibilityState', { get: () => 'visible', configurable: true });
});
afterEach(() => {
  proctor.dispose();
  document.body.replaceChildren();
});

/** The server's part until the welcome. */
async function welcomed(welcome: object = {}): Promise<void> {
  await vi.waitFor(() => expect(proctor.state.link).toBe('connecting'));
  FakeSocket.newest.say({ type: 'challenge', nonce: 'n', server: 'invigil/0' });
  await vi.waitFor(() => expect(FakeSocket.newest.sent.length).toBeGreaterThan(0));
  FakeSocket.newest.take();
  FakeSocket.newest.say({ ...WELCOME, ...welcome });
  await settle();
}

/** As whoever writes a course page would. */
async function begin(options: Partial<ProctorOptions> = {}, welcome: object = {}): Promise<void> {
  proctor = make(options);
  proctor.attach(film);
  const started = proctor.start();
  await welcomed(welcome);
  await started;
}

const sent = () => FakeSocket.newest.take() as { type: string; data: Record<string, unknown> }[];
const PROMPT = {
  type: 'prompt',
  prompt: 'q1',
  kind: 'choice',
  text: '2 + 2',
  options: ['3', '4'],
  answer_within_ms: 30_000,
};

describe('proctor', () => {
  it('keeps the film paused until the welcome, and then reports it', async () => {
    proctor = make();
    proctor.attach(film);
    film.play();
    const started = proctor.start();
    await vi.waitFor(() => expect(proctor.state.phase).toBe('connecting'));
    expect([film.running, proctor.state.holds, proctor.state.phase]).toEqual([false, ['starting'], 'connecting']);
    await welcomed({ duration_ms: 100_000 });
    await started;
    expect(film.running).toBe(true);
    expect(proctor.state).toMatchObject({
      phase: 'running',
      session: 's1',
      link: 'up',
      durationMs: 100_000,
      holds: [],
    });
    expect(Object.isFrozen(proctor.state)).toBe(true);
    expect(sent().map(({ type }) => type)).toEqual(['page', 'windows', 'playback']);
    expect(requests).toEqual([{ reason: 'start', session: null }]);
  });

  it('is closed to scripts of the page, and left alone by frameworks that would wrap it', async () => {
    await begin();
    expect(Object.keys(proctor)).toEqual(['options']);
    expect(Object.isExtensible(proctor)).toBe(false);
    expect(() => Object.assign(proctor, { state: {} })).toThrow(TypeError);
    expect(Object.keys(proctor.options)).toContain('getToken');
  });

  it('says which method came too early, twice, or too late', async () => {
    await begin();
    await expect(proctor.start()).rejects.toMatchObject({ code: 'wrong_order' });
    proctor.dispose();
    expect(() => proctor.attach(film)).toThrow(/disposed/);
    await expect(proctor.start()).rejects.toMatchObject({ code: 'wrong_order' });
    proctor = make();
    await expect(proctor.stop()).rejects.toMatchObject({ code: 'wrong_order' });
    expect(() => proctor.attach('#nowhere')).toThrow(/no <video> was found/);
  });

  it('lets a start fail with what the platform has done wrong, and be tried again', async () => {
    proctor = make({
      getToken: async () => {
        throw new Error('500');
      },
    });
    await expect(proctor.start()).rejects.toMatchObject({ code: 'token_failed' });
    expect([proctor.state.phase, proctor.state.holds, events]).toEqual(['idle', [], ['error token_failed null']]);
    await expect(proctor.start()).rejects.toMatchObject({ code: 'token_failed' });
  });

  it('tells whom the server refuses why, and what to do', async () => {
    proctor = make();
    const started = proctor.start();
    await vi.waitFor(() => expect(FakeSocket.all).toHaveLength(1));
    FakeSocket.newest.say({
      type: 'error',
      code: 'origin_refused',
      field: null,
      detail: '',
      retry_after_ms: null,
      capture: null,
    });
    await expect(started).rejects.toThrow(/platform\/origins/);
    expect(proctor.state).toMatchObject({ phase: 'ended', ending: { code: 'origin_refused' } });
  });

  it('shows a prompt, sends its answer once, and tells how it went', async () => {
    await begin();
    sent();
    FakeSocket.newest.say(PROMPT);
    expect(proctor.state.prompt).toMatchObject({ prompt: 'q1', options: ['3', '4'], picture: null });
    proctor.answer('q0', '4');
    proctor.answer('q1', '4');
    proctor.answer('q1', '3');
    expect(sent()).toMatchObject([{ type: 'prompt.answered', data: { prompt: 'q1', answer: '4' } }]);
    expect(proctor.state.prompt).toBeNull();
    FakeSocket.newest.say({ type: 'prompt.closed', prompt: 'q1', outcome: 'passed' });
    expect(events.at(-1)).toContain('passed');
  });

  it('stops the film when a prompt goes unanswered, until the learner is there', async () => {
    await begin();
    film.play();
    FakeSocket.newest.say(PROMPT);
    FakeSocket.newest.say({ type: 'prompt.closed', prompt: 'q1', outcome: 'expired' });
    expect([film.running, proctor.state.holds, proctor.state.awaitsReady]).toEqual([false, ['unanswered'], true]);
    sent();
    proctor.ready();
    await settle();
    expect([film.running, proctor.state.awaitsReady, sent().map(({ type }) => type)]).toEqual([
      true,
      false,
      ['playback'],
    ]);
  });

  it('stops when it is told to, says that the learner is there, and goes on when it may', async () => {
    await begin();
    film.play();
    FakeSocket.newest.say({ type: 'pause', reason: 'wrong_answers' });
    expect([film.running, proctor.state.holds, proctor.state.awaitsReady]).toEqual([false, ['wrong_answers'], true]);
    sent();
    proctor.ready();
    expect(sent()).toEqual([{ type: 'ready' }]);
    FakeSocket.newest.say(PROMPT);
    FakeSocket.newest.say({ type: 'prompt.closed', prompt: 'q1', outcome: 'passed' });
    FakeSocket.newest.say({ type: 'play' });
    expect([film.running, proctor.state.holds]).toEqual([true, []]);
  });

  it('asks for the camera only where photos will be asked for', async () => {
    await begin({ camera: true });
    expect(proctor.state.holds).toEqual(['camera']);
    await expect(proctor.enableCamera()).rejects.toMatchObject({ code: 'camera' });
  });

  it('ends with the verdict, forgets the session, and holds another', async () => {
    await begin();
    film.play();
    await clock.pass(3_000);
    const stopping = proctor.stop('left');
    expect(film.running).toBe(false);
    const events = sent();
    FakeSocket.newest.say({ type: 'ack', seq: events.length });
    expect(sent()).toEqual([{ type: 'close', reason: 'left' }]);
    FakeSocket.newest.say({ type: 'closed', reason: 'left', verdict: { status: 'valid' } });
    expect(await stopping).toEqual({ reason: 'left', verdict: { status: 'valid' }, code: null });
    expect([proctor.state.phase, sessionStorage.getItem('invigil.session')]).toEqual(['ended', null]);
    const started = proctor.start();
    await welcomed();
    await started;
    expect(proctor.state).toMatchObject({ phase: 'running', ending: null });
  });

  it('is completed when the film is through, and left when it is not', async () => {
    await begin({}, { duration_ms: 10_000 });
    film.play();
    await clock.pass(9_900);
    void proctor.stop();
    FakeSocket.newest.say({ type: 'ack', seq: sent().length });
    expect(sent()).toEqual([{ type: 'close', reason: 'completed' }]);
  });

  it('asks for the session that this tab held before', async () => {
    await begin();
    proctor.dispose();
    await begin();
    expect(requests.map(({ session }) => session)).toEqual([null, 's1']);
  });

  it('gets a fresh token when the old one is no longer good', async () => {
    await begin();
    FakeSocket.newest.shut(4401);
    await vi.waitFor(() => expect(FakeSocket.all).toHaveLength(2));
    expect(requests.at(-1)).toEqual({ reason: 'expired', session: 's1' });
  });

  it('pauses the film when the network has been silent for 20 s, and lets it go on', async () => {
    await begin();
    film.play();
    await clock.pass(4_000);
    FakeSocket.newest.say({ type: 'ack', seq: 1 });
    await clock.pass(18_000);
    expect([film.running, proctor.state.link]).toEqual([true, 'down']);
    await clock.pass(3_000);
    expect([film.running, proctor.state.holds]).toEqual([false, ['connection']]);
    FakeSocket.newest.say({ type: 'challenge', nonce: 'n', server: 'invigil/0' });
    await vi.waitFor(() => expect(FakeSocket.newest.sent.length).toBeGreaterThan(0));
    FakeSocket.newest.say(WELCOME);
    await settle();
    expect([film.running, proctor.state.holds]).toEqual([true, []]);
  });

  it('takes up its connection when it comes back from where browsers put pages away', async () => {
    await begin();
    window.dispatchEvent(Object.assign(new Event('pageshow'), { persisted: false }));
    expect(FakeSocket.all).toHaveLength(1);
    window.dispatchEvent(Object.assign(new Event('pageshow'), { persisted: true }));
    expect(FakeSocket.all).toHaveLength(2);
  });

  it('says where the player stood when the page goes', async () => {
    await begin();
    film.play();
    await clock.pass(1_500);
    sent();
    window.dispatchEvent(new Event('pagehide'));
    expect(sent()).toMatchObject([{ type: 'playback', data: { event: 'pause', pos_ms: 1_500 } }]);
  });

  it('does not let a listener that throws stop anything', async () => {
    await begin();
    const thrown: unknown[] = [];
    globalThis.queueMicrotask = (work: () => void) => {
      try {
        work();
      } catch (error) {
        thrown.push(error);
      }
    };
    proctor.on('prompt', () => {
      throw new Error('of the page');
    });
    FakeSocket.newest.say(PROMPT);
    expect([proctor.state.prompt?.prompt, thrown.length]).toEqual(['q1', 1]);
  });
});

describe('consent', () => {
  it('is asked for before anything is sent, and noted with the digest of its text', async () => {
    proctor = make({ consent: 'ask' });
    proctor.on('consent', () => events.push('consent'));
    const started = proctor.start();
    await vi.waitFor(() => expect(proctor.state.phase).toBe('consent'));
    expect([events, FakeSocket.all]).toEqual([['consent'], []]);
    proctor.agree({ text: '同意', language: 'zh-CN' });
    await welcomed();
    await started;
    const digest = '905819e2e3a059a02087855e9f326d05c877c1767ec31dc012c5c44652840230';
    expect(sent()[0]).toMatchObject({ type: 'consent', data: { text_sha256: digest, language: 'zh-CN' } });
  });

  it('can be denied', async () => {
    proctor = make({ consent: 'ask' });
    const started = proctor.start().catch((error) => error.code);
    await vi.waitFor(() => expect(proctor.state.phase).toBe('consent'));
    expect(await proctor.stop('left')).toEqual({ reason: null, verdict: null, code: null });
    expect([await started, FakeSocket.all]).toEqual(['wrong_order', []]);
  });
});

describe('the interface', () => {
  const root = () => document.querySelector('invigil-prompt')!.shadowRoot!;
  const dialog = () => (root().querySelector<HTMLElement>('.veil')!.hidden ? null : root().querySelector('.panel')!);
  const buttons = () => [...dialog()!.querySelectorAll('button')].map(({ textContent }) => textContent);

  it('asks for consent and begins', async () => {
    proctor = make({ ui: async () => {}, consent: 'ask', locale: 'en', texts: { consent_who: 'Our office.' } });
    const started = proctor.start();
    await vi.waitFor(() => expect(dialog()?.textContent).toContain('Our office.'));
    expect(buttons()).toEqual(['Agree and begin', 'Do not agree']);
    dialog()!.querySelector('button')!.click();
    await welcomed();
    await started;
    expect(dialog()).toBeNull();
    expect(root().querySelector('.pill')!.textContent).toContain('Learning is recorded');
  });

  it('shows a prompt for keyboard and screen reader, and gives the focus back', async () => {
    const before = document.body.appendChild(document.createElement('button'));
    before.focus();
    await begin({ ui: async () => {}, locale: 'zh-CN' });
    sent();
    FakeSocket.newest.say(PROMPT);
    const panel = dialog()!;
    expect([panel.getAttribute('role'), panel.getAttribute('aria-modal')]).toEqual(['dialog', 'true']);
    expect(root().querySelector(`#${panel.getAttribute('aria-labelledby')}`)!.textContent).toBe('2 + 2');
    expect(root().activeElement?.id).toBe('title');
    const press = (key: string, shiftKey = false) =>
      root()
        .querySelector('.veil')!
        .dispatchEvent(new KeyboardEvent('keydown', { key, shiftKey, bubbles: true, cancelable: true }));
    press('Tab');
    expect(root().activeElement?.textContent).toBe('3');
    press('Tab', true);
    expect(root().activeElement?.textContent, 'the focus stays inside').toBe('4');
    press('2');
    expect(sent()).toMatchObject([{ type: 'prompt.answered', data: { answer: '4' } }]);
    expect([dialog(), document.activeElement]).toEqual([null, before]);
    FakeSocket.newest.say({ type: 'prompt.closed', prompt: 'q1', outcome: 'passed' });
    expect(root().querySelector('[role=status]')!.textContent).toBe('回答正确');
  });

  it('asks for the result of a sum in digits', async () => {
    vi.stubGlobal('createImageBitmap', () => new Promise(() => {}));
    await begin({ ui: async () => {} });
    FakeSocket.newest.say({ ...PROMPT, kind: 'sum', options: null, picture: 'iVBORw0KGgo=' });
    sent();
    const input = dialog()!.querySelector('input')!;
    expect(root().activeElement).toBe(input);
    input.value = ' 19 ';
    dialog()!
      .querySelector('form')!
      .dispatchEvent(new Event('submit', { cancelable: true }));
    expect(sent()).toMatchObject([{ type: 'prompt.answered', data: { answer: '19' } }]);
  });

  it('says why the film stands still, and asks whether the learner is there', async () => {
    await begin({ ui: async () => {}, locale: 'zh-CN' });
    FakeSocket.newest.say({ type: 'pause', reason: 'wrong_answers' });
    expect(dialog()!.textContent).toContain('连续答错');
    sent();
    dialog()!.querySelector('button')!.click();
    expect(sent()).toEqual([{ type: 'ready' }]);
    FakeSocket.newest.say({ type: 'play' });
    expect(dialog()).toBeNull();
    FakeSocket.newest.say({ type: 'warning', rule: 'multi_window', cause: 'windows' });
    expect(root().querySelector('.toast')!.textContent).toContain('关闭其他学习窗口');
  });

  it('has every text in both languages', async () => {
    const { textsOf } = await import('../src/ui/texts.js');
    const [zh, en] = [await textsOf('zh-CN'), await textsOf('en')];
    expect(Object.keys(en)).toEqual(Object.keys(zh));
    expect(Object.values(en).filter((text) => /\p{Script=Han}/u.test(text))).toEqual([]);
    expect(Object.values(zh).filter((text) => !/\p{Script=Han}/u.test(text))).toEqual([]);
  });
});

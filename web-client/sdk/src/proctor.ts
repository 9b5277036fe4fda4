/** The whole for a page: one object with a state, events and a handful of methods. */

import { Camera, looksVirtual } from './camera.js';
import { Captures } from './captures.js';
import { type Clock, WorkerClock } from './clock.js';
import { Emitter } from './emitter.js';
import { sha256 } from './encoding.js';
import { ProctorError } from './errors.js';
import { Holds } from './holds.js';
import { Lesson } from './lesson.js';
import { checkAccess, checkOptions, type ProctorOptions, type TokenRequest } from './options.js';
import { makePlayer, type Player, type PlayerLike } from './player/adapter.js';
import { captureNatives, type Natives } from './realm.js';
import { beside, deviceId, rememberedSession, rememberSession } from './remember.js';
import { Session } from './session.js';
import type { Ending, ProctorEvents, ProctorState } from './state.js';
import { openStore, type Store } from './store.js';
import { showInterface } from './ui-loader.js';
import { holdSession, Windows } from './windows.js';
import type { CaptureMessage, PromptMessage, ServerMessage, ServerPause, WelcomeMessage } from './wire.js';

/** Now, before other scripts of the page had a chance. */
const NATIVES = typeof document === 'undefined' ? null : captureNatives();

/** What to do after a refusal where the server's own words do not say it. */
const REFUSALS: Record<string, string> = {
  origin_refused: "name this page's origin with PUT /api/v1/platform/origins",
  superseded: 'the session goes on in another window',
  key_mismatch: 'another browser began it, or its key was lost; open a new session',
};

export interface Environment {
  natives: Natives;
  clock: Clock;
  random: () => number;
  store?: Store;
}

export class Proctor {
  #snapshot: ProctorState;
  readonly #events = new Emitter<ProctorEvents>();
  readonly #natives: Natives;
  readonly #clock: Clock;
  readonly #camera: Camera;
  readonly #captures: Captures;
  readonly #holds: Holds;
  readonly #windows = new Windows();
  readonly #random: () => number;
  readonly #unlisten: (() => void)[] = [];
  #store: Store | null;
  #session: Session | null = null;
  #lesson: Lesson | null = null;
  #player: Player | null = null;
  #target: PlayerLike | null = null;
  #releaseSession: () => void = () => {};
  #hideInterface: () => void = () => {};
  #agreed: ((given: { text: string; language: string }) => void) | null = null;
  #started: { resolve: () => void; reject: (error: ProctorError) => void } | null = null;
  #stopping: ((ending: Ending) => void)[] = [];

  constructor(
    /** as they were given */
    readonly options: ProctorOptions,
    /** @internal */
    environment?: Environment,
  ) {
    checkOptions(options);
    const natives = environment?.natives ?? NATIVES;
    if (natives === null) throw new ProctorError('unsupported', 'createProctor: call it in a page, not on a server');
    this.#natives = natives;
    this.#random = environment?.random ?? Math.random;
    this.#store = environment?.store ?? null;
    this.#clock =
      environment?.clock ?? new WorkerClock(natives, this.#workerUrl(), (why) => this.#notice('worker', why));
    this.#camera = new Camera(this.#clock, () => this.#cameraChanged());
    this.#captures = new Captures(this.#camera, this.#clock, {
      submit: async (capture, bytes) => (await this.#session?.submit(capture, bytes)) ?? false,
      changed: (capture) => {
        this.#update({ capture });
        if (capture) this.#events.emit('capture', capture);
        this.#needCamera();
      },
      failed: (error) => this.#notice('capture', String(error)),
    });
    this.#holds = new Holds(
      {
        playing: () => this.#player?.read().playing ?? false,
        pause: () => {
          this.#player?.pause();
          this.#lesson?.look();
        },
        play: () => void this.#resume(),
      },
      (holds) => {
        this.#update({ holds });
        this.#events.emit('hold', holds);
      },
    );
    this.#snapshot = Object.freeze({
      phase: 'idle',
      session: null,
      link: 'idle',
      holds: Object.freeze([]),
      awaitsReady: false,
      camera: this.#camera.state,
      prompt: null,
      capture: null,
      playing: false,
      positionMs: 0,
      furthestMs: 0,
      durationMs: 0,
      ending: null,
    });
    this.#listen();
    // Vue and others would wrap it into a proxy, which cannot reach private members; what is frozen they leave alone.
    Object.freeze(this);
  }

  /** Everything at a glance; each change makes a new object. */
  get state(): ProctorState {
    return this.#snapshot;
  }

  /** Calls `listener` at each event of that name. Returns how to stop it. */
  on<Name extends keyof ProctorEvents>(name: Name, listener: (event: ProctorEvents[Name]) => void): () => void {
    return this.#events.on(name, listener);
  }

  /**
   * Names the player of the lesson: a video, a selector, a player of a known library, or an adapter. Another one
   * takes its place.
   *
   * Throws `bad_player` when there is no video in it (yet).
   */
  attach(target: PlayerLike): void {
    this.#alive('attach');
    const player = makePlayer(target, this.#natives, (hint) => {
      if (this.#player !== player) return;
      if (this.#lesson) this.#lesson.hint(hint);
      else this.#holds.enforce();
    });
    this.#player?.dispose();
    this.#player = player;
    this.#target = target;
    this.#holds.enforce();
    this.#lesson?.attach(player);
  }

  /**
   * Asks for the camera. Call it from a click: some browsers ask the learner only then.
   *
   * Rejects with code `camera`; `field` is the problem (see `CameraProblem`), the message says how to mend it.
   */
  async enableCamera(constraints?: MediaTrackConstraints): Promise<void> {
    this.#alive('enableCamera');
    await this.#camera.enable(constraints);
  }

  /** The camera's picture, for a preview; null while it is off. */
  get cameraStream(): MediaStream | null {
    return this.#camera.stream;
  }

  /**
   * Begins the lesson: asks for a session, for consent where it is due, and connects. Resolves when the server has
   * said welcome; the player is kept paused until then.
   *
   * Rejects with `token_failed`, `refused`, `unsupported`, or `wrong_order` when one is under way.
   */
  async start(): Promise<void> {
    this.#alive('start');
    if (this.state.phase !== 'idle' && this.state.phase !== 'ended') {
      throw new ProctorError('wrong_order', 'start: a session is under way; await stop() before the next');
    }
    this.#update({ phase: 'starting', ending: null, session: null, prompt: null, capture: null });
    this.#holds.set('starting', true);
    try {
      await this.#begin();
    } catch (error) {
      this.#letGo();
      if (!this.#over) this.#update({ phase: 'idle', link: 'idle' });
      throw this.#failed(error);
    }
  }

  /** The learner has read `text` and agrees to it. The log keeps its digest. */
  agree(given: { text: string; language: string }): void {
    this.#agreed?.(given);
    this.#agreed = null;
  }

  /** Answers the open prompt: with the text of an option, or with the digits of the sum. */
  answer(prompt: string, answer: string): void {
    if (this.state.prompt?.prompt !== prompt || this.#session === null) return;
    this.#session.report('prompt.answered', { prompt, answer });
    // Not before: the next prompt follows an unanswered one at once, and the film must not go on for nobody.
    this.#holds.set('unanswered', false);
    this.#update({ prompt: null });
  }

  /** The learner says that they are there, and wants to go on. */
  ready(): void {
    this.#holds.set('unanswered', false);
    if (this.#serverHolds()) this.#session?.sayReady();
    this.#update({ awaitsReady: false });
  }

  /**
   * Ends the session, and resolves with how it ended. `completed` or `left`; left out, by how far the learner got.
   * While the server cannot be reached it waits: what happened is not lost.
   */
  async stop(reason?: 'completed' | 'left'): Promise<Ending> {
    if (this.state.ending) return this.state.ending;
    const session = this.#session;
    const lesson = this.#lesson;
    if (session === null) throw new ProctorError('wrong_order', 'stop: no session is under way; call start() first');
    if (session.link.state === 'idle') {
      // Nobody has agreed to anything yet.
      this.#started?.reject(new ProctorError('wrong_order', 'start: stopped meanwhile'));
      this.#end({ reason: null, verdict: null, code: null });
      return this.state.ending!;
    }
    lesson?.stop();
    this.#update({ phase: 'leaving', prompt: null });
    session.leave(reason ?? (lesson?.through ? 'completed' : 'left'));
    return new Promise((resolve) => this.#stopping.push(resolve));
  }

  /** Lets go of everything at once. The session stays open at the server; a page that is loaded again takes it up. */
  dispose(): void {
    if (this.state.phase === 'disposed') return;
    this.#pageLeaves();
    this.#letGo();
    this.#hideInterface();
    for (const stop of this.#unlisten) stop();
    this.#camera.stop();
    this.#player?.dispose();
    this.#clock.dispose();
    this.#store?.close();
    this.#started?.reject(new ProctorError('wrong_order', 'start: disposed meanwhile'));
    this.#update({ phase: 'disposed', link: 'ended' });
    this.#events.clear();
  }

  // --- beginning ------------------------------------------------------------------------------------------------

  async #begin(): Promise<void> {
    if (!globalThis.crypto?.subtle) {
      throw new ProctorError('unsupported', 'start: serve the page over HTTPS', 'insecure');
    }
    await this.#loadInterface();
    this.#store ??= await openStore(
      () => this.#clock.wall(),
      (why) => this.#notice('storage', why),
    );
    const access = await this.#access('start', rememberedSession());
    this.#alive('start');
    rememberSession(access.session);
    // Before anything is read: whoever had it until now stops writing.
    this.#releaseSession();
    this.#releaseSession = holdSession(access.session, () => this.ended('superseded', ''));
    const parts = { store: this.#store, clock: this.#clock, random: this.#random, device: deviceId(this.#random) };
    const session = await Session.open(access, this, parts);
    this.#alive('start');
    this.#session = session;
    this.#update({ session: session.id });
    if (!session.consented) await this.#askConsent(session);
    this.#windows.enter(session.id, this.#clock.wall());
    this.#update({ phase: 'connecting' });
    const welcomed = new Promise<void>((resolve, reject) => {
      this.#started = { resolve, reject };
    });
    session.link.open();
    await welcomed;
  }

  async #access(reason: TokenRequest['reason'], session: string | null) {
    const request = { reason, session };
    return checkAccess(await this.options.getToken(request), request, this.options.endpoint);
  }

  #failed(error: unknown): ProctorError {
    const wrong =
      error instanceof ProctorError ? error : new ProctorError('token_failed', `no session or token: ${error}`);
    this.#events.emit('error', wrong);
    return wrong;
  }

  async #askConsent(session: Session): Promise<void> {
    const { consent = 'ask' } = this.options;
    if (consent === false) return;
    const given =
      consent === 'ask'
        ? await new Promise<{ text: string; language: string }>((resolve, reject) => {
            this.#agreed = resolve;
            this.#started = { resolve: () => {}, reject };
            this.#update({ phase: 'consent' });
            this.#events.emit('consent', { session: session.id });
          })
        : consent;
    session.consent(await sha256(new TextEncoder().encode(given.text)), given.language);
  }

  async #loadInterface(): Promise<void> {
    try {
      this.#hideInterface();
      this.#hideInterface = await showInterface(this);
    } catch (error) {
      // Without it nobody would see a prompt: better not to begin.
      const message = `start: the interface could not be loaded (${error}); set the option ui to its address, or to false`;
      throw new ProctorError('bad_option', message, 'ui');
    }
  }

  #workerUrl(): string | null {
    const { workerUrl } = this.options;
    return workerUrl === undefined ? beside('invigil-worker.js') : workerUrl;
  }

  #listen(): void {
    const natives = this.#natives;
    const unlisten = this.#unlisten;
    const wake = () => this.#session?.link.wake();
    unlisten.push(
      natives.listen(window, 'pagehide', () => this.#pageLeaves()),
      natives.listen(window, 'pageshow', (event) => (event as PageTransitionEvent).persisted && wake()),
      natives.listen(document, 'resume', wake),
      natives.listen(window, 'online', () => this.#session?.link.nudge()),
    );
  }

  #pageLeaves(): void {
    this.#lesson?.leave();
    this.#session?.note();
  }

  // --- what the session says ------------------------------------------------------------------------------------

  /** @internal */
  async renewToken(): Promise<string> {
    try {
      return (await this.#access('expired', this.#session?.id ?? null)).token;
    } catch (error) {
      throw this.#failed(error);
    }
  }

  /** @internal */
  welcomed(welcome: WelcomeMessage, first: boolean): void {
    const session = this.#session;
    if (session === null) return;
    if (first) this.#beginLesson(session, welcome);
    else this.#lesson?.welcomed(welcome);
    if (!session.leaving) this.#update({ phase: 'running' });
    // Open ones follow as messages.
    this.#update({ durationMs: welcome.duration_ms, prompt: null });
    this.#serverPaused(welcome.pause);
    this.#holds.set('connection', false);
    this.#holds.set('starting', false);
    this.#started?.resolve();
    this.#started = null;
  }

  #beginLesson(session: Session, welcome: WelcomeMessage): void {
    const natives = this.#natives;
    const clock = this.#clock;
    const holds = this.#holds;
    const windows = this.#windows;
    this.#lesson = new Lesson(
      {
        natives,
        clock,
        session,
        holds,
        windows,
        guide: this.options.guide ?? true,
        warn: (code) => this.#events.emit('warning', { source: 'page', code, cause: null }),
        progress: ({ playing, pos_ms }, furthestMs) => this.#update({ playing, positionMs: pos_ms, furthestMs }),
      },
      welcome,
    );
    this.#update({ positionMs: welcome.position_ms, furthestMs: welcome.furthest_ms });
    this.#lesson.begin(this.#player);
    this.#cameraChanged();
  }

  /** @internal */
  prompted(message: PromptMessage): void {
    const { prompt, kind, text, options, picture, answer_within_ms } = message;
    const seen = Object.freeze({
      prompt,
      kind,
      text,
      options: Object.freeze([...(options ?? [])]),
      picture: picture ? `data:image/png;base64,${picture}` : null,
      answerWithinMs: answer_within_ms,
    });
    this.#update({ prompt: seen, awaitsReady: false });
    this.#events.emit('prompt', seen);
  }

  /** @internal */
  captured(message: CaptureMessage): void {
    this.#captures.asked(message);
  }

  /** @internal */
  heard(message: ServerMessage): void {
    switch (message.type) {
      case 'prompt.closed':
        if (this.state.prompt?.prompt === message.prompt) this.#update({ prompt: null });
        if (message.outcome === 'expired') this.#unanswered();
        return this.#events.emit('prompt.closed', message);
      case 'capture.closed':
        this.#captures.closed(message.capture);
        // The server's own trouble is nobody's to mend.
        if (message.outcome !== 'match' && message.outcome !== 'error') {
          this.#warnOfPhoto(message.advice ?? message.outcome, message.outcome);
        }
        return this.#events.emit('capture.closed', message);
      case 'pause':
        return this.#serverPaused(message.reason);
      case 'play':
        return this.#serverPaused(null);
      case 'warning':
        return this.#events.emit('warning', { source: 'server', code: message.rule, cause: message.cause });
      case 'notice':
        return this.#notice(message.code, message.detail);
      case 'error':
        return this.#notice(message.code, message.detail);
      case 'closed':
        return this.#end({ reason: message.reason, verdict: message.verdict, code: null });
    }
  }

  /** @internal */
  linkChanged(link: ProctorState['link']): void {
    this.#update({ link });
  }

  /** @internal */
  ended(code: string | null, detail: string): void {
    if (this.#over) return;
    this.#end({ reason: null, verdict: null, code });
    if (code === null) return;
    const message = `the server refused this page (${code}): ${REFUSALS[code] ?? (detail || 'see docs/protocol.md')}`;
    const error = new ProctorError('refused', message, code);
    if (this.#started) this.#started.reject(error);
    else this.#events.emit('error', error);
    this.#started = null;
  }

  #end(ending: Ending): void {
    const frozen = Object.freeze(ending);
    // Nothing of an ended session is worth keeping; of one that goes on elsewhere, everything is.
    if (ending.code !== 'superseded') {
      this.#session?.forget();
      rememberSession(null);
    }
    this.#letGo();
    // Nobody is filmed after the lesson.
    this.#camera.stop();
    this.#update({ phase: 'ended', ending: frozen, prompt: null, capture: null, playing: false });
    for (const resolve of this.#stopping.splice(0)) resolve(frozen);
    this.#events.emit('ended', frozen);
  }

  #letGo(): void {
    this.#lesson?.stop();
    this.#session?.link.end();
    this.#lesson = null;
    this.#session = null;
    this.#captures.stop();
    this.#windows.leave();
    this.#releaseSession();
    this.#holds.release();
  }

  #serverPaused(reason: ServerPause | null): void {
    this.#holds.setServer(reason);
    // While something is asked already, there is nothing to ask for.
    const asked = this.state.prompt !== null || this.#captures.wanted;
    this.#update({ awaitsReady: this.#holds.has('unanswered') || (reason !== null && reason !== 'quota' && !asked) });
  }

  #serverHolds(): boolean {
    return this.#holds.has('prompt') || this.#holds.has('wrong_answers') || this.#holds.has('capture');
  }

  #unanswered(): void {
    this.#holds.set('unanswered', true);
    this.#update({ awaitsReady: true });
  }

  // --- camera and player ----------------------------------------------------------------------------------------

  #cameraChanged(): void {
    const camera = this.#camera.state;
    this.#update({ camera });
    this.#events.emit('camera', camera);
    if (camera.problem) this.#events.emit('warning', { source: 'page', code: camera.problem, cause: 'camera' });
    if (camera.status === 'on') {
      if (looksVirtual(camera.label)) this.#lesson?.tamper('virtual_camera');
      void this.#captures.work();
    }
    this.#needCamera();
  }

  /** No film without a picture: once the camera has failed, or while a photo is wanted. */
  #needCamera(): void {
    const { status } = this.#camera.state;
    const wanted =
      this.#captures.wanted || status === 'failed' || (this.#lesson !== null && this.options.camera !== false);
    this.#holds.set('camera', this.#lesson !== null && wanted && status !== 'on');
  }

  #warnOfPhoto(advice: string, outcome: string): void {
    this.#events.emit('warning', { source: 'server', code: advice, cause: outcome });
  }

  async #resume(): Promise<void> {
    try {
      await this.#player?.play();
      this.#lesson?.look();
    } catch {
      // The browser wants a click of the learner's own.
      this.#events.emit('warning', { source: 'page', code: 'play_blocked', cause: null });
    }
  }

  // --- bookkeeping ----------------------------------------------------------------------------------------------

  /** The element that the learner looks at, for whoever has to be near it; null when there is none. */
  get playerElement(): HTMLElement | null {
    return this.#target === null ? null : (this.#player?.element() ?? null);
  }

  #notice(code: string, detail: string): void {
    this.#events.emit('notice', { code, detail });
  }

  get #over(): boolean {
    return this.state.phase === 'ended' || this.state.phase === 'disposed';
  }

  #alive(method: string): void {
    if (this.state.phase === 'disposed') {
      throw new ProctorError('wrong_order', `${method}: this proctor was disposed; create another`);
    }
  }

  #update(change: Partial<ProctorState>): void {
    const keys = Object.keys(change) as (keyof ProctorState)[];
    if (keys.every((key) => this.#snapshot[key] === change[key])) return;
    this.#snapshot = Object.freeze({ ...this.#snapshot, ...change });
    this.#events.emit('state', this.#snapshot);
  }
}

/**
 * One session as the server sees it: what happened goes into the outbox with its time, the link carries it, and what
 * the server says comes back as calls of the owner. Knows nothing of players, cameras or pages.
 */

import type { Clock } from './clock.js';
import { sha256 } from './encoding.js';
import { makeKey, publicKey, signHello } from './key.js';
import { Link, type LinkOwner, type LinkState } from './link.js';
import { Outbox } from './outbox.js';
import { Photos } from './photos.js';
import type { Opened, SessionRecord, Store } from './store.js';
import { Timeline } from './timeline.js';
import type { CaptureMessage, ClientEvents, PromptMessage, ServerMessage, WelcomeMessage } from './wire.js';

/** Who holds a session, as the platform's back end was told by the server. */
export interface Credentials {
  session: string;
  token: string;
  /** where to stream, `wss://…/v1/stream` */
  url: string;
}

export interface SessionOwner {
  renewToken(): Promise<string>;
  welcomed(welcome: WelcomeMessage, first: boolean): void;
  prompted(prompt: PromptMessage): void;
  /** A photo is to be taken now: one that the page does not hold already. */
  captured(capture: CaptureMessage): void;
  /** Everything else that the server says. */
  heard(message: ServerMessage): void;
  linkChanged(state: LinkState): void;
  ended(code: string | null, detail: string): void;
}

export interface SessionParts {
  store: Store;
  clock: Clock;
  random: () => number;
  /** random id that this browser keeps; null when it keeps none */
  device: string | null;
}

export class Session implements LinkOwner {
  readonly link: Link;
  #ready = false;
  #readySent = false;
  #leavingSent = false;
  #welcomes = 0;

  readonly #record: SessionRecord;
  readonly #timeline: Timeline;
  readonly #outbox: Outbox;
  readonly #photos: Photos;

  readonly #credentials: Credentials;
  readonly #owner: SessionOwner;
  readonly #parts: SessionParts;
  readonly #publicKey: string;

  private constructor(
    credentials: Credentials,
    owner: SessionOwner,
    parts: SessionParts,
    publicKey: string,
    { record, events, photos }: Opened,
  ) {
    this.#credentials = credentials;
    this.#owner = owner;
    this.#parts = parts;
    this.#publicKey = publicKey;
    this.#record = record;
    this.link = new Link(credentials.url, this, parts.clock, parts.random);
    this.#timeline = new Timeline(parts.clock, record);
    this.#outbox = new Outbox(parts.store, record, events);
    this.#photos = new Photos(parts.store, record.id, this.#outbox, photos);
  }

  /** Takes up a session where this browser left it, or begins it. Connects with `link.open()`. */
  static async open(credentials: Credentials, owner: SessionOwner, parts: SessionParts): Promise<Session> {
    const id = credentials.session;
    const kept = (await parts.store.open(id)) ?? {
      record: {
        id,
        key: await makeKey(),
        zero: parts.clock.wall(),
        ct: 0,
        acknowledged: 0,
        forgotten: 0,
        consented: false,
        leaving: null,
        touched: 0,
      },
      events: [],
      photos: [],
    };
    // On disk before the server hears of the key: a page that is loaded again must have it.
    parts.store.save(kept.record);
    return new Session(credentials, owner, parts, await publicKey(kept.record.key), kept);
  }

  get id(): string {
    return this.#record.id;
  }

  get consented(): boolean {
    return this.#record.consented;
  }

  get leaving(): boolean {
    return this.#record.leaving !== null;
  }

  /** Reports something that happened `agoMs` ago. Returns false when too much waits already. */
  report<Type extends keyof ClientEvents>(type: Type, data: ClientEvents[Type], agoMs = 0): boolean {
    const kept = this.#outbox.push(this.#timeline.ct() - agoMs, type, data) !== null;
    this.link.flush();
    return kept;
  }

  consent(textSha256: string, language: string): void {
    this.report('consent', { text_sha256: textSha256, language });
    this.#record.consented = true;
    this.note();
  }

  /** Whether an answer to this prompt is on its way. */
  hasAnswered(prompt: string): boolean {
    return this.#outbox
      .waiting()
      .some(({ type, data }) => type === 'prompt.answered' && (data as { prompt: string }).prompt === prompt);
  }

  /** Answers a capture. The digest is committed to now, the bytes follow once that is on the server's disk. */
  async submit(capture: CaptureMessage, bytes: Uint8Array): Promise<boolean> {
    const digest = await sha256(bytes);
    const submitted = this.#photos.submit(this.ct(), capture, bytes, digest);
    this.link.flush();
    return submitted;
  }

  /** The learner says that they are there, after a pause. */
  sayReady(): void {
    this.#ready = true;
    if (!this.#readySent) this.#readySent = this.link.say({ type: 'ready' });
  }

  /** Ends the session; `heard` gets the server's `closed`. */
  leave(reason: 'completed' | 'left'): void {
    this.#record.leaving ??= reason;
    this.note();
    this.#sayLeaving();
  }

  /** Notes where the session stands: from time to time, and when the page goes. */
  note(): void {
    this.#timeline.note(this.#record);
    this.#parts.store.save(this.#record);
  }

  /** The session is over: nothing of it is kept. */
  forget(): void {
    this.#parts.store.clear(this.id);
  }

  // --- for the link ---------------------------------------------------------------------------------------------

  ct(): number {
    return this.#timeline.ct();
  }

  async hello(nonce: string): Promise<object> {
    const { session, token } = this.#credentials;
    const signature = await signHello(this.#record.key, nonce, session, token);
    const device = this.#parts.device;
    const { acknowledged } = this.#outbox;
    return { session, token, key: this.#publicKey, signature, acknowledged, ...(device !== null && { device }) };
  }

  async renewToken(): Promise<void> {
    this.#credentials.token = await this.#owner.renewToken();
  }

  welcomed(welcome: WelcomeMessage): void {
    this.#outbox.resume(welcome.acknowledged);
    this.#photos.resume();
    this.#readySent = this.#leavingSent = false;
    // Whether we are still to say that the learner is there, the welcome knows better than we do.
    this.#ready &&= welcome.pause !== null;
    this.#welcomes += 1;
    this.#owner.welcomed(welcome, this.#welcomes === 1);
    if (this.#ready) this.sayReady();
    // Behind what was kept: the events of a session stand before its end.
    this.#sayLeaving();
  }

  heard(message: ServerMessage): void {
    switch (message.type) {
      case 'ack':
        this.#timeline.note(this.#record);
        this.#outbox.acknowledge(message.seq);
        return this.#sayLeaving();
      case 'renew':
        this.#credentials.token = message.token;
        return;
      case 'capture':
        if (this.#photos.asked(message)) return;
        // Bytes that were committed to and are lost cannot be taken again.
        if (message.committed) return;
        return this.#owner.captured(message);
      case 'photo.received':
      case 'capture.closed':
        this.#photos.forget(message.capture);
        break;
      case 'error':
        if (message.capture) this.#photos.refused(message.capture, message.code);
        break;
      case 'prompt':
        this.#ready = this.#readySent = false;
        if (this.hasAnswered(message.prompt)) return;
        return this.#owner.prompted(message);
      case 'pause':
      case 'play':
        this.#ready = this.#readySent = false;
        break;
    }
    this.#owner.heard(message);
  }

  nextText(): string | null {
    return this.#outbox.next();
  }

  nextBinary(): Uint8Array<ArrayBuffer> | null {
    return this.#photos.next(this.ct());
  }

  changed(state: LinkState): void {
    this.#owner.linkChanged(state);
  }

  ended(code: string | null, detail: string): void {
    this.#owner.ended(code, detail);
  }

  #sayLeaving(): void {
    // Said once everything is on the server's disk, so that the last events are judged too.
    if (this.#record.leaving === null || this.#leavingSent || !this.#outbox.empty) return;
    this.#leavingSent = this.link.say({ type: 'close', reason: this.#record.leaving });
  }
}

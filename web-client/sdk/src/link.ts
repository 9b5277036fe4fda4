/**
 * The connection to the server: challenge, hello, pings, welcome; lost and made again for ever, until one of both ends
 * it. What the messages mean for the session is its owner's part.
 */

import type { Clock } from './clock.js';
import { type ServerMessage, SUBPROTOCOL, type WelcomeMessage } from './wire.js';

/** A connection on which nothing was heard for so long is taken for dead. */
export const SILENCE_LIMIT_MS = 30_000;
/** So is one on which nothing was heard for so long after an event was sent: a server acknowledges at once. */
export const UNANSWERED_LIMIT_MS = 15_000;
const SHORTEST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 20_000;
/** A server takes 20 events a second and 200 at once; what has piled up is sent somewhat slower. */
const EVENTS_PER_SECOND = 15;
const EVENTS_BURST = 60;
/** Bytes that may wait in the browser before more is handed to it. */
const BUFFERED_LIMIT_BYTES = 1024 * 1024;
const PACE_MS = 200;
/** Refusals of the token in a row, without a welcome between, before it is not for want of a fresh one. */
const TOKENS_LIMIT = 4;

/** Whether the server can be reached. */
export type LinkState = 'idle' | 'connecting' | 'up' | 'down' | 'token_needed' | 'ended';

/** What follows after a connection. */
export type Next =
  | { kind: 'reconnect'; afterMs: number | null }
  | { kind: 'token' }
  | { kind: 'end'; code: string | null; detail: string };

const RECONNECT: Next = { kind: 'reconnect', afterMs: null };
const TOKEN: Next = { kind: 'token' };
const end = (code: string | null, detail = ''): Next => ({ kind: 'end', code, detail });
const AFTER_CLOSE: Record<number, Next> = {
  1000: end(null),
  4400: end('bad_message'),
  4401: TOKEN,
  4403: end('origin_refused'),
  4409: end('superseded'),
  4410: end('session_closed'),
};

/** What the link asks of its owner. */
export interface LinkOwner {
  /** the client's clock, ms */
  ct(): number;
  hello(nonce: string): Promise<object>;
  /** Gets a new token; rejects when that failed. */
  renewToken(): Promise<void>;
  /** A message that is not the link's own business. */
  heard(message: ServerMessage): void;
  welcomed(welcome: WelcomeMessage): void;
  /** The next text to send, or null. */
  nextText(): string | null;
  /** The next binary message to send, or null. */
  nextBinary(): Uint8Array<ArrayBuffer> | null;
  changed(state: LinkState): void;
  /** No connection will follow; `code`: the server's, null when the session is over as it should be. */
  ended(code: string | null, detail: string): void;
}

/** After an error that the server gave: its code says whether coming back can help. Null: the connection goes on. */
export function afterError(code: string, detail: string, retryAfterMs: number | null): Next | null {
  switch (code) {
    case 'token_unknown':
    case 'token_expired':
      return TOKEN;
    case 'hello_timeout':
    case 'too_many_events':
    case 'overloaded':
      return { kind: 'reconnect', afterMs: retryAfterMs };
    case 'bad_json':
    case 'bad_message':
    case 'server_event':
    case 'not_welcome_yet':
    case 'seq_gap':
    case 'ct_decreased':
    case 'session_mismatch':
    case 'key_mismatch':
    case 'signature_wrong':
    case 'origin_refused':
    case 'superseded':
    case 'session_closed':
    case 'too_large':
      return end(code, detail);
    default:
      return null;
  }
}

/** After a close without an error before it, as when the error was lost on the way. */
export function afterClose(code: number): Next {
  return AFTER_CLOSE[code] ?? RECONNECT;
}

export class Link {
  state: LinkState = 'idle';
  /** when the connection was lost, or last known to stand, on the clock; null while it stands */
  downSinceMs: number | null = null;
  #socket: WebSocket | null = null;
  #attempts = 0;
  #tokensRefused = 0;
  #movedTo: string | null = null;
  #goAwayMs: number | null = null;
  #verdictOfError: Next | null = null;
  #cancelWait: () => void = () => {};
  #cancelSilence: () => void = () => {};
  #cancelPace: () => void = () => {};
  #heardAtMs = 0;
  /** whether something was sent since, whose answer is overdue after a while */
  #unanswered = false;
  /** A photo is on its way: until it is there, nothing behind it is answered. */
  #uploading = false;
  #budget = EVENTS_BURST;
  #budgetAtMs = 0;

  readonly #url: string;
  readonly #owner: LinkOwner;
  readonly #clock: Clock;
  readonly #random: () => number;

  constructor(url: string, owner: LinkOwner, clock: Clock, random: () => number) {
    this.#url = url;
    this.#owner = owner;
    this.#clock = clock;
    this.#random = random;
  }

  open(): void {
    if (this.state === 'ended') return;
    this.#cancelWait();
    this.#drop();
    this.#become(this.downSinceMs === null ? 'connecting' : 'down');
    let socket: WebSocket;
    try {
      socket = new WebSocket(this.#movedTo ?? this.#url, SUBPROTOCOL);
    } catch (error) {
      return this.#follow(end('bad_option', String(error)));
    }
    this.#socket = socket;
    this.#verdictOfError = null;
    socket.onmessage = ({ data }) => {
      if (this.#socket === socket && typeof data === 'string') this.#hear(data, socket);
    };
    socket.onclose = ({ code }) => {
      if (this.#socket === socket) this.#lost(code);
    };
    this.#uploading = false;
    this.#heard();
  }

  /** Sends what waits, as fast as the server takes it. */
  flush(): void {
    const socket = this.#socket;
    if (this.state !== 'up' || socket === null) return;
    this.#cancelPace();
    this.#refill();
    while (this.#budget >= 1 && socket.bufferedAmount < BUFFERED_LIMIT_BYTES) {
      const text = this.#owner.nextText();
      if (text === null) break;
      this.#budget -= 1;
      socket.send(text);
      if (!this.#unanswered && !this.#uploading) this.#watchSilence(UNANSWERED_LIMIT_MS);
      this.#unanswered = true;
    }
    const full = this.#budget < 1 || socket.bufferedAmount >= BUFFERED_LIMIT_BYTES;
    for (let photo = full ? null : this.#owner.nextBinary(); photo; photo = this.#owner.nextBinary()) {
      socket.send(photo);
      this.#uploading = true;
      this.#watchSilence(SILENCE_LIMIT_MS);
    }
    if (full) this.#cancelPace = this.#clock.after(PACE_MS, () => this.flush());
  }

  /** Sends a message that is no event, if there is a connection to send it on. */
  say(message: object): boolean {
    if (this.state !== 'up') return false;
    this.#socket?.send(JSON.stringify(message));
    return true;
  }

  /** The machine slept, the page was put away, or the network is back: what is held for a connection may be none. */
  wake(): void {
    if (this.state === 'idle' || this.state === 'ended' || this.state === 'token_needed') return;
    this.#noteLoss();
    this.open();
  }

  /** The network is said to be back: no need to wait out the turn. */
  nudge(): void {
    if (this.state !== 'down' || this.#socket !== null) return;
    this.#cancelWait();
    this.#cancelWait = this.#clock.after(this.#random() * SHORTEST_WAIT_MS, () => this.open());
  }

  /** Ends it from this side. */
  end(): void {
    if (this.state === 'ended') return;
    this.#cancelWait();
    this.#drop();
    this.#become('ended');
  }

  #refill(): void {
    const now = this.#clock.now();
    this.#budget = Math.min(EVENTS_BURST, this.#budget + ((now - this.#budgetAtMs) * EVENTS_PER_SECOND) / 1000);
    this.#budgetAtMs = now;
  }

  #heard(): void {
    this.#heardAtMs = this.#clock.now();
    this.#unanswered = false;
    this.#watchSilence(SILENCE_LIMIT_MS);
  }

  #watchSilence(limitMs: number): void {
    this.#cancelSilence();
    this.#cancelSilence = this.#clock.after(limitMs, () => {
      // It has been gone for as long as nothing was heard.
      this.downSinceMs ??= this.#heardAtMs;
      this.#lost(1006);
    });
  }

  #hear(text: string, socket: WebSocket): void {
    this.#heard();
    let message: ServerMessage;
    try {
      message = JSON.parse(text);
    } catch {
      return this.#lost(1006);
    }
    if (message.type !== 'capture' && 'capture' in message) this.#uploading = false;
    switch (message.type) {
      case 'challenge':
        return void this.#sayHello(message.nonce, socket);
      case 'ping':
        return socket.send(JSON.stringify({ type: 'pong', id: message.id, ct: this.#owner.ct() }));
      case 'welcome':
        return this.#welcome(message);
      case 'go_away':
        this.#movedTo = message.url;
        this.#goAwayMs = message.reconnect_in_ms;
        return;
      case 'error':
        this.#verdictOfError = afterError(message.code, message.detail, message.retry_after_ms);
        break;
      case 'closed':
        this.#verdictOfError = end(null);
        break;
    }
    this.#owner.heard(message);
    if (this.#verdictOfError?.kind === 'end' && this.#socket === socket) this.#follow(this.#verdictOfError);
    else this.flush();
  }

  async #sayHello(nonce: string, socket: WebSocket): Promise<void> {
    try {
      const hello = await this.#owner.hello(nonce);
      if (this.#socket === socket) socket.send(JSON.stringify({ type: 'hello', ...hello, ct: this.#owner.ct() }));
    } catch (error) {
      if (this.#socket === socket) this.#follow(end('key_mismatch', `the hello could not be signed: ${error}`));
    }
  }

  #welcome(message: WelcomeMessage): void {
    this.#attempts = 0;
    this.#tokensRefused = 0;
    this.downSinceMs = null;
    this.#goAwayMs = null;
    this.#budget = EVENTS_BURST;
    this.#budgetAtMs = this.#clock.now();
    this.state = 'up';
    this.#owner.welcomed(message);
    this.#owner.changed('up');
    this.flush();
  }

  #lost(code: number): void {
    // Where we were sent to may be gone by now: the first address knows.
    if (this.state !== 'up') this.#movedTo = null;
    const goAway: Next | null = this.#goAwayMs === null ? null : { kind: 'reconnect', afterMs: this.#goAwayMs };
    this.#goAwayMs = null;
    this.#follow(this.#verdictOfError ?? goAway ?? afterClose(code));
  }

  #follow(next: Next): void {
    this.#drop();
    if (next.kind === 'end') {
      this.#become('ended');
      return this.#owner.ended(next.code, next.detail);
    }
    this.#noteLoss();
    if (next.kind === 'token') return void this.#fetchToken();
    this.#become('down');
    const jitter = next.afterMs === null ? this.#backoff() : next.afterMs + this.#random() * SHORTEST_WAIT_MS;
    this.#cancelWait = this.#clock.after(jitter, () => this.open());
  }

  async #fetchToken(): Promise<void> {
    this.#tokensRefused += 1;
    if (this.#tokensRefused > TOKENS_LIMIT)
      return this.#follow(end('token_unknown', 'fresh tokens are refused as well'));
    this.#become('token_needed');
    try {
      await this.#owner.renewToken();
      if (this.state === 'token_needed') this.open();
    } catch {
      // The platform may be away for a while, like any server.
      this.#tokensRefused -= 1;
      if (this.state !== 'token_needed') return;
      this.#cancelWait = this.#clock.after(this.#backoff(), () => void this.#fetchToken());
    }
  }

  /**
   * Full jitter: every wait is drawn anew below a ceiling that doubles, so that a thousand pages that lost the same
   * server do not come back at the same moment.
   */
  #backoff(): number {
    this.#attempts = Math.min(this.#attempts + 1, 10);
    const ceiling = Math.min(SHORTEST_WAIT_MS << this.#attempts, LONGEST_WAIT_MS);
    return SHORTEST_WAIT_MS + this.#random() * (ceiling - SHORTEST_WAIT_MS);
  }

  #noteLoss(): void {
    this.downSinceMs ??= this.#clock.now();
  }

  #drop(): void {
    this.#cancelSilence();
    this.#cancelPace();
    const socket = this.#socket;
    this.#socket = null;
    if (socket === null) return;
    socket.onmessage = socket.onclose = null;
    try {
      socket.close(1000);
    } catch {
      // It never stood.
    }
  }

  #become(state: LinkState): void {
    if (this.state === state) return;
    this.state = state;
    this.#owner.changed(state);
  }
}

/** A clock that tests move, and a server that is a script: everything that the transport needs of the world. */

import type { Clock } from '../src/clock.js';
import type { Player, Reading } from '../src/player/adapter.js';
import type { SessionRecord } from '../src/store.js';

export class ManualClock implements Clock {
  nowMs = 1_000;
  wallMs = 1_700_000_000_000;
  private timers: { atMs: number; order: number; then: (atMs: number) => void }[] = [];
  private order = 0;

  now(): number {
    return this.nowMs;
  }

  wall(): number {
    return this.wallMs;
  }

  after(ms: number, then: (atMs: number) => void): () => void {
    const timer = { atMs: this.nowMs + ms, order: ++this.order, then };
    this.timers.push(timer);
    return () => {
      this.timers = this.timers.filter((other) => other !== timer);
    };
  }

  dispose(): void {
    this.timers = [];
  }

  /** Lets time pass, with every timer at its moment, and with what follows from it. */
  async pass(ms: number): Promise<void> {
    await settle();
    const until = this.nowMs + ms;
    for (;;) {
      const due = this.timers
        .filter(({ atMs }) => atMs <= until)
        .sort((a, b) => a.atMs - b.atMs || a.order - b.order)[0];
      if (due === undefined) break;
      this.timers = this.timers.filter((timer) => timer !== due);
      this.set(Math.max(this.nowMs, due.atMs));
      due.then(this.nowMs);
      await settle();
    }
    this.set(until);
    await settle();
  }

  private set(nowMs: number): void {
    this.wallMs += nowMs - this.nowMs;
    this.nowMs = nowMs;
  }
}

/** Lets everything run that waits for nothing but its turn: promises, WebCrypto, the fake IndexedDB. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 12; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** Every socket that was opened, with what was sent on it. */
export class FakeSocket {
  static all: FakeSocket[] = [];
  static get newest(): FakeSocket {
    const newest = FakeSocket.all.at(-1);
    if (newest === undefined) throw new Error('no connection was made');
    return newest;
  }

  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  bufferedAmount = 0;
  closed = false;
  readonly sent: (string | Uint8Array)[] = [];

  constructor(
    readonly url: string,
    readonly protocol: string,
  ) {
    FakeSocket.all.push(this);
  }

  send(data: string | Uint8Array): void {
    if (this.closed) throw new Error('the connection is closed');
    this.sent.push(data);
  }

  close(): void {
    this.closed = true;
  }

  // --- the server's hand ---

  say(message: object): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }

  shut(code: number): void {
    this.closed = true;
    this.onclose?.({ code });
  }

  /** What the client has sent since this was last asked. */
  take(): (Record<string, unknown> | Uint8Array)[] {
    return this.sent.splice(0).map((data) => (typeof data === 'string' ? JSON.parse(data) : data));
  }
}

export function useFakeSockets(): void {
  FakeSocket.all = [];
  (globalThis as { WebSocket: unknown }).WebSocket = FakeSocket;
}

export function record(change: Partial<SessionRecord> = {}): SessionRecord {
  const key = {} as CryptoKeyPair;
  return {
    id: 's1',
    key,
    zero: 0,
    ct: 0,
    acknowledged: 0,
    forgotten: 0,
    consented: false,
    leaving: null,
    touched: 0,
    ...change,
  };
}

export const WELCOME = {
  type: 'welcome',
  session: 's1',
  acknowledged: 0,
  duration_ms: 2_700_000,
  furthest_ms: 0,
  position_ms: 0,
  heartbeat_ms: 5_000,
  pause: null,
} as const;

/** A film that runs by the clock, for whoever watches players. */
export class Film implements Player {
  pos = 0;
  rate = 1;
  running = false;
  /** what the page's own getters claim falsely */
  claims: string[] = [];
  playRefused = false;
  private sinceMs = 0;

  constructor(
    private readonly clock: ManualClock,
    readonly lengthMs = 2_700_000,
  ) {}

  private at(): number {
    const ran = this.running ? (this.clock.nowMs - this.sinceMs) * this.rate : 0;
    return Math.min(this.pos + ran, this.lengthMs);
  }

  private settleAt(): void {
    this.pos = this.at();
    this.sinceMs = this.clock.nowMs;
  }

  read(): Reading {
    const positionMs = this.at();
    const ended = positionMs >= this.lengthMs;
    return { playing: this.running && !ended, positionMs, rate: this.rate, ended };
  }

  play(): void {
    if (this.playRefused) throw new DOMException('not without a click', 'NotAllowedError');
    this.settleAt();
    this.running = true;
  }

  pause(): void {
    this.settleAt();
    this.running = false;
  }

  seek(positionMs: number): void {
    this.settleAt();
    this.pos = positionMs;
  }

  setRate(rate: number): void {
    this.settleAt();
    this.rate = rate;
  }

  lies(): string[] {
    return this.claims;
  }

  refresh(): void {}

  element(): null {
    return null;
  }

  dispose(): void {}
}

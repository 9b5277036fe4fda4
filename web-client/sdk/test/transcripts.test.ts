/** The dialogues of `tests/transcripts`, which every client of the protocol has to hold alike. */

import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeEach, expect, it, vi } from 'vitest';
import { Session, type SessionOwner } from '../src/session.js';
import { MEMORY_ONLY } from '../src/store.js';
import type { CaptureMessage, ClientEvents } from '../src/wire.js';
import { FakeSocket, ManualClock, settle, useFakeSockets } from './world.js';

type Do =
  | { event: keyof ClientEvents; data: never }
  | { photo: string; text: string }
  | { ready: true }
  | { close: 'completed' | 'left' };
type Step = { at: number } & (
  | { connect: true | string }
  | { server: object }
  | { later: object }
  | { client: Record<string, unknown> }
  | { do: Do }
  | { token: string }
  | { close: number }
  | { silent: true }
  | { cut: true }
  | { world: string }
  | { ended: string | null }
);
interface Transcript {
  title: string;
  steps: Step[];
}

const FOLDER = fileURLToPath(new URL('../../../tests/transcripts/', import.meta.url));
const FIRST_URL = 'ws://first.test/v1/stream';

class Play implements SessionOwner {
  readonly clock = new ManualClock();
  readonly startMs = this.clock.nowMs;
  readonly captures = new Map<string, CaptureMessage>();
  session!: Session;
  endedWith: { code: string | null } | null = null;
  private token: ((token: string) => void) | null = null;
  private connections = 0;
  private unread: ReturnType<FakeSocket['take']> = [];

  async run({ steps }: Transcript): Promise<void> {
    const parts = { store: MEMORY_ONLY, clock: this.clock, random: () => 0.9, device: null };
    this.session = await Session.open({ session: 's1', token: 'ivt_1', url: FIRST_URL }, this, parts);
    this.session.link.open();
    for (const step of steps) {
      await this.clock.pass(step.at - (this.clock.nowMs - this.startMs));
      await this.step(step);
      await settle();
    }
    expect(this.unheard(), 'said without being asked').toEqual([]);
  }

  private async step(step: Step): Promise<void> {
    if ('connect' in step) this.connected(step.connect);
    else if ('server' in step) FakeSocket.newest.say(step.server);
    else if ('later' in step) FakeSocket.newest.say(step.later);
    else if ('client' in step) await this.said(step.client);
    else if ('do' in step) await this.does(step.do);
    else if ('token' in step) this.token?.(step.token);
    else if ('close' in step) FakeSocket.newest.shut(step.close);
    // For a real server only: here nothing comes but what the steps say.
    else if ('cut' in step || 'world' in step) return;
    else if ('ended' in step) expect(this.endedWith).toEqual({ code: step.ended });
    else {
      this.unread = this.unheard();
      expect(this.unread).toEqual([]);
      expect(FakeSocket.all.length, 'connections').toBe(this.connections);
    }
  }

  private connected(url: true | string): void {
    this.connections += 1;
    expect(FakeSocket.all.length, 'connections').toBe(this.connections);
    expect(FakeSocket.newest.protocol).toBe('invigil.v1');
    expect(FakeSocket.newest.url).toBe(url === true ? FIRST_URL : url);
  }

  private async said(expected: Record<string, unknown>): Promise<void> {
    // Signatures and digests are made on threads of their own.
    await vi.waitFor(() => {
      this.unread = this.unheard();
      expect(this.unread.length, 'messages of the client').toBeGreaterThan(0);
    });
    const message = this.unread.shift();
    if (message instanceof Uint8Array) {
      const length = new DataView(message.buffer).getUint32(0);
      const header = JSON.parse(new TextDecoder().decode(message.subarray(4, 4 + length)));
      const text = new TextDecoder().decode(message.subarray(4 + length));
      expect({ photo: header.capture, nonce: header.nonce, text }).toEqual(expected);
      return;
    }
    const any: Record<string, unknown> = { '<text>': expect.any(String), '<number>': expect.any(Number) };
    const pattern = Object.entries(expected).map(([name, value]) => [name, any[value as string] ?? value]);
    expect(message).toEqual(Object.fromEntries(pattern));
  }

  private async does(what: Do): Promise<void> {
    if ('event' in what) this.session.report(what.event, what.data);
    else if ('ready' in what) this.session.sayReady();
    else if ('close' in what) this.session.leave(what.close);
    else await this.session.submit(this.captures.get(what.photo)!, new TextEncoder().encode(what.text));
  }

  private unheard() {
    return [...this.unread.splice(0), ...(FakeSocket.all.length > 0 ? FakeSocket.newest.take() : [])];
  }

  renewToken(): Promise<string> {
    return new Promise((resolve) => {
      this.token = resolve;
    });
  }

  captured(capture: CaptureMessage): void {
    this.captures.set(capture.capture, capture);
  }

  ended(code: string | null): void {
    this.endedWith = { code };
  }

  welcomed(): void {}
  prompted(): void {}
  heard(): void {}
  linkChanged(): void {}
}

beforeEach(useFakeSockets);

for (const file of readdirSync(FOLDER).filter((name) => name.endsWith('.json'))) {
  const transcript: Transcript = JSON.parse(readFileSync(FOLDER + file, 'utf8'));
  it(`${file}: ${transcript.title}`, () => new Play().run(transcript));
}

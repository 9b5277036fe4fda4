import { beforeEach, describe, expect, it } from 'vitest';
import { afterClose, Link, type LinkOwner, type LinkState } from '../src/link.js';
import type { ServerMessage, WelcomeMessage } from '../src/wire.js';
import { FakeSocket, ManualClock, settle, useFakeSockets, WELCOME } from './world.js';

class Owner implements LinkOwner {
  texts: string[] = [];
  photos: Uint8Array<ArrayBuffer>[] = [];
  states: LinkState[] = [];
  heardTypes: string[] = [];
  end: string | null | undefined;
  tokens = 0;
  failTokens = 0;

  ct(): number {
    return 7;
  }

  async hello(nonce: string): Promise<object> {
    return { session: 's1', nonce };
  }

  async renewToken(): Promise<void> {
    this.tokens += 1;
    if (this.failTokens-- > 0) throw new Error('the platform is away');
  }

  heard(message: ServerMessage): void {
    this.heardTypes.push(message.type);
  }

  welcomed(_: WelcomeMessage): void {}

  nextText(): string | null {
    return this.texts.shift() ?? null;
  }

  nextBinary(): Uint8Array<ArrayBuffer> | null {
    return this.photos.shift() ?? null;
  }

  changed(state: LinkState): void {
    this.states.push(state);
  }

  ended(code: string | null): void {
    this.end = code;
  }
}

const random = { value: 0.5 };
let clock: ManualClock;
let owner: Owner;
let link: Link;

beforeEach(() => {
  useFakeSockets();
  random.value = 0.5;
  clock = new ManualClock();
  owner = new Owner();
  link = new Link('ws://server.test/v1/stream', owner, clock, () => random.value);
});

const welcome = () => FakeSocket.newest.say(WELCOME);

describe('link', () => {
  it('waits between attempts with full jitter below a ceiling that doubles up to 20 s, for ever', async () => {
    random.value = 1;
    link.open();
    const waits: number[] = [];
    for (let attempt = 0; attempt < 60; attempt++) {
      const from = clock.nowMs;
      const before = FakeSocket.all.length;
      FakeSocket.newest.shut(1006);
      while (FakeSocket.all.length === before) await clock.pass(250);
      waits.push(clock.nowMs - from);
    }
    expect(waits.slice(0, 5)).toEqual([1_000, 2_000, 4_000, 8_000, 16_000]);
    expect(new Set(waits.slice(5))).toEqual(new Set([20_000]));
    random.value = 0;
    FakeSocket.newest.shut(1006);
    await clock.pass(499);
    expect(FakeSocket.all).toHaveLength(61);
    await clock.pass(1);
    expect(FakeSocket.all).toHaveLength(62);
    expect(owner.end).toBeUndefined();
  });

  it('begins with short waits again after a welcome', async () => {
    link.open();
    for (let attempt = 0; attempt < 6; attempt++) {
      FakeSocket.newest.shut(1006);
      await clock.pass(20_000);
    }
    welcome();
    expect([link.state, link.downSinceMs]).toEqual(['up', null]);
    FakeSocket.newest.shut(1006);
    expect(link.downSinceMs).toBe(clock.nowMs);
    const before = FakeSocket.all.length;
    await clock.pass(1_000);
    expect(FakeSocket.all).toHaveLength(before + 1);
  });

  it('sends what has piled up no faster than the server takes it', async () => {
    owner.texts = Array.from({ length: 200 }, (_, k) => String(k));
    link.open();
    welcome();
    expect(FakeSocket.newest.sent).toHaveLength(60);
    await clock.pass(1_000);
    expect(FakeSocket.newest.sent.length).toBeGreaterThan(70);
    expect(FakeSocket.newest.sent.length).toBeLessThanOrEqual(75);
    await clock.pass(9_000);
    expect(FakeSocket.newest.sent).toEqual(Array.from({ length: 200 }, (_, k) => String(k)));
  });

  it('holds back while the browser has not sent what it was given', async () => {
    owner.texts = ['a'];
    link.open();
    FakeSocket.newest.bufferedAmount = 2_000_000;
    welcome();
    await clock.pass(1_000);
    expect(FakeSocket.newest.sent).toEqual([]);
    FakeSocket.newest.bufferedAmount = 0;
    await clock.pass(200);
    expect(FakeSocket.newest.sent).toEqual(['a']);
  });

  it('gives a connection up that answers nothing for 15 s, and says since when it is lost', async () => {
    link.open();
    welcome();
    await clock.pass(2_000);
    FakeSocket.newest.say({ type: 'ping', id: 1 });
    const heardMs = clock.nowMs;
    await clock.pass(3_000);
    owner.texts = ['a'];
    link.flush();
    await clock.pass(10_000);
    // Another event does not put it off.
    owner.texts = ['b'];
    link.flush();
    await clock.pass(4_999);
    expect([link.state, FakeSocket.all.length]).toEqual(['up', 1]);
    await clock.pass(1);
    expect([link.state, link.downSinceMs]).toEqual(['down', heardMs]);
    await clock.pass(1_000);
    expect(FakeSocket.all).toHaveLength(2);
  });

  it('keeps a connection on which something is heard, or a photo is on its way', async () => {
    link.open();
    welcome();
    for (let k = 0; k < 4; k++) {
      owner.texts = ['a'];
      link.flush();
      await clock.pass(14_000);
      FakeSocket.newest.say({ type: 'ack', seq: k + 1 });
    }
    owner.photos = [new Uint8Array(3)];
    link.flush();
    owner.texts = ['b'];
    link.flush();
    await clock.pass(29_999);
    expect(link.state).toBe('up');
    FakeSocket.newest.say({ type: 'photo.received', capture: 'c1' });
    owner.texts = ['c'];
    link.flush();
    await clock.pass(14_999);
    expect(link.state).toBe('up');
    await clock.pass(1);
    expect(link.state).toBe('down');
  });

  it('is patient while nothing was asked of the server', async () => {
    link.open();
    welcome();
    const heardMs = clock.nowMs;
    await clock.pass(29_999);
    expect(link.state).toBe('up');
    await clock.pass(1);
    expect([link.state, link.downSinceMs]).toEqual(['down', heardMs]);
  });

  it('asks the platform again and again for a token, while the platform is away', async () => {
    owner.failTokens = 8;
    link.open();
    FakeSocket.newest.shut(4401);
    await clock.pass(60_000);
    expect([owner.tokens, FakeSocket.all.length]).toEqual([9, 2]);
  });

  it('gives up when fresh tokens are refused as well', async () => {
    link.open();
    for (let attempt = 0; attempt < 5; attempt++) {
      FakeSocket.newest.shut(4401);
      await settle();
    }
    expect([owner.end, owner.tokens, link.state]).toEqual(['token_unknown', 4, 'ended']);
  });

  it('leaves a connection at once when the machine has slept, and listens to the old one no more', async () => {
    link.open();
    welcome();
    const old = FakeSocket.newest;
    link.wake();
    expect([FakeSocket.all.length, old.closed, link.state]).toEqual([2, true, 'down']);
    old.say({ type: 'pause', reason: 'prompt' });
    old.shut(4409);
    expect([owner.heardTypes, owner.end]).toEqual([[], undefined]);
    welcome();
    expect(link.state).toBe('up');
  });

  it('does not wait out its turn when the network is said to be back', async () => {
    random.value = 1;
    link.open();
    for (let attempt = 0; attempt < 5; attempt++) {
      FakeSocket.newest.shut(1006);
      await clock.pass(20_000);
    }
    FakeSocket.newest.shut(1006);
    const before = FakeSocket.all.length;
    link.nudge();
    await clock.pass(500);
    expect(FakeSocket.all).toHaveLength(before + 1);
    await clock.pass(25_000);
    expect(FakeSocket.all, 'one attempt, not two').toHaveLength(before + 1);
  });

  it('takes no word from its owner after the end', () => {
    link.open();
    welcome();
    link.end();
    expect(link.say({ type: 'ready' })).toBe(false);
    link.open();
    link.wake();
    expect(FakeSocket.all).toHaveLength(1);
  });

  it('reads nonsense as a connection that is broken', () => {
    link.open();
    welcome();
    FakeSocket.newest.onmessage?.({ data: '{' });
    expect(link.state).toBe('down');
  });

  it.each([
    [1000, { kind: 'end', code: null }],
    [1001, { kind: 'reconnect' }],
    [1006, { kind: 'reconnect' }],
    [1009, { kind: 'reconnect' }],
    [1012, { kind: 'reconnect' }],
    [4400, { kind: 'end', code: 'bad_message' }],
    [4401, { kind: 'token' }],
    [4403, { kind: 'end', code: 'origin_refused' }],
    [4408, { kind: 'reconnect' }],
    [4409, { kind: 'end', code: 'superseded' }],
    [4410, { kind: 'end', code: 'session_closed' }],
    [4429, { kind: 'reconnect' }],
    [4503, { kind: 'reconnect' }],
  ])('follows close code %i as the protocol says', (code, next) => {
    expect(afterClose(code)).toMatchObject(next);
  });
});

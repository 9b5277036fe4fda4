import { IDBFactory } from 'fake-indexeddb';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { makeKey, publicKey, signHello } from '../src/key.js';
import { Session, type SessionOwner } from '../src/session.js';
import { openStore, type Store } from '../src/store.js';
import type { CaptureMessage } from '../src/wire.js';
import { FakeSocket, ManualClock, record, settle, useFakeSockets, WELCOME } from './world.js';

const complaints: string[] = [];
const wall = { ms: 1_700_000_000_000 };
const open = () =>
  openStore(
    () => wall.ms,
    (why) => complaints.push(why),
  );

beforeEach(() => {
  globalThis.indexedDB = new IDBFactory();
  complaints.length = 0;
  useFakeSockets();
});

const event = (number: number) => ({ number, ct: number * 10, type: 'windows', data: { count: number } });

describe('store', () => {
  it('gives back what it was given, by session', async () => {
    const store = await open();
    const key = await makeKey();
    store.save(record({ key }));
    for (const number of [1, 2, 3]) store.addEvent('s1', event(number));
    store.addEvent('s10', event(9));
    store.addPhoto('s1', { capture: 'c1', nonce: 'n', sha256: 'x', bytes: new Uint8Array([1, 2]), commitment: 2 });
    store.forget(record({ key, acknowledged: 1, forgotten: 1 }), 1);
    store.close();
    const kept = await (await open()).open('s1');
    expect(kept?.events).toEqual([event(2), event(3)]);
    expect(kept?.photos.map(({ bytes }) => [...bytes])).toEqual([[1, 2]]);
    expect([kept?.record.acknowledged, kept?.record.forgotten]).toEqual([1, 1]);
    expect(await publicKey(kept!.record.key)).toBe(await publicKey(key));
    expect(await signHello(kept!.record.key, 'n', 's1', 'ivt_1')).toHaveLength(86);
    expect(complaints).toEqual([]);
  });

  it('forgets a session, and what was not touched for a week', async () => {
    const store = await open();
    const key = await makeKey();
    store.save(record({ key, id: 'old' }));
    store.addEvent('old', event(1));
    store.save(record({ key, id: 'done' }));
    store.addEvent('done', event(1));
    store.clear('done');
    expect(await store.open('done')).toBeNull();
    wall.ms += 8 * 24 * 3_600_000;
    await store.open('new');
    expect(await store.open('old')).toBeNull();
  });

  it('goes on from memory where the browser keeps nothing, and says so once', async () => {
    const store = await open();
    store.close();
    store.addEvent('s1', event(1));
    store.addEvent('s1', event(2));
    expect(await store.open('s1')).toBeNull();
    expect(complaints).toHaveLength(1);
    vi.spyOn(indexedDB, 'open').mockImplementation(() => {
      throw new DOMException('no', 'SecurityError');
    });
    expect(await (await open()).open('s1')).toBeNull();
    expect(complaints).toHaveLength(2);
  });

  it('keeps a key whose private half no script can read', async () => {
    const key = await makeKey();
    await expect(crypto.subtle.exportKey('pkcs8', key.privateKey)).rejects.toThrow();
    const point = Buffer.from(await publicKey(key), 'base64url');
    expect([point.length, point[0]]).toEqual([65, 4]);
    const algorithm = { name: 'ECDSA', hash: 'SHA-256' };
    const signature = Buffer.from(await signHello(key, 'n', 's', 'ivt_1'), 'base64url');
    const text = (token: string) => new TextEncoder().encode(`invigil.v1\nn\ns\n${token}`);
    expect(await crypto.subtle.verify(algorithm, key.publicKey, signature, text('ivt_1'))).toBe(true);
    expect(await crypto.subtle.verify(algorithm, key.publicKey, signature, text('ivt_2'))).toBe(false);
  });
});

const CAPTURE: CaptureMessage = {
  type: 'capture',
  capture: 'c1',
  nonce: 'n1',
  reason: 'start',
  commit_within_ms: 20_000,
  send_within_ms: 60_000,
  bytes_limit: 500_000,
  pixels_limit: 4_000_000,
  committed: null,
};

class Owner implements SessionOwner {
  captures: string[] = [];
  prompts: string[] = [];
  async renewToken(): Promise<string> {
    return 'ivt_2';
  }
  welcomed(): void {}
  prompted({ prompt }: { prompt: string }): void {
    this.prompts.push(prompt);
  }
  captured({ capture }: CaptureMessage): void {
    this.captures.push(capture);
  }
  heard(): void {}
  linkChanged(): void {}
  ended(): void {}
}

/** A page: what dies with it is everything but the store. */
async function load(store: Store, clock: ManualClock): Promise<{ session: Session; owner: Owner }> {
  const owner = new Owner();
  const parts = { store, clock, random: () => 0.5, device: 'device-0001' };
  const session = await Session.open(
    { session: 's1', token: 'ivt_1', url: 'ws://server.test/v1/stream' },
    owner,
    parts,
  );
  session.link.open();
  return { session, owner };
}

async function shake(acknowledged: number): Promise<Record<string, unknown>> {
  FakeSocket.newest.say({ type: 'challenge', nonce: 'n', server: 'invigil/0' });
  await vi.waitFor(() => expect(FakeSocket.newest.sent).toHaveLength(1));
  const [hello] = FakeSocket.newest.take();
  FakeSocket.newest.say({ ...WELCOME, acknowledged });
  return hello as Record<string, unknown>;
}

const sent = () => FakeSocket.newest.take().map((message) => (message instanceof Uint8Array ? 'photo' : message.seq));

describe('a page that is loaded again', () => {
  it('goes on with the same key, seq and clock, and sends what the server lacks', async () => {
    const clock = new ManualClock();
    const first = await load(await open(), clock);
    const hello = await shake(0);
    expect(hello).toMatchObject({ acknowledged: 0, device: 'device-0001' });
    for (let count = 1; count <= 3; count++) {
      await clock.pass(1_000);
      first.session.report('windows', { count });
    }
    expect(sent()).toEqual([1, 2, 3]);
    FakeSocket.newest.say({ type: 'ack', seq: 2 });
    first.session.note();
    await settle();

    // Another page, 4 s later: its monotonic clock begins anew.
    clock.wallMs += 4_000;
    clock.nowMs = 50;
    const second = await load(await open(), clock);
    const again = await shake(2);
    expect(again).toMatchObject({ acknowledged: 2, key: hello.key });
    expect(again.ct).toBeGreaterThanOrEqual(7_000);
    expect(again.ct).toBeLessThan(7_100);
    expect(sent()).toEqual([3]);
    second.session.report('windows', { count: 4 });
    expect(FakeSocket.newest.take()).toMatchObject([{ seq: 4, data: { count: 4 } }]);
  });

  it('keeps its clock from going back when the machine was set back meanwhile', async () => {
    const clock = new ManualClock();
    const { session } = await load(await open(), clock);
    await shake(0);
    await clock.pass(60_000);
    session.note();
    await settle();
    clock.wallMs -= 3_600_000;
    clock.nowMs = 0;
    await load(await open(), clock);
    expect((await shake(0)).ct).toBeGreaterThanOrEqual(60_000);
  });

  it('sends the bytes that it has committed to, and takes no other photo', async () => {
    const clock = new ManualClock();
    const first = await load(await open(), clock);
    await shake(0);
    FakeSocket.newest.say(CAPTURE);
    expect(first.owner.captures).toEqual(['c1']);
    await first.session.submit(CAPTURE, new Uint8Array([1, 2, 3]));
    await settle();
    const second = await load(await open(), clock);
    await shake(1);
    expect(sent()).toEqual([]);
    FakeSocket.newest.say({ ...CAPTURE, committed: 'x' });
    expect([second.owner.captures, sent()]).toEqual([[], ['photo']]);
    FakeSocket.newest.say({ type: 'photo.received', capture: 'c1' });
    FakeSocket.newest.say({ ...CAPTURE, committed: 'x' });
    expect([second.owner.captures, sent()], 'what is lost is not taken again').toEqual([[], []]);
  });

  it('keeps no photo whose capture is over', async () => {
    const clock = new ManualClock();
    const store = await open();
    const { session } = await load(store, clock);
    await shake(0);
    FakeSocket.newest.say(CAPTURE);
    await session.submit(CAPTURE, new Uint8Array([1]));
    // The connection is lost, and with it how the capture ended. The next one comes after the welcome.
    session.link.wake();
    await shake(1);
    FakeSocket.newest.say({ ...CAPTURE, capture: 'c2' });
    await session.submit({ ...CAPTURE, capture: 'c2' }, new Uint8Array([2]));
    await settle();
    const kept = await store.open('s1');
    expect(kept?.photos.map(({ capture }) => capture)).toEqual(['c2']);
  });

  it('does not show a prompt again whose answer is on its way', async () => {
    const clock = new ManualClock();
    const first = await load(await open(), clock);
    await shake(0);
    first.session.report('prompt.answered', { prompt: 'q1', answer: 'a' });
    await settle();
    const second = await load(await open(), clock);
    await shake(0);
    const prompt = { type: 'prompt', kind: 'choice', text: '?', options: ['a'], answer_within_ms: 1 };
    FakeSocket.newest.say({ ...prompt, prompt: 'q1' });
    FakeSocket.newest.say({ ...prompt, prompt: 'q2' });
    expect(second.owner.prompts).toEqual(['q2']);
  });

  it('still ends a session that the learner has ended', async () => {
    const clock = new ManualClock();
    const first = await load(await open(), clock);
    await shake(0);
    first.session.report('windows', { count: 1 });
    first.session.leave('completed');
    expect(FakeSocket.newest.take(), 'not before the last event is on disk').toMatchObject([{ seq: 1 }]);
    await settle();
    await load(await open(), clock);
    await shake(1);
    expect(FakeSocket.newest.take()).toEqual([{ type: 'close', reason: 'completed' }]);
  });
});

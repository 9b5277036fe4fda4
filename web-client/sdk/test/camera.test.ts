// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Camera, looksVirtual } from '../src/camera.js';
import { type CaptureSeen, Captures } from '../src/captures.js';
import type { CaptureMessage } from '../src/wire.js';
import { ManualClock, settle } from './world.js';

class Track {
  label = 'Integrated Camera';
  stopped = false;
  onended: (() => void) | null = null;
  onmute: (() => void) | null = null;
  onunmute: (() => void) | null = null;
  stop(): void {
    this.stopped = true;
  }
}

const clock = { now: new ManualClock() };
let track: Track;
let asked: number;
let answer: () => Promise<unknown>;
let states: string[];
let camera: Camera;
/** What the driver does: a frame every 100 ms from here on, or none. */
let frames: { nextMs: number; closed: number; dead: boolean; size: number };

const refuse = (name: string) => async () => {
  throw new DOMException('', name);
};
const set = (target: object, name: string, value: unknown) =>
  Object.defineProperty(target, name, { value, configurable: true, writable: true });

beforeEach(() => {
  clock.now = new ManualClock();
  track = new Track();
  asked = 0;
  states = [];
  frames = { nextMs: 0, closed: 0, dead: false, size: 20_000 };
  answer = async () => ({ getVideoTracks: () => [track], getTracks: () => [track] });
  set(window, 'isSecureContext', true);
  set(navigator, 'mediaDevices', {
    getUserMedia: () => {
      asked += 1;
      return answer();
    },
  });
  set(navigator, 'permissions', { query: async () => ({ state: 'denied' }) });
  set(
    window,
    'MediaStreamTrackProcessor',
    class {
      readable = {
        getReader: () => ({
          read: async () => {
            if (frames.dead) return new Promise(() => {});
            frames.nextMs += 100;
            const close = () => {
              frames.closed += 1;
            };
            return {
              done: false,
              value: { timestamp: frames.nextMs * 1000, displayWidth: 640, displayHeight: 480, close },
            };
          },
          cancel: async () => {},
        }),
      };
    },
  );
  HTMLCanvasElement.prototype.getContext = (() => ({ drawImage: () => {} })) as never;
  HTMLCanvasElement.prototype.toBlob = function (this: HTMLCanvasElement, done, _type, quality = 1) {
    const bytes = new Uint8Array(Math.ceil((frames.size * (quality as number) * this.width) / 640));
    done({ size: bytes.length, arrayBuffer: async () => bytes.buffer } as Blob);
  };
  camera = new Camera(clock.now, ({ status, problem }) => states.push(problem ?? status));
});
afterEach(() => vi.restoreAllMocks());

describe('camera', () => {
  it('asks once, however often it is told to', async () => {
    await Promise.all([camera.enable(), camera.enable()]);
    await camera.enable();
    expect([asked, states, camera.state.label]).toEqual([1, ['asking', 'on'], 'Integrated Camera']);
    camera.stop();
    expect([track.stopped, camera.state.status]).toEqual([true, 'off']);
  });

  it.each([
    ['NotAllowedError', 'denied', 'blocked'],
    ['NotAllowedError', 'prompt', 'dismissed'],
    ['NotReadableError', 'granted', 'in_use'],
    ['NotFoundError', 'granted', 'none'],
    ['TypeError', 'granted', 'unknown'],
  ])('explains %s with permission %s as %s', async (name, state, problem) => {
    answer = refuse(name);
    set(navigator, 'permissions', { query: async () => ({ state }) });
    await expect(camera.enable()).rejects.toMatchObject({ code: 'camera', field: problem });
    expect(camera.state).toMatchObject({ status: 'failed', problem });
    answer = async () => ({ getVideoTracks: () => [track], getTracks: () => [track] });
    await camera.enable();
    expect(camera.state.status).toBe('on');
  });

  it('says what kind of page it is in where none can be had', async () => {
    set(window, 'isSecureContext', false);
    await expect(camera.enable()).rejects.toMatchObject({ field: 'insecure' });
    set(window, 'isSecureContext', true);
    set(navigator, 'mediaDevices', undefined);
    await expect(camera.enable()).rejects.toMatchObject({ field: 'unsupported' });
    set(navigator, 'userAgent', 'Mozilla/5.0 (iPhone) AppleWebKit/605 MicroMessenger/8.0');
    await expect(camera.enable()).rejects.toMatchObject({ field: 'webview' });
  });

  it('says that a frame around the page keeps the camera away', async () => {
    answer = refuse('NotAllowedError');
    set(window, 'top', {});
    set(document, 'featurePolicy', { allowsFeature: () => false });
    await expect(camera.enable()).rejects.toThrow(/allow="camera"/);
    set(window, 'top', window);
  });

  it('notices when it is taken away, or interrupted and given back', async () => {
    await camera.enable();
    track.onmute?.();
    track.onunmute?.();
    track.onended?.();
    expect(states).toEqual(['asking', 'on', 'interrupted', 'on', 'taken_away']);
    expect(camera.stream).toBeNull();
  });

  it('takes frames of one camera, as far apart as was asked, with their own times', async () => {
    await camera.enable();
    const shots = await camera.shoot(4, 250, 500_000, 4_000_000);
    expect(shots.map(({ atMs }) => atMs)).toEqual([100, 400, 600, 900]);
    expect(frames.closed).toBe(frames.nextMs / 100);
  });

  it('makes photos small enough for all of them together', async () => {
    await camera.enable();
    frames.size = 100_000;
    const shots = await camera.shoot(8, 0, 200_000, 4_000_000);
    expect(shots.reduce((sum, { bytes }) => sum + bytes.length, 0)).toBeLessThanOrEqual(200_000);
  });

  it('tries another way where one gives no frames, and gives up when none does', async () => {
    await camera.enable();
    frames.dead = true;
    Object.defineProperty(HTMLMediaElement.prototype, 'srcObject', { value: null, writable: true });
    HTMLMediaElement.prototype.play = async () => {};
    const shooting = camera.shoot(1, 0, 100_000, 4_000_000);
    await clock.now.pass(3_000);
    expect(await shooting).toHaveLength(1);
    HTMLMediaElement.prototype.play = () => new Promise(() => {});
    const failing = camera.shoot(1, 0, 100_000, 4_000_000);
    const failed = expect(failing).rejects.toMatchObject({ field: 'no_frames' });
    await clock.now.pass(10_000);
    await failed;
    expect(camera.state).toMatchObject({ status: 'failed', problem: 'no_frames' });
  });

  it.each(['OBS Virtual Camera', '/tmp/OBS Virtual Camera.mjpeg', 'ManyCam', 'XSplit VCam', '虚拟摄像头'])(
    'knows %s for a program',
    (label) => expect(looksVirtual(label)).toBe(true),
  );

  it.each(['Integrated Camera (0bda:5689)', 'FaceTime HD Camera', 'Jobs HD Webcam', 'iVCam', '/tmp/x/learner.y4m', ''])(
    'does not take %s for one',
    (label) => expect(looksVirtual(label)).toBe(false),
  );
});

const CAPTURE: CaptureMessage = {
  type: 'capture',
  capture: 'c1',
  nonce: 'n1',
  reason: 'random',
  commit_within_ms: 20_000,
  send_within_ms: 60_000,
  bytes_limit: 500_000,
  pixels_limit: 4_000_000,
  committed: null,
};

describe('captures', () => {
  let seen: string[];
  let sent: { capture: CaptureMessage; bytes: Uint8Array }[];
  let captures: Captures;
  beforeEach(() => {
    seen = [];
    sent = [];
    const changed = (capture: CaptureSeen | null) => {
      if (capture) seen.push(`${capture.step} ${capture.forMs}`);
    };
    captures = new Captures(camera, clock.now, {
      submit: async (capture, bytes) => sent.push({ capture, bytes }) > 0,
      changed,
      failed: () => {},
    });
  });

  it('takes a photo at once', async () => {
    await camera.enable();
    captures.asked(CAPTURE);
    await settle();
    expect(sent.map(({ capture, bytes }) => [capture.nonce, bytes[0]])).toEqual([['n1', 0]]);
    expect([seen, captures.wanted]).toEqual([['waiting 20000', 'taking 0', 'sent 0'], false]);
  });

  it('shows a move before it takes the burst', async () => {
    await camera.enable();
    captures.asked({ ...CAPTURE, frames: 6, frame_every_ms: 200, challenge: 'turn_left' });
    await settle();
    expect([seen, sent]).toEqual([['waiting 20000', 'announced 2000'], []]);
    await clock.now.pass(2_000);
    expect(seen.slice(2)).toEqual(['taking 1000', 'sent 0']);
    expect(new TextDecoder().decode(sent[0]!.bytes.subarray(0, 4))).toBe('IVB1');
    expect(sent[0]!.bytes[4]).toBe(6);
  });

  it('waits for the camera', async () => {
    captures.asked(CAPTURE);
    await clock.now.pass(5_000);
    expect([sent, captures.wanted]).toEqual([[], true]);
    await camera.enable();
    await captures.work();
    expect(sent).toHaveLength(1);
  });

  it('does not answer what is asked no more', async () => {
    await camera.enable();
    captures.asked({ ...CAPTURE, challenge: 'look_up' });
    await settle();
    captures.closed('c1');
    await clock.now.pass(30_000);
    expect(sent).toEqual([]);
  });

  it('answers with the nonce that was given last', async () => {
    await camera.enable();
    captures.asked({ ...CAPTURE, challenge: 'look_up' });
    await settle();
    captures.asked({ ...CAPTURE, challenge: 'look_up', nonce: 'n2' });
    await clock.now.pass(10_000);
    expect(sent.map(({ capture }) => capture.nonce)).toEqual(['n2']);
  });
});

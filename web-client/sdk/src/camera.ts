/** The camera: how it is asked for, why it cannot be had, and frames with the times at which they were taken. */

import type { Clock } from './clock.js';
import { ProctorError } from './errors.js';
import type { Shot } from './wire.js';

/** Why there is no picture. */
export type CameraProblem =
  /** the learner, or the browser's settings, said no */
  | 'blocked'
  /** the question was closed without an answer */
  | 'dismissed'
  /** another program has it */
  | 'in_use'
  /** there is no camera */
  | 'none'
  /** the page is not on HTTPS */
  | 'insecure'
  /** the page is in a frame without `allow="camera"` */
  | 'frame'
  /** this app's built-in browser has no camera for pages */
  | 'webview'
  /** this browser is too old */
  | 'unsupported'
  /** it was unplugged, or its permission withdrawn */
  | 'taken_away'
  /** the system has stopped it for now, as during a phone call */
  | 'interrupted'
  /** it is on, but gives no pictures */
  | 'no_frames'
  /** something else */
  | 'unknown';

export interface CameraState {
  status: 'off' | 'asking' | 'on' | 'failed';
  problem: CameraProblem | null;
  /** what the browser calls it */
  label: string;
}

/** What to do about it, for whoever writes the page; the learner is told by the interface. */
const WAYS_OUT: Record<CameraProblem, string> = {
  blocked: "allow it in the browser's site settings",
  dismissed: 'call enableCamera() from a click again',
  in_use: 'close the program that uses it',
  none: 'plug one in',
  insecure: 'serve the page over HTTPS',
  frame: 'add allow="camera" to the <iframe>',
  webview: "open the page in the system's browser",
  unsupported: 'use a current browser',
  taken_away: 'connect it again',
  interrupted: 'it goes on by itself',
  no_frames: 'check its cover, or choose another',
  unknown: 'use another',
};

const unusable = (problem: CameraProblem) =>
  new ProctorError('camera', `the camera cannot be used (${problem}): ${WAYS_OUT[problem]}`, problem);

/** Cameras that are programs, as drivers call themselves. A phone that serves as a camera is none of them. */
const VIRTUAL =
  /\bobs\b|obs-?virtual|virtual ?cam|manycam|xsplit|splitcam|snap camera|youcam|e2esoft|\bvcam\b|v4l2loopback|dummy video device|虚拟摄像/i;
const IN_APP = /MicroMessenger|DingTalk|QQ\/|AlipayClient|Weibo|; wv\)/i;
/** How long a frame may take, ms; two ways of getting one are tried within the time of a capture. */
const FRAME_LIMIT_MS = 3_000;
/** A photo of a burst is at most this, whatever the whole may be. */
const PHOTO_LIMIT_BYTES = 512 * 1024;
const LONGEST_SIDE = 1_280;
/** JPEG qualities that are tried until the photo is small enough; 640×480 at the first is about 40 KB. */
const QUALITIES = [0.85, 0.7, 0.5, 0.3];

/** A camera label that is a program's. */
export function looksVirtual(label: string): boolean {
  return VIRTUAL.test(label);
}

/** What stands in the way of asking for the camera at all. */
function obstacle(): CameraProblem | null {
  if (!window.isSecureContext) return 'insecure';
  // Missing where the types say that it cannot be.
  if ((navigator.mediaDevices as MediaDevices | undefined)?.getUserMedia !== undefined) return null;
  return IN_APP.test(navigator.userAgent) ? 'webview' : 'unsupported';
}

function framedOut(): boolean {
  const policy = (document as { featurePolicy?: { allowsFeature(name: string): boolean } }).featurePolicy;
  return window.top !== window && policy?.allowsFeature('camera') === false;
}

async function explain(error: unknown): Promise<CameraProblem> {
  switch ((error as DOMException | null)?.name) {
    case 'NotAllowedError':
    case 'SecurityError': {
      if (framedOut()) return 'frame';
      if (IN_APP.test(navigator.userAgent)) return 'webview';
      try {
        const { state } = await navigator.permissions.query({ name: 'camera' as PermissionName });
        return state === 'prompt' ? 'dismissed' : 'blocked';
      } catch {
        return 'blocked';
      }
    }
    case 'NotFoundError':
    case 'OverconstrainedError':
      return 'none';
    case 'NotReadableError':
    case 'AbortError':
      return 'in_use';
    default:
      return 'unknown';
  }
}

type Picture = CanvasImageSource & { close?(): void };
interface Frame {
  picture: Picture;
  atMs: number;
  width: number;
  height: number;
}
interface TrackProcessors {
  MediaStreamTrackProcessor: new (init: { track: MediaStreamTrack }) => { readable: ReadableStream<VideoFrame> };
}

/** Frames one after another, each newer than the one before. */
interface Source {
  next(): Promise<Frame>;
  stop(): void;
}

export class Camera {
  state: CameraState = { status: 'off', problem: null, label: '' };
  stream: MediaStream | null = null;
  #asking: Promise<void> | null = null;

  readonly #clock: Clock;
  readonly #changed: (state: CameraState) => void;

  constructor(clock: Clock, changed: (state: CameraState) => void) {
    this.#clock = clock;
    this.#changed = changed;
  }

  /** Asks for the camera; to be called from a click. Rejects with the reason and a way out. */
  enable(constraints: MediaTrackConstraints = {}): Promise<void> {
    if (this.state.status === 'on') return Promise.resolve();
    this.#asking ??= this.#ask(constraints).finally(() => {
      this.#asking = null;
    });
    return this.#asking;
  }

  stop(): void {
    this.#letGo();
    this.#become({ status: 'off', problem: null, label: '' });
  }

  /** Takes `count` frames, `everyMs` apart, as JPEGs that fit into `bytesLimit` together. */
  async shoot(count: number, everyMs: number, bytesLimit: number, pixelsLimit: number): Promise<Shot[]> {
    const track = this.stream?.getVideoTracks()[0];
    if (track === undefined) throw unusable('taken_away');
    const each = Math.min(PHOTO_LIMIT_BYTES, Math.floor(bytesLimit / count) - 16);
    const opened = await this.#openSource(track, this.stream!);
    const { source } = opened;
    const shots: Shot[] = [];
    try {
      let frame = opened.first;
      for (let k = 0; k < count; k++) {
        if (k > 0) frame = await this.#frameAfter(source, shots[0]!.atMs + k * everyMs);
        shots.push({ atMs: frame.atMs, bytes: await encode(frame, each, pixelsLimit) });
        frame.picture.close?.();
      }
    } finally {
      source.stop();
    }
    return shots;
  }

  /**
   * The first way that gives a frame: from the track where the browser can, because that goes on in a hidden page and
   * has the camera's own times.
   */
  async #openSource(track: MediaStreamTrack, stream: MediaStream): Promise<{ source: Source; first: Frame }> {
    for (const open of [() => fromTrack(track), () => fromElement(stream, this.#clock)]) {
      let source: Source | null = null;
      try {
        source = await this.#inTime(open());
        return { source, first: await this.#inTime(source.next()) };
      } catch {
        source?.stop();
      }
    }
    if (this.stream !== stream) throw unusable('taken_away');
    throw this.#fail('no_frames');
  }

  async #frameAfter(source: Source, atMs: number): Promise<Frame> {
    for (;;) {
      const frame = await this.#inTime(source.next());
      if (frame.atMs >= atMs - 1) return frame;
      frame.picture.close?.();
    }
  }

  #inTime<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const cancel = this.#clock.after(FRAME_LIMIT_MS, () => reject(unusable('no_frames')));
      work.then(resolve, reject).finally(cancel);
    });
  }

  async #ask(video: MediaTrackConstraints): Promise<void> {
    this.#letGo();
    const blocked = obstacle();
    if (blocked) throw this.#fail(blocked);
    this.#become({ status: 'asking', problem: null, label: '' });
    try {
      const wanted = { width: { ideal: 640 }, height: { ideal: 480 }, facingMode: 'user', ...video };
      this.#take(await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false }));
    } catch (error) {
      throw this.#fail(await explain(error));
    }
  }

  #take(stream: MediaStream): void {
    this.stream = stream;
    const track = stream.getVideoTracks()[0]!;
    const label = track.label;
    const mine = () => this.stream === stream;
    track.onended = () => mine() && this.#fail('taken_away');
    track.onmute = () => mine() && this.#become({ status: 'failed', problem: 'interrupted', label });
    track.onunmute = () => mine() && this.#become({ status: 'on', problem: null, label });
    this.#become({ status: 'on', problem: null, label });
  }

  #fail(problem: CameraProblem): ProctorError {
    const { label } = this.state;
    this.#letGo();
    this.#become({ status: 'failed', problem, label });
    return unusable(problem);
  }

  #letGo(): void {
    const { stream } = this;
    this.stream = null;
    for (const track of stream?.getTracks() ?? []) track.stop();
  }

  #become(state: CameraState): void {
    this.state = Object.freeze(state);
    this.#changed(this.state);
  }
}

/** Throws where the browser has no such thing. */
async function fromTrack(track: MediaStreamTrack): Promise<Source> {
  const reader = new (window as unknown as TrackProcessors).MediaStreamTrackProcessor({ track }).readable.getReader();
  return {
    next: async () => {
      const { value, done } = await reader.read();
      if (done) throw unusable('taken_away');
      return { picture: value, atMs: value.timestamp / 1000, width: value.displayWidth, height: value.displayHeight };
    },
    stop: () => void reader.cancel().catch(() => {}),
  };
}

/** For browsers that cannot read a track: a video that nobody sees. */
async function fromElement(stream: MediaStream, clock: Clock): Promise<Source> {
  const video = document.createElement('video');
  video.muted = true;
  video.playsInline = true;
  video.srcObject = stream;
  await video.play();
  let shown = -1;
  return {
    next: async () => {
      while (video.currentTime === shown) await new Promise<void>((resolve) => void clock.after(20, () => resolve()));
      shown = video.currentTime;
      return { picture: video, atMs: clock.now(), width: video.videoWidth, height: video.videoHeight };
    },
    stop: () => {
      video.srcObject = null;
    },
  };
}

async function encode(frame: Frame, bytesLimit: number, pixelsLimit: number): Promise<Uint8Array> {
  const { width, height } = frame;
  let scale = Math.min(1, LONGEST_SIDE / Math.max(width, height), Math.sqrt(pixelsLimit / (width * height)));
  for (let tries = 0; tries < 3; tries++, scale /= 2) {
    const canvas = document.createElement('canvas');
    canvas.width = Math.max(1, Math.floor(width * scale));
    canvas.height = Math.max(1, Math.floor(height * scale));
    canvas.getContext('2d')!.drawImage(frame.picture, 0, 0, canvas.width, canvas.height);
    for (const quality of QUALITIES) {
      const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, 'image/jpeg', quality));
      if (blob !== null && blob.size <= bytesLimit) return new Uint8Array(await blob.arrayBuffer());
    }
  }
  throw new ProctorError('camera', `a photo does not fit into ${bytesLimit} bytes`, 'unknown');
}

/**
 * The browser's own getters and methods, as an untouched realm has them.
 *
 * A page may patch its prototypes so that a video seems to run at normal speed or a hidden page to be visible. The
 * window of a fresh frame has its own copies, and they work on the objects of this page. What is read through them is
 * reported; what the page claims is only held against it.
 */

export interface Natives {
  /** ms on a clock that nobody sets */
  now(): number;
  /** ms since the Unix epoch */
  wall(): number;
  currentTime(video: HTMLMediaElement): number;
  setCurrentTime(video: HTMLMediaElement, seconds: number): void;
  playbackRate(video: HTMLMediaElement): number;
  setPlaybackRate(video: HTMLMediaElement, rate: number): void;
  paused(video: HTMLMediaElement): boolean;
  ended(video: HTMLMediaElement): boolean;
  play(video: HTMLMediaElement): Promise<void>;
  pause(video: HTMLMediaElement): void;
  visible(): boolean;
  /** whether the learner is in this page, or in the one around it on the same site */
  focused(): boolean;
  /** whether this very document has the focus */
  hasFocus(): boolean;
  /** Listens without regard to a patched `addEventListener`; returns how to stop. */
  listen(target: EventTarget, type: string, listener: (event: Event) => void, capture?: boolean): () => void;
}

type Realm = Window & typeof globalThis;

/** A window that no script of the page has touched; the page's own when none can be had. */
function pristineRealm(): Realm {
  try {
    const frame = document.createElement('iframe');
    frame.style.display = 'none';
    frame.setAttribute('aria-hidden', 'true');
    (document.head ?? document.documentElement).append(frame);
    // The frame stays: some browsers let go of a realm together with its frame.
    return (frame.contentWindow as Realm | null) ?? window;
  } catch {
    return window;
  }
}

export function captureNatives(realm: Realm = pristineRealm()): Natives {
  const { apply } = realm.Reflect;
  const describe = realm.Object.getOwnPropertyDescriptor;
  type Owner = 'HTMLMediaElement' | 'Document' | 'Performance' | 'EventTarget';
  const descriptor = (owner: Owner, name: string): PropertyDescriptor | undefined => {
    const prototype = (realm[owner] ?? window[owner])?.prototype;
    return prototype && describe(prototype, name);
  };
  const getter = <T, R>(owner: Owner, name: string) => {
    const get = descriptor(owner, name)?.get;
    return (target: T): R => (get ? apply(get, target, []) : (target as Record<string, unknown>)[name]) as R;
  };
  const setter = <T, V>(owner: Owner, name: string) => {
    const set = descriptor(owner, name)?.set;
    return (target: T, value: V): void => {
      if (set) apply(set, target, [value]);
      else (target as Record<string, unknown>)[name] = value;
    };
  };
  const method = <T, R>(owner: Owner, name: string) => {
    const call = descriptor(owner, name)?.value;
    return (target: T, ...args: unknown[]): R =>
      apply(call ?? (target as Record<string, unknown>)[name], target, args) as R;
  };
  const now = method<Performance, number>('Performance', 'now');
  const hidden = getter<Document, boolean>('Document', 'hidden');
  const hasFocus = method<Document, boolean>('Document', 'hasFocus');
  const add = method<EventTarget, void>('EventTarget', 'addEventListener');
  const remove = method<EventTarget, void>('EventTarget', 'removeEventListener');
  const wall = realm.Date.now;
  return {
    now: () => now(performance),
    wall: () => wall(),
    currentTime: getter('HTMLMediaElement', 'currentTime'),
    setCurrentTime: setter('HTMLMediaElement', 'currentTime'),
    playbackRate: getter('HTMLMediaElement', 'playbackRate'),
    setPlaybackRate: setter('HTMLMediaElement', 'playbackRate'),
    paused: getter('HTMLMediaElement', 'paused'),
    ended: getter('HTMLMediaElement', 'ended'),
    play: method('HTMLMediaElement', 'play'),
    pause: method('HTMLMediaElement', 'pause'),
    visible: () => !hidden(document),
    focused: () => {
      if (hasFocus(document)) return true;
      try {
        // In a frame of the same site, the learner may be in the page around it.
        return window.top !== window && window.top !== null && hasFocus(window.top.document);
      } catch {
        return false;
      }
    },
    hasFocus: () => hasFocus(document),
    listen: (target, type, listener, capture = false) => {
      add(target, type, listener, capture);
      return () => remove(target, type, listener, capture);
    },
  };
}

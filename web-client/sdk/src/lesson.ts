/** A lesson under way: the player, the page, other windows, and the steady beat that says what all of them do. */

import type { Clock } from './clock.js';
import type { Hold, Holds } from './holds.js';
import { Integrity } from './integrity.js';
import type { Hint, Player } from './player/adapter.js';
import { Observer } from './player/observer.js';
import type { Natives } from './realm.js';
import type { Session } from './session.js';
import type { Windows } from './windows.js';
import type { PlayerState, WelcomeMessage } from './wire.js';

const TICK_MS = 1_000;
/** A connection that is away for so long stops the film (docs/protocol.md, section 2). */
const CONNECTION_LIMIT_MS = 20_000;
/** The machine's clock and the monotonic one differ by this much between two ticks only after a sleep. */
const SLEPT_MS = 10_000;
/** Without focus so long, the learner is told: half of what the rules allow. */
const UNFOCUSED_WARNING_MS = 30_000;
/** How long a second window may play, against being told, before it is reported. */
const BESIDE_LIMIT_MS = 5_000;
/** A position that runs so much faster than the rate that is read, beat after beat, belies it, thousandths. */
const BELIED_MILLI = 1_500;
/** How far ahead of what was watched a jump may land, ms; the rules allow a second. */
const REACH_MS = 900;
/** Corrections of speed and position in ten seconds, before a page that insists is only observed. */
const CORRECTIONS_LIMIT = 5;

/** What the learner is told before, or when, something counts against them. */
export type PageWarning = 'seek_ahead' | 'rate' | 'unfocused' | 'other_window' | 'play_blocked';

export interface LessonParts {
  natives: Natives;
  clock: Clock;
  session: Session;
  holds: Holds;
  windows: Windows;
  /** whether jumps ahead and other speeds are taken back */
  guide: boolean;
  warn(code: PageWarning): void;
  progress(state: PlayerState, furthestMs: number): void;
}

export class Lesson {
  #observer: Observer | null = null;
  readonly #integrity: Integrity;
  readonly #unlisten: (() => void)[];
  #cancelTick: () => void = () => {};
  #cancelBeat: () => void = () => {};
  #page: { visible: boolean; focused: boolean } | null = null;
  #furthestMs: number;
  #resumeAtMs: number | null;
  #lastTick: { now: number; wall: number };
  #unfocusedSinceMs: number | null = null;
  #unfocusedTold = false;
  #corrections: number[] = [];
  #crowdedTicks = 0;
  #crowdTold = false;
  #besideMs = 0;
  #windowsTold = 1;
  #belied = 0;
  #stopped = false;

  readonly #parts: LessonParts;
  readonly #welcome: WelcomeMessage;

  constructor(parts: LessonParts, welcome: WelcomeMessage) {
    this.#parts = parts;
    this.#welcome = welcome;
    const { natives, clock, session } = parts;
    this.#furthestMs = welcome.furthest_ms;
    this.#resumeAtMs = welcome.position_ms;
    this.#lastTick = { now: clock.now(), wall: clock.wall() };
    this.#integrity = new Integrity(natives, (what) => session.report('tamper', { what }));
    const look = () => this.#lookAtPage();
    this.#unlisten = [
      natives.listen(document, 'visibilitychange', look, true),
      natives.listen(window, 'focus', look, true),
      natives.listen(window, 'blur', look, true),
    ];
  }

  /** Everything begins; the player, when there is one, goes to where the lesson goes on. */
  begin(player: Player | null): void {
    if (player) this.attach(player);
    this.#lookAtPage();
    this.#parts.session.report('windows', { count: 1 });
    this.#tick(this.#parts.clock.now());
    this.#beat();
  }

  attach(player: Player): void {
    this.#furthestMs = this.furthest;
    this.#observer = new Observer(player, {
      now: () => this.#parts.clock.now(),
      playback: (event, state, agoMs, fromMs) => {
        const data = { event, ...(fromMs !== undefined && { from_ms: fromMs }), ...state };
        this.#parts.session.report('playback', data, agoMs);
        this.#parts.progress(state, this.furthest);
      },
    });
    this.#observer.furthestMs = this.#furthestMs;
    this.#goOn();
    this.#observer.look();
  }

  get furthest(): number {
    return this.#observer?.furthestMs ?? this.#furthestMs;
  }

  /** Whether the film is through, as far as the page can tell. */
  get through(): boolean {
    return this.furthest >= this.#welcome.duration_ms * 0.95;
  }

  tamper(what: string): void {
    this.#integrity.once(what);
  }

  /** A further welcome: the server may know more than this page. */
  welcomed(welcome: WelcomeMessage): void {
    if (this.#observer) this.#observer.furthestMs = Math.max(this.#observer.furthestMs, welcome.furthest_ms);
  }

  hint(hint: Hint): void {
    const observer = this.#observer;
    if (observer === null || this.#stopped) return;
    if (hint === 'loadedmetadata') this.#goOn();
    if (hint === 'play') this.#parts.holds.enforce();
    if (this.#parts.guide && (hint === 'seeking' || hint === 'ratechange') && this.#correct(observer)) return;
    if (hint === 'seeking') observer.seeking();
    // While the learner drags, one jump is told, at its end.
    else this.look();
  }

  /** Reads the player now; what it did is reported. */
  look(): PlayerState {
    if (this.#observer === null) return { playing: false, pos_ms: this.#resumeAtMs ?? 0, rate: 1 };
    const state = this.#observer.look();
    if (state.playing) this.#resumeAtMs = null;
    return state;
  }

  /** The page goes away: where the player stood is said while it can be. */
  leave(): void {
    if (this.#observer?.read().playing) {
      this.#observer.player.pause();
      this.look();
    }
  }

  stop(): void {
    if (this.#stopped) return;
    this.leave();
    this.#stopped = true;
    for (const stop of this.#unlisten) stop();
    this.#cancelTick();
    this.#cancelBeat();
  }

  /** To where the lesson goes on, unless it was played since. */
  #goOn(): void {
    const observer = this.#observer;
    const resumeAtMs = this.#resumeAtMs;
    if (observer === null || resumeAtMs === null) return;
    if (Math.abs(observer.read().pos_ms - resumeAtMs) > REACH_MS) observer.player.seek(resumeAtMs);
    observer.begin();
  }

  #tick(atMs: number): void {
    const { clock, natives, session, holds, guide } = this.#parts;
    this.#cancelTick = clock.after(TICK_MS, (at) => this.#tick(at));
    this.#noticeSleep();
    this.#observer?.player.refresh();
    this.#lookAtPage();
    const state = this.look();
    this.#integrity.look(this.#observer?.player.lies() ?? []);
    if (guide && this.#observer) this.#correct(this.#observer);
    holds.enforce();
    const { downSinceMs } = session.link;
    holds.set('connection', downSinceMs !== null && clock.now() - downSinceMs >= CONNECTION_LIMIT_MS);
    this.#watchFocus(state.playing && natives.visible() && !natives.focused(), atMs);
    void this.#lookAtWindows(state.playing);
  }

  #beat(): void {
    const { clock, session, progress } = this.#parts;
    this.#cancelBeat = clock.after(this.#welcome.heartbeat_ms, (atMs) => {
      this.#beat();
      const state = this.look();
      const speed = this.#observer?.speed(atMs) ?? null;
      session.report('heartbeat', { ...state, ...(speed !== null && { speed_milli: speed }) });
      // Whoever patches every realm of the browser still cannot patch the film.
      this.#belied = speed !== null && speed > state.rate * BELIED_MILLI ? this.#belied + 1 : 0;
      if (this.#belied >= 2) this.tamper('playback_rate_overridden');
      session.note();
      progress(state, this.furthest);
    });
  }

  #lookAtPage(): void {
    if (this.#stopped) return;
    const { natives, session, holds } = this.#parts;
    const visible = natives.visible();
    const focused = visible && natives.focused();
    const page = this.#page;
    if (page?.visible === visible && page.focused === focused) return;
    this.#page = { visible, focused };
    session.report('page', { visible, focused, ...this.look() });
    holds.set('hidden', !visible);
  }

  /** Takes back a speed that is not 1 and a jump ahead of what was watched. Whether it did either. */
  #correct(observer: Observer): boolean {
    const { clock, warn } = this.#parts;
    const { pos_ms, rate } = observer.read();
    const ahead = pos_ms > observer.furthestMs + REACH_MS && pos_ms > observer.expected() + REACH_MS;
    if ((rate === 1 && !ahead) || !this.#mayCorrect(clock.now())) return false;
    if (rate !== 1) {
      observer.player.setRate(1);
      warn('rate');
    }
    if (ahead) {
      observer.player.seek(Math.min(observer.expected(), observer.furthestMs));
      observer.seekUndone();
      warn('seek_ahead');
    }
    return true;
  }

  #mayCorrect(now: number): boolean {
    this.#corrections = this.#corrections.filter((at) => now - at < 10_000);
    return this.#corrections.length < CORRECTIONS_LIMIT && this.#corrections.push(now) > 0;
  }

  #noticeSleep(): void {
    const { clock, session } = this.#parts;
    const now = { now: clock.now(), wall: clock.wall() };
    const passedMs = now.now - this.#lastTick.now;
    const sleptMs = now.wall - this.#lastTick.wall - passedMs;
    this.#lastTick = now;
    // A new connection ties the clocks together again, whichever of them stood still.
    if (sleptMs > SLEPT_MS || passedMs > SLEPT_MS * 3) session.link.wake();
  }

  #watchFocus(without: boolean, atMs: number): void {
    if (!without) {
      this.#unfocusedSinceMs = null;
      this.#unfocusedTold = false;
      return;
    }
    this.#unfocusedSinceMs ??= atMs;
    if (this.#unfocusedTold || atMs - this.#unfocusedSinceMs < UNFOCUSED_WARNING_MS) return;
    this.#unfocusedTold = true;
    this.#parts.warn('unfocused');
  }

  async #lookAtWindows(playing: boolean): Promise<void> {
    const { windows, holds, session, guide, warn } = this.#parts;
    const { count, first } = await windows.look();
    if (this.#stopped) return;
    // A page that is being loaded again is there twice for a moment.
    this.#crowdedTicks = count > 1 ? this.#crowdedTicks + 1 : 0;
    const crowded = this.#crowdedTicks >= 2;
    if (crowded && !this.#crowdTold) warn('other_window');
    this.#crowdTold = crowded;
    if (guide) holds.set('windows' satisfies Hold, crowded && !first);
    this.#besideMs = crowded && !first && playing ? this.#besideMs + TICK_MS : 0;
    const told = this.#besideMs >= BESIDE_LIMIT_MS ? count : crowded ? this.#windowsTold : 1;
    if (told === this.#windowsTold) return;
    this.#windowsTold = told;
    session.report('windows', { count: told });
  }
}

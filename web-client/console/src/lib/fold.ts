// Reads a log as docs/rules.md (sections 3 to 7) says, to show what was measured when. It judges nothing: the verdict is the
// server's. A test holds its sums against the verdicts of tests/examples.

import type { LogLine } from '../types';
import { add, type Interval, lengthOutside } from './intervals';
import type { Parameters } from './parameters';

/** A moment of the player: where it was, at which time. */
export interface Point {
  n: number;
  t: number;
  playing: boolean;
  pos: number;
}

/** How the position got from one observation to the next. */
export interface Stretch {
  n: number;
  from: Point;
  to: Point;
  /** `ahead`: it went further than the clock allows */
  kind: 'watched' | 'unobserved' | 'ahead' | 'back' | 'paused' | 'jump';
  hidden: boolean;
  focused: boolean;
}

/** What stood in the engine's books after a line. */
export interface Measures {
  /** when the event happened, ms since the Unix epoch */
  t: number;
  dt: number;
  /** how far the position went, and how far it might have */
  advance: number;
  allowed: number;
  rate: number;
  pos: number;
  /** how far the learner might jump, before this line */
  reach: number;
  hiddenPlay: number;
  blurPlay: number;
  sinceControl: number;
  unverified: number;
  streak: number;
  spoofs: number;
  failuresInWindow: number;
  conflict: number;
  windows: number;
  lead: number;
  hourWatch: number;
  passive: number;
}

export interface Folded {
  track: Point[];
  stretches: Stretch[];
  /** by log number */
  measures: Map<number, Measures>;
  coverage: Interval[];
  watchMs: number;
  watchedMs: number;
  furthest: number;
  creditableMs: number;
  sinceControl: number;
  excess: number;
}

const number = (value: unknown, otherwise = 0): number => (typeof value === 'number' ? value : otherwise);

class Clock {
  private anchor: { ct: number; at: number } | null = null;
  private isSynced = false;
  private last = 0;
  lead = 0;

  begin(at: number): void {
    this.last = at;
  }

  open(ct: number, at: number): void {
    this.anchor = { ct, at };
    this.isSynced = false;
  }

  sync(ct: number, at: number): void {
    if (!this.anchor) return;
    this.lead = this.leadOf(ct, at);
    if (!this.isSynced || this.lead <= Math.floor((at - this.anchor.at) / 500) + 200) this.anchor = { ct, at };
    this.isSynced = true;
  }

  event(ct: number, at: number): number {
    if (this.anchor && this.isSynced) this.lead = this.leadOf(ct, at);
    const said = this.anchor ? Math.min(at, this.anchor.at + (ct - this.anchor.ct)) : at;
    this.last = Math.max(said, this.last);
    return this.last;
  }

  private leadOf(ct: number, at: number): number {
    return this.anchor ? ct - this.anchor.ct - (at - this.anchor.at) : 0;
  }
}

export class Fold {
  private readonly clock = new Clock();
  private readonly track: Point[] = [];
  private readonly stretches: Stretch[] = [];
  private readonly measures = new Map<number, Measures>();
  private readonly prompts = new Set<string>();
  private prev: Point | null = null;
  private duration = 0;
  private coverage: Interval[] = [];
  private covered: Interval[] = [];
  private history: string[] = [];
  private visible = true;
  private focused = true;
  private verified = false;
  private watchMs = 0;
  private furthest = 0;
  private excess = 0;
  private passiveSum = 0;
  private passiveScores = 0;
  private now: Measures = {
    t: 0,
    dt: 0,
    advance: 0,
    allowed: 0,
    rate: 0,
    pos: 0,
    reach: 0,
    hiddenPlay: 0,
    blurPlay: 0,
    sinceControl: 0,
    unverified: 0,
    streak: 0,
    spoofs: 0,
    failuresInWindow: 0,
    conflict: 0,
    windows: 0,
    lead: 0,
    hourWatch: 0,
    passive: 0,
  };

  constructor(private readonly parameters: Parameters) {}

  apply(line: LogLine): void {
    const { now } = this;
    Object.assign(now, { t: line.at, dt: 0, advance: 0, allowed: 0, reach: this.furthest });
    if (line.src === 'client') now.t = this.clock.event(number(line.ct), line.at);
    switch (line.type) {
      case 'session.opened':
        this.open(line);
        break;
      case 'connection.opened':
        this.clock.open(number(line.data.ct), line.at);
        break;
      case 'clock.synced':
        this.clock.sync(number(line.data.ct), line.at);
        break;
      case 'heartbeat':
      case 'playback':
      case 'page':
        this.observed(line);
        break;
      case 'windows':
        now.windows = number(line.data.count);
        break;
      case 'prompt.issued':
        this.prompts.add(String(line.data.prompt));
        break;
      case 'prompt.resolved':
        if (this.prompts.delete(String(line.data.prompt)) && line.data.outcome === 'passed') now.sinceControl = 0;
        break;
      case 'face.checked':
        this.checked(String(line.data.outcome), line.data.passive_milli);
        break;
      case 'capture.expired':
        this.checked('expired', undefined);
        break;
      case 'presence.conflict': {
        const overlap = number(line.data.to_at) - number(line.data.from_at);
        if (overlap >= 1000) now.conflict += overlap;
        break;
      }
    }
    now.lead = this.clock.lead;
    this.measures.set(line.n, { ...now });
  }

  result(): Folded {
    const watchedMs = lengthOutside(this.coverage, this.covered);
    const before = this.covered.reduce((sum, [from, to]) => sum + (to - from), 0);
    const inTime = Math.floor((this.watchMs * this.parameters.max_rate_milli) / 1000);
    return {
      track: this.track,
      stretches: this.stretches,
      measures: this.measures,
      coverage: this.coverage,
      watchMs: this.watchMs,
      watchedMs,
      furthest: this.furthest,
      creditableMs: Math.min(watchedMs, Math.max(0, this.duration - before), inTime),
      sinceControl: this.now.sinceControl,
      excess: this.excess,
    };
  }

  private open(line: LogLine): void {
    const facts = line.data.facts ?? {};
    const carried = facts.carried ?? {};
    this.clock.begin(line.at);
    this.duration = number(line.data.duration_ms);
    this.covered = facts.covered_before ?? [];
    this.furthest = number(facts.furthest_before_ms, this.covered.at(-1)?.[1] ?? 0);
    this.excess = number(carried.excess_ms);
    this.history = [...(carried.face_history ?? [])];
    this.passiveScores = number(carried.passive_scores);
    this.passiveSum = number(carried.passive_sum_milli);
    Object.assign(this.now, {
      reach: this.furthest,
      sinceControl: number(carried.since_control_ms),
      unverified: number(carried.unverified_ms),
      streak: number(carried.face_failures),
      conflict: number(carried.conflict_ms),
      hourWatch: number(carried.hour_watch_ms),
    });
  }

  private observed(line: LogLine): void {
    const { data } = line;
    const within = (position: unknown) => Math.min(Math.max(number(position), 0), this.duration);
    const isLate = line.at - this.now.t > this.parameters.late_limit_ms;
    const point: Point = { n: line.n, t: this.now.t, playing: data.playing === true, pos: within(data.pos_ms) };
    this.now.rate = number(data.rate);
    this.now.pos = point.pos;
    if (line.type === 'playback' && data.event === 'seek') {
      const from: Point = { ...point, playing: this.prev?.playing ?? point.playing, pos: within(data.from_ms) };
      this.step(from, isLate);
      this.now.reach = this.furthest;
      if (this.isOutOfReach(point.pos)) this.furthest = Math.max(this.furthest, point.pos);
      this.note('jump', from, point);
      this.prev = point;
    } else {
      this.step(point, isLate);
    }
    if (line.type === 'page') this.page(data.visible === true, data.focused === true);
  }

  private page(visible: boolean, focused: boolean): void {
    if (visible) this.now.hiddenPlay = 0;
    if (!visible || focused) this.now.blurPlay = 0;
    this.visible = visible;
    this.focused = focused;
  }

  private isOutOfReach(pos: number): boolean {
    return pos > this.furthest + this.parameters.jump_tolerance_ms;
  }

  private note(kind: Stretch['kind'], from: Point, to: Point): void {
    this.stretches.push({ n: to.n, from, to, kind, hidden: !this.visible, focused: this.focused });
    this.track.push(to);
  }

  private step(point: Point, isLate: boolean): void {
    const { prev, now, parameters } = this;
    this.prev = point;
    if (!prev?.playing) {
      const isJump = this.isOutOfReach(point.pos);
      if (isJump) this.furthest = point.pos;
      if (prev) this.note(isJump ? 'jump' : 'paused', prev, point);
      else this.track.push(point);
      return;
    }
    const dt = point.t - prev.t;
    const dp = point.pos - prev.pos;
    const allowed = Math.floor((dt * parameters.max_rate_milli) / 1000);
    Object.assign(now, { dt, advance: dp, allowed: allowed + parameters.position_tolerance_ms - this.excess });
    const isObserved = dt <= parameters.gap_limit_ms;
    if (dp > allowed + parameters.position_tolerance_ms - this.excess) {
      if (this.isOutOfReach(point.pos)) this.furthest = Math.max(this.furthest, point.pos);
      this.note('ahead', prev, point);
    } else if (dp < -parameters.jump_tolerance_ms) {
      this.note('back', prev, point);
    } else {
      this.furthest = Math.max(this.furthest, Math.min(point.pos, this.furthest + Math.max(0, dp)));
      this.excess = Math.max(0, this.excess + Math.max(0, dp) - allowed);
      const isCredited = isObserved && !isLate && this.visible;
      if (isCredited) this.credit(prev.pos, point.pos, dt);
      this.note(isCredited ? 'watched' : 'unobserved', prev, point);
    }
    if (isObserved && !this.visible) now.hiddenPlay += dt;
    else if (isObserved && !this.focused) now.blurPlay += dt;
  }

  private credit(from: number, to: number, dt: number): void {
    if (to > from) this.coverage = add(this.coverage, [from, to]);
    this.watchMs += dt;
    this.now.sinceControl += dt;
    this.now.hourWatch += dt;
    if (!this.verified) this.now.unverified += dt;
  }

  private checked(outcome: string, passive: unknown): void {
    const { now } = this;
    if (typeof passive === 'number') {
      this.passiveScores += 1;
      this.passiveSum += Math.min(Math.max(passive, 0), 1000);
      now.passive = Math.round(this.passiveSum / this.passiveScores);
    }
    if (outcome === 'error') return;
    this.history = [...this.history, outcome].slice(-this.parameters.face_window);
    now.spoofs = this.history.filter((other) => other === 'spoof').length;
    now.failuresInWindow = this.history.filter((other) => other !== 'match').length;
    if (outcome === 'match') {
      this.verified = true;
      now.unverified = 0;
      now.streak = 0;
      return;
    }
    // Shown as it was when the limit was reached; the next failure begins anew.
    now.streak = now.streak >= this.parameters.max_face_failures ? 1 : now.streak + 1;
  }
}

export function fold(lines: readonly LogLine[], parameters: Parameters): Folded {
  const fold = new Fold(parameters);
  for (const line of lines) fold.apply(line);
  return fold.result();
}

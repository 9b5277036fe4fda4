/** Events that the server has not acknowledged: numbered, sent again after a reconnect, forgotten once they are on its disk. */

import type { SessionRecord, Store } from './store.js';
import type { ClientEvents } from './wire.js';

/** Events kept at most: an hour of a connection that is down, at a heartbeat every five seconds, five times over. */
export const EVENTS_LIMIT = 4_096;

/** An event as it is kept. Its `seq` follows from what the server has when it is sent. */
export interface Kept {
  /** 1, 2, 3 … as this browser counts */
  number: number;
  ct: number;
  type: string;
  data: unknown;
}

export class Outbox {
  readonly #kept: Kept[];
  /** how many of those kept were sent on this connection */
  #sent = 0;
  /** how many of those kept may have been sent at any time, by this page or by the one before it was loaded again */
  #maybeSent: number;
  #lastNumber: number;
  #newestCt: number;
  #lost: { count: number; from: number; to: number } | null = null;

  readonly #store: Store;
  readonly #record: SessionRecord;

  constructor(store: Store, record: SessionRecord, events: Kept[] = []) {
    this.#store = store;
    this.#record = record;
    this.#kept = events;
    this.#maybeSent = events.length;
    this.#lastNumber = events[events.length - 1]?.number ?? record.forgotten;
    this.#newestCt = Math.max(record.ct, events[events.length - 1]?.ct ?? 0);
  }

  /** The highest `seq` that was seen acknowledged; 0: none. */
  get acknowledged(): number {
    return this.#record.acknowledged;
  }

  /** Whether the server has all there is. */
  get empty(): boolean {
    return this.#kept.length === 0;
  }

  /** Events that wait for their acknowledgement. */
  waiting(): readonly Kept[] {
    return this.#kept;
  }

  /**
   * Takes an event that happened at `ct`; returns its number. When too many wait it is lost (null), and a `gap` will
   * say so.
   */
  push<Type extends keyof ClientEvents>(ct: number, type: Type, data: ClientEvents[Type]): number | null {
    const at = Math.max(Math.floor(ct), this.#newestCt);
    if (this.#kept.length >= EVENTS_LIMIT) {
      this.#lost ??= { count: 0, from: at, to: at };
      this.#lost.count += 1;
      this.#lost.to = at;
      return null;
    }
    if (this.#lost) {
      const { count, from, to } = this.#lost;
      this.#lost = null;
      this.#keep(Math.max(to, this.#newestCt), 'gap', { lost: count, from_ct: from, to_ct: to });
    }
    return this.#keep(at, type, data);
  }

  #keep(ct: number, type: string, data: unknown): number {
    this.#newestCt = ct;
    this.#record.ct = Math.max(this.#record.ct, ct);
    const event = { number: ++this.#lastNumber, ct, type, data };
    this.#kept.push(event);
    this.#store.addEvent(this.#record.id, event);
    return event.number;
  }

  /** The server has everything up to `seq` on disk. */
  acknowledge(seq: number): void {
    if (seq <= this.acknowledged) return;
    // What was never sent cannot be what the server has: a page before this one sent that, and did not live to note it.
    const count = Math.min(seq - this.acknowledged, this.#maybeSent);
    this.#kept.splice(0, count);
    this.#sent = Math.max(0, this.#sent - count);
    this.#maybeSent -= count;
    this.#record.forgotten += count;
    this.#record.acknowledged = seq;
    this.#store.forget(this.#record, this.#record.forgotten);
  }

  /** A connection begins: everything that the server lacks is to be sent again. */
  resume(acknowledged: number): void {
    this.#sent = 0;
    this.acknowledge(acknowledged);
  }

  /** The next message to send on this connection; null when there is none. */
  next(): string | null {
    const event = this.#kept[this.#sent];
    if (event === undefined) return null;
    this.#sent += 1;
    this.#maybeSent = Math.max(this.#maybeSent, this.#sent);
    const { ct, type, data } = event;
    return JSON.stringify({ seq: this.#record.acknowledged + this.#sent, ct, type, data });
  }

  isAcknowledged(number: number): boolean {
    return number <= this.#record.forgotten;
  }
}

/**
 * Time and timers. A hidden page's own timers fall to one a second and later to one a minute; a worker's do not, so
 * they are asked of a worker when there is one.
 */

import type { Natives } from './realm.js';

export interface Clock {
  /** ms on a clock that nobody sets */
  now(): number;
  /** ms since the Unix epoch, as the machine has it */
  wall(): number;
  /** Calls back once after `ms`, with the time on the timers' own clock; returns how to cancel it. */
  after(ms: number, then: (atMs: number) => void): () => void;
  dispose(): void;
}

/** What a page asks of its worker. */
export type ToWorker = { id: number; ms: number } | { cancel: number };
/** What the worker says: this timer is due, at this time of its own clock. */
export type FromWorker = { id: number; at: number };

export class WorkerClock implements Clock {
  #worker: Worker | null = null;
  readonly #waiting = new Map<number, { then: (atMs: number) => void; dueMs: number }>();
  #lastId = 0;

  /** `failed` is told why there is no worker; the page's own timers then do. */
  readonly #natives: Natives;

  constructor(natives: Natives, workerUrl: string | null, failed: (why: string) => void) {
    this.#natives = natives;
    const giveUp = (why: string) => {
      this.#worker = null;
      for (const [id, { dueMs }] of this.#waiting) this.#byPage(id, dueMs - this.now());
      failed(why);
    };
    try {
      if (workerUrl === null) throw new Error('workerUrl is not set');
      const worker = new Worker(trusted(workerUrl), { name: 'invigil' });
      worker.onmessage = ({ data }: MessageEvent<FromWorker>) => this.#due(data.id, data.at);
      worker.onerror = () => {
        worker.terminate();
        if (this.#worker === worker) giveUp(`${workerUrl} cannot be run as a worker`);
      };
      this.#worker = worker;
    } catch (error) {
      giveUp(String(error));
    }
  }

  now(): number {
    return this.#natives.now();
  }

  wall(): number {
    return this.#natives.wall();
  }

  after(ms: number, then: (atMs: number) => void): () => void {
    const id = ++this.#lastId;
    this.#waiting.set(id, { then, dueMs: this.now() + ms });
    if (this.#worker) this.#worker.postMessage({ id, ms } satisfies ToWorker);
    else this.#byPage(id, ms);
    return () => {
      if (this.#waiting.delete(id)) this.#worker?.postMessage({ cancel: id } satisfies ToWorker);
    };
  }

  dispose(): void {
    this.#waiting.clear();
    this.#worker?.terminate();
    this.#worker = null;
  }

  #byPage(id: number, ms: number): void {
    setTimeout(() => this.#due(id, this.now()), Math.max(0, ms));
  }

  #due(id: number, atMs: number): void {
    const timer = this.#waiting.get(id);
    this.#waiting.delete(id);
    timer?.then(atMs);
  }
}

type Policy = { createScriptURL(url: string): string };
type Factory = { createPolicy(name: string, rules: Policy): Policy };
let policy: Policy | null = null;

/** Where a page demands trusted types, an address of a script has to be one: the policy is called `invigil`. */
function trusted(url: string): string {
  const factory = (globalThis as { trustedTypes?: Factory }).trustedTypes;
  // A name is good for one policy only.
  policy ??= factory?.createPolicy('invigil', { createScriptURL: (same) => same }) ?? null;
  return policy?.createScriptURL(url) ?? url;
}

/** Other learning windows of this browser, by Web Locks: every window holds one, and the locks of all can be listed. */

const PREFIX = 'invigil.window.';

export interface WindowsSeen {
  /** learning windows of this browser, this one included */
  count: number;
  /** whether this one was there first */
  first: boolean;
}

export class Windows {
  #release: (() => void) | null = null;
  #name = '';

  readonly #locks: LockManager | undefined;

  constructor(locks: LockManager | undefined = globalThis.navigator?.locks) {
    this.#locks = locks;
  }

  /** This window takes part from now on; `id` is its own, `since` tells who was first (ms since the Unix epoch). */
  enter(id: string, since: number): void {
    if (!this.#locks || this.#release) return;
    this.#name = `${PREFIX}${String(since).padStart(16, '0')}.${id}`;
    const held = new Promise<void>((resolve) => {
      this.#release = resolve;
    });
    this.#locks.request(this.#name, () => held).catch(() => {});
  }

  leave(): void {
    this.#release?.();
    this.#release = null;
  }

  /** Who is there now. Without Web Locks, only this one can be seen. */
  async look(): Promise<WindowsSeen> {
    const alone = { count: 1, first: true };
    if (!this.#locks || !this.#release) return alone;
    const { held = [] } = await this.#locks.query();
    const others = held.map(({ name }) => name ?? '').filter((name) => name.startsWith(PREFIX) && name !== this.#name);
    return { count: others.length + 1, first: others.every((name) => name > this.#name) };
  }
}

/**
 * One window holds a session at a time: the newest. `lost` is called when another takes it over.
 * Returns how to let go of it.
 */
export function holdSession(
  session: string,
  lost: () => void,
  locks: LockManager | undefined = globalThis.navigator?.locks,
): () => void {
  if (!locks) return () => {};
  let letGo = () => {};
  let mine = true;
  const held = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  locks.request(`invigil.session.${session}`, { steal: true }, () => held).catch(() => mine && lost());
  return () => {
    mine = false;
    letGo();
  };
}

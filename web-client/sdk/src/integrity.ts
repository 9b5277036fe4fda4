/**
 * Lies of the page: getters that say something else than the browser's own. Wrapping alone is nobody's business, nor are
 * developer tools, extensions or a slow machine; only a value that differs counts.
 */

import type { Natives } from './realm.js';

const CLOCK_WINDOW_MS = 10_000;
const CLOCK_TOLERANCE_MS = 1_000;

export class Integrity {
  readonly #told = new Set<string>();
  #clocks: { page: number; own: number } | null = null;

  readonly #natives: Natives;
  readonly #tell: (what: string) => void;

  constructor(natives: Natives, tell: (what: string) => void) {
    this.#natives = natives;
    this.#tell = tell;
  }

  /** Once a second, with what the player's getters claim falsely. */
  look(lies: readonly string[]): void {
    for (const what of [...lies, ...this.#pageLies()]) this.once(what);
  }

  once(what: string): void {
    if (this.#told.has(what)) return;
    this.#told.add(what);
    this.#tell(what);
  }

  #pageLies(): string[] {
    const natives = this.#natives;
    const lies: string[] = [];
    const visible = natives.visible();
    if (document.hidden === visible || (document.visibilityState === 'visible') !== visible) {
      lies.push('visibility_overridden');
    }
    if (document.hasFocus() !== natives.hasFocus()) lies.push('focus_overridden');
    if (this.#clockRuns()) lies.push('clock_overridden');
    return lies;
  }

  #clockRuns(): boolean {
    const now = { page: performance.now(), own: this.#natives.now() };
    this.#clocks ??= now;
    const own = now.own - this.#clocks.own;
    const off = Math.abs(now.page - this.#clocks.page - own);
    if (own > CLOCK_WINDOW_MS) this.#clocks = now;
    return off > CLOCK_TOLERANCE_MS;
  }
}

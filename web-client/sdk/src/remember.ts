/** Small things that a browser keeps: the device's id, this tab's session, and where this script came from. */

const DEVICE = 'invigil.device';
const SESSION = 'invigil.session';

/** In a classic script this is the script's own element (see scripts/build.mjs); read now, because later it is gone. */
const own = import.meta as { url?: string; src?: string } | null;
const script = own?.url ?? own?.src;

/** A file that stands beside this script; null when nobody knows where that is. */
export function beside(name: string): string | null {
  return script?.startsWith('http') ? new URL(name, script).href : null;
}

/** The random id that this browser keeps; null where it keeps nothing. */
export function deviceId(random: () => number): string | null {
  try {
    const kept = localStorage.getItem(DEVICE);
    if (kept !== null && /^[\w-]{8,64}$/.test(kept)) return kept;
    const made = Array.from({ length: 24 }, () => Math.floor(random() * 36).toString(36)).join('');
    localStorage.setItem(DEVICE, made);
    return made;
  } catch {
    return null;
  }
}

/** The session that this tab held before it was loaded again. */
export function rememberedSession(): string | null {
  try {
    return sessionStorage.getItem(SESSION);
  } catch {
    return null;
  }
}

export function rememberSession(session: string | null): void {
  try {
    if (session === null) sessionStorage.removeItem(SESSION);
    else sessionStorage.setItem(SESSION, session);
  } catch {
    // Then a page that is loaded again asks for a new one.
  }
}

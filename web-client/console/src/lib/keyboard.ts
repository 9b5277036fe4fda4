// Which key asks for what. Nothing while somebody writes, or with a modifier that belongs to the browser.

export interface Pressed {
  key: string;
  ctrlKey?: boolean;
  metaKey?: boolean;
  altKey?: boolean;
  isComposing?: boolean;
  target?: unknown;
}

interface Place {
  tagName?: string;
  type?: string;
  isContentEditable?: boolean;
}

const NO_TEXT = new Set(['radio', 'checkbox', 'button', 'submit', 'file']);

export function isWriting(target: unknown): boolean {
  const place = (target ?? {}) as Place;
  if (place.isContentEditable) return true;
  if (place.tagName === 'TEXTAREA' || place.tagName === 'SELECT') return true;
  return place.tagName === 'INPUT' && !NO_TEXT.has(place.type ?? '');
}

/** The action that is bound to what was pressed; letters in either case. */
export function action<Action extends string>(pressed: Pressed, bindings: Record<string, Action>): Action | null {
  if (pressed.ctrlKey || pressed.metaKey || pressed.altKey || pressed.isComposing) return null;
  if (isWriting(pressed.target)) return null;
  return bindings[pressed.key] ?? bindings[pressed.key.toLowerCase()] ?? null;
}

/** Loads the learner's interface when it is needed, and puts it on the page. */

import type { Proctor } from './proctor.js';
import { beside } from './remember.js';

/** What the interface's element offers. */
export interface PromptElement extends HTMLElement {
  proctor: Proctor | null;
}

/** Returns how to take it away again. */
export async function showInterface(proctor: Proctor): Promise<() => void> {
  const { ui = beside('invigil-ui.js') } = proctor.options;
  if (ui === false) return () => {};
  if (ui === null) throw new Error('its address is not known');
  if (!customElements.get('invigil-prompt')) {
    if (typeof ui === 'function') await ui();
    else await import(/* @vite-ignore */ /* webpackIgnore: true */ new URL(ui, location.href).href);
  }
  // A page may have placed it where it wants it.
  const placed = document.querySelector<PromptElement>('invigil-prompt');
  const element = placed ?? (document.createElement('invigil-prompt') as PromptElement);
  element.proctor = proctor;
  if (!placed) document.body.append(element);
  return () => {
    element.proctor = null;
    if (!placed) element.remove();
  };
}

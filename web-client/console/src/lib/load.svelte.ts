// Something that is fetched for a page: on its way, there, or refused.

import { Unreachable } from '../api';

export interface Loaded<Value> {
  value: Value | null;
  error: unknown;
  isLoading: boolean;
  reload: () => Promise<void>;
}

/** Fetches again whenever what `fetchValue` reads changes; an answer that comes too late is dropped. */
export function load<Value>(fetchValue: () => Promise<Value>): Loaded<Value> {
  const state = $state({ value: null as Value | null, error: null as unknown, isLoading: true });
  let turn = 0;

  async function take(promise: Promise<Value>, isAgain = false): Promise<void> {
    turn += 1;
    const mine = turn;
    state.isLoading = true;
    try {
      const value = await promise;
      if (mine === turn) Object.assign(state, { value, error: null });
    } catch (error) {
      // What is shown stays readable while the network is away.
      const stays = isAgain && error instanceof Unreachable && state.value !== null;
      if (mine === turn && !stays) Object.assign(state, { value: null, error });
    }
    if (mine === turn) state.isLoading = false;
  }

  $effect(() => {
    void take(fetchValue());
    return () => {
      turn += 1;
    };
  });

  return {
    get value() {
      return state.value;
    },
    get error() {
      return state.error;
    },
    get isLoading() {
      return state.isLoading;
    },
    reload: () => take(fetchValue(), true),
  };
}

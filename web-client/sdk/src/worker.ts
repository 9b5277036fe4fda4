/** Timers for the page: its own are slowed down while it is hidden. Knows nothing else, and sends nothing anywhere. */

import type { FromWorker, ToWorker } from './clock.js';

const scope = self as unknown as {
  onmessage: ((event: { data: ToWorker }) => void) | null;
  postMessage(message: FromWorker): void;
};
const timers = new Map<number, ReturnType<typeof setTimeout>>();

scope.onmessage = ({ data }) => {
  if ('cancel' in data) {
    clearTimeout(timers.get(data.cancel));
    timers.delete(data.cancel);
    return;
  }
  const { id, ms } = data;
  const due = () => {
    timers.delete(id);
    scope.postMessage({ id, at: performance.now() });
  };
  timers.set(id, setTimeout(due, ms));
};

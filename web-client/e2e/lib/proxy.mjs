// A wire between page and server that can be cut: what goes through it meets silence, not a closed door.
import { connect, createServer } from 'node:net';

export class Wire {
  #pairs = new Set();
  #isCut = false;

  /** A port of this machine that leads to `address` (`host:port`). */
  static async to(address, cleanup) {
    const wire = new Wire();
    const [host, port] = address.split(':');
    const listener = createServer((near) => wire.#join(near, connect(Number(port), host)));
    await new Promise((resolve) => listener.listen(0, '127.0.0.1', resolve));
    wire.address = `127.0.0.1:${listener.address().port}`;
    cleanup.defer(() => {
      for (const pair of wire.#pairs) pair.destroy();
      listener.close();
    });
    return wire;
  }

  /** From now on nothing gets through, in either direction, and nobody is told. */
  cut() {
    this.#isCut = true;
    for (const pair of this.#pairs) pair.stop();
  }

  /** What was open while it was cut stays dead, as after a change of network; what is opened now goes through. */
  mend() {
    this.#isCut = false;
    for (const pair of this.#pairs) pair.destroy();
  }

  #join(near, far) {
    const pair = {
      stop: () => {
        near.unpipe(far).pause();
        far.unpipe(near).pause();
      },
      destroy: () => {
        this.#pairs.delete(pair);
        near.destroy();
        far.destroy();
      },
    };
    this.#pairs.add(pair);
    for (const socket of [near, far]) socket.on('error', pair.destroy).on('close', pair.destroy);
    if (this.#isCut) return pair.stop();
    near.pipe(far);
    far.pipe(near);
  }
}

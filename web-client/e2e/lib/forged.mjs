// A client without a page: it speaks the protocol (docs/protocol.md) and says what suits it.
import { webcrypto } from 'node:crypto';
import WebSocket from 'ws';

const base64url = (bytes) => Buffer.from(bytes).toString('base64url');

export class Forged {
  /** messages that came, in order */
  heard = [];
  #waiting = [];
  #seq = 0;

  /** A key pair as a page would make one. */
  static key() {
    return webcrypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign']);
  }

  /** Connects with the access that a platform was given, and says hello. */
  static async connect({ session, token, url }, origin, key) {
    const forged = new Forged();
    forged.key = key ?? (await Forged.key());
    forged.socket = new WebSocket(url, 'invigil.v1', { origin });
    forged.closed = new Promise((resolve) => {
      forged.socket.on('close', (code) => resolve(code));
    });
    forged.socket.on('error', () => {});
    forged.socket.on('message', (text) => forged.#hear(JSON.parse(text)));
    const { nonce } = await forged.next('challenge');
    const text = new TextEncoder().encode(`invigil.v1\n${nonce}\n${session}\n${token}`);
    const signature = await webcrypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, forged.key.privateKey, text);
    const publicKey = await webcrypto.subtle.exportKey('raw', forged.key.publicKey);
    const proof = { key: base64url(publicKey), signature: base64url(signature) };
    forged.say({ type: 'hello', session, token, ...proof, ct: forged.ct(), acknowledged: 0 });
    return forged;
  }

  ct() {
    return Math.floor(performance.now());
  }

  say(message) {
    this.socket.send(JSON.stringify(message));
  }

  event(type, data) {
    this.#seq += 1;
    this.say({ seq: this.#seq, ct: this.ct(), type, data });
  }

  /** The next message of this type, or one that came already and nobody has asked for. */
  next(...types) {
    const at = this.heard.findIndex((message) => !message.taken && types.includes(message.type));
    if (at >= 0) {
      this.heard[at].taken = true;
      return Promise.resolve(this.heard[at]);
    }
    return new Promise((resolve) => this.#waiting.push({ types, resolve }));
  }

  #hear(message) {
    if (message.type === 'ping') this.say({ type: 'pong', id: message.id, ct: this.ct() });
    this.heard.push(message);
    const at = this.#waiting.findIndex(({ types }) => types.includes(message.type));
    if (at < 0) return;
    message.taken = true;
    this.#waiting.splice(at, 1)[0].resolve(message);
  }
}

/** The page's own key pair: what makes a stolen token worthless. Its private half never leaves the browser's keeping. */

import { base64url } from './encoding.js';
import { SUBPROTOCOL } from './wire.js';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256' };

export async function makeKey(): Promise<CryptoKeyPair> {
  return crypto.subtle.generateKey(ALGORITHM, false, ['sign', 'verify']);
}

/** The public half as the hello carries it: base64url of the uncompressed point. */
export async function publicKey(key: CryptoKeyPair): Promise<string> {
  return base64url(await crypto.subtle.exportKey('raw', key.publicKey));
}

/** The signature of a hello, base64url of r and s. */
export async function signHello(key: CryptoKeyPair, nonce: string, session: string, token: string): Promise<string> {
  const text = new TextEncoder().encode(`${SUBPROTOCOL}\n${nonce}\n${session}\n${token}`);
  return base64url(await crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, key.privateKey, text));
}

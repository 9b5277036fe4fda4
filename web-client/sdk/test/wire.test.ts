import { describe, expect, it } from 'vitest';
import { ProctorError } from '../src/errors.js';
import { checkAccess, checkOptions, streamUrl } from '../src/options.js';
import { photoFrame, submission } from '../src/wire.js';

const shot = (atMs: number, ...bytes: number[]) => ({ atMs, bytes: new Uint8Array(bytes) });

describe('submission', () => {
  it('is the photo itself when there is one', () => {
    expect([...submission([shot(5, 1, 2, 3)])]).toEqual([1, 2, 3]);
    expect(() => submission([])).toThrow(RangeError);
  });

  it('is a container of several, with their times since the first', () => {
    const bytes = submission([shot(1000.4, 7), shot(1100.6, 8, 9), shot(1100.7, 10)]);
    expect(new TextDecoder().decode(bytes.subarray(0, 4))).toBe('IVB1');
    expect([...bytes.subarray(4)]).toEqual([
      3, 0, 0, 0, 0, 0, 0, 0, 1, 7, 0, 0, 0, 100, 0, 0, 0, 2, 8, 9,
      // Two frames of one moment are told apart: times rise.
      0, 0, 0, 101, 0, 0, 0, 1, 10,
    ]);
  });
});

it('a photo goes behind its header', () => {
  const frame = photoFrame('c1', 'n', 9, new Uint8Array([255, 216]));
  const length = new DataView(frame.buffer).getUint32(0);
  expect(new TextDecoder().decode(frame.subarray(4, 4 + length))).toBe('{"capture":"c1","nonce":"n","ct":9}');
  expect([...frame.subarray(4 + length)]).toEqual([255, 216]);
});

describe('options', () => {
  it('makes an address of the stream from that of the server', () => {
    const page = 'https://course.test/lesson/1';
    expect(streamUrl('https://proctor.test', page)).toBe('wss://proctor.test/v1/stream');
    expect(streamUrl('wss://proctor.test/other', page)).toBe('wss://proctor.test/other');
    expect(streamUrl('http://127.0.0.1:8080', page)).toBe('ws://127.0.0.1:8080/v1/stream');
    expect(streamUrl('/', page)).toBe('wss://course.test/v1/stream');
    expect(() => streamUrl('http://proctor.test', page)).toThrow(/https/);
    expect(() => streamUrl('ftp://proctor.test', page)).toThrow(/must begin with/);
    expect(() => streamUrl('https://', page)).toThrow(/not an address/);
  });

  it('names the option that is wrong', () => {
    const field = (options: object) => {
      try {
        checkOptions(options as never);
      } catch (error) {
        if (error instanceof ProctorError) return [error.code, error.field];
      }
      return null;
    };
    const getToken = async () => ({ token: '' });
    expect(field({})).toEqual(['bad_option', 'getToken']);
    expect(field({ getToken, locale: 'fr' })).toEqual(['bad_option', 'locale']);
    expect(field({ getToken, ui: 5 })).toEqual(['bad_option', 'ui']);
    expect(field({ getToken, consent: { text: '' } })).toEqual(['bad_option', 'consent']);
    expect(field({ getToken, endpoint: 'mailto:a@b' })).toEqual(['bad_option', 'endpoint']);
    expect(field({ getToken })).toBeNull();
  });

  it('takes the answer of the server as it is, and says what is missing', () => {
    const start = { reason: 'start', session: null } as const;
    const answer = { session: 's1', token: 'ivt_1', url: 'wss://a.test/v1/stream', subprotocol: 'invigil.v1' };
    expect(checkAccess(answer, start, undefined)).toEqual({ session: 's1', token: 'ivt_1', url: answer.url });
    const expired = { reason: 'expired', session: 's1' } as const;
    expect(checkAccess({ token: 'ivt_2' }, expired, undefined)).toMatchObject({ session: 's1', token: 'ivt_2' });
    expect(() => checkAccess({ token: 'ivt_2' }, start, undefined)).toThrow(/getToken must give/);
    expect(() => checkAccess({ session: 's', token: 't' }, start, undefined)).toThrow(/endpoint/);
    expect(() => checkAccess(undefined as never, start, undefined)).toThrow(/getToken must give/);
  });
});

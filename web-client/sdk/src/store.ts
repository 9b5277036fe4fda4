/**
 * What must outlive the page: the key, where the session stands, events and photos that the server does not have.
 *
 * In IndexedDB where the browser has it. Where it fails (a private window, a full disk) the page goes on from memory and
 * says so once; then a reload loses what was not sent, and the key.
 */

import type { Kept } from './outbox.js';

/** Where a session stands. */
export interface SessionRecord {
  id: string;
  key: CryptoKeyPair;
  /** ms since the Unix epoch when `ct` was 0 */
  zero: number;
  /** the newest `ct` that is known to have been used */
  ct: number;
  /** highest `seq` that was seen acknowledged; 0: none, as for every session whose key was just made */
  acknowledged: number;
  /** number of the last event that was forgotten because it was acknowledged */
  forgotten: number;
  consented: boolean;
  leaving: 'completed' | 'left' | null;
  /** ms since the Unix epoch; what was not touched for a week is thrown away */
  touched: number;
}

/** A photo on its way. */
export interface KeptPhoto {
  capture: string;
  nonce: string;
  sha256: string;
  bytes: Uint8Array;
  /** number of the event that commits to it */
  commitment: number;
}

export interface Opened {
  record: SessionRecord;
  events: Kept[];
  photos: KeptPhoto[];
}

export interface Store {
  /** What is kept of a session; null when nothing is. */
  open(session: string): Promise<Opened | null>;
  save(record: SessionRecord): void;
  addEvent(session: string, event: Kept): void;
  /** Forgets the events up to number `upTo`, and saves the record in the same breath. */
  forget(record: SessionRecord, upTo: number): void;
  addPhoto(session: string, photo: KeptPhoto): void;
  dropPhoto(session: string, capture: string): void;
  /** Forgets a session. */
  clear(session: string): void;
  close(): void;
}

const NAME = 'invigil';
const KEEP_MS = 7 * 24 * 3_600_000;
const STORES = ['sessions', 'events', 'photos'] as const;

/** Keeps nothing: the page's memory is all there is. */
export const MEMORY_ONLY: Store = {
  open: async () => null,
  save: () => {},
  addEvent: () => {},
  forget: () => {},
  addPhoto: () => {},
  dropPhoto: () => {},
  clear: () => {},
  close: () => {},
};

export async function openStore(wall: () => number, failed: (why: string) => void): Promise<Store> {
  try {
    const db = await openDatabase();
    return new IndexedStore(db, wall, failed);
  } catch (error) {
    failed(String(error));
    return MEMORY_ONLY;
  }
}

function openDatabase(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore('sessions', { keyPath: 'id' });
      request.result.createObjectStore('events');
      request.result.createObjectStore('photos');
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error('blocked by another page'));
  });
}

/** All keys `[session, …]`: an array sorts behind every number and string. */
const ofSession = (session: string) => IDBKeyRange.bound([session], [session, []]);

class IndexedStore implements Store {
  #complained = false;

  readonly #db: IDBDatabase;
  readonly #wall: () => number;
  readonly #failed: (why: string) => void;

  constructor(db: IDBDatabase, wall: () => number, failed: (why: string) => void) {
    this.#db = db;
    this.#wall = wall;
    this.#failed = failed;
    db.onversionchange = () => db.close();
  }

  async open(session: string): Promise<Opened | null> {
    try {
      return await this.#read(session);
    } catch (error) {
      this.#complain(error);
      return null;
    }
  }

  #read(session: string): Promise<Opened | null> {
    return new Promise((resolve, reject) => {
      const transaction = this.#db.transaction(STORES, 'readwrite');
      const get = <T>(request: IDBRequest<T>) => request;
      const all = get<SessionRecord[]>(transaction.objectStore('sessions').getAll());
      const events = get<Kept[]>(transaction.objectStore('events').getAll(ofSession(session)));
      const photos = get<KeptPhoto[]>(transaction.objectStore('photos').getAll(ofSession(session)));
      photos.onsuccess = () => {
        for (const { id, touched } of all.result) {
          if (id !== session && touched < this.#wall() - KEEP_MS) this.#erase(transaction, id);
        }
      };
      transaction.oncomplete = () => {
        const record = all.result.find(({ id }) => id === session);
        resolve(record ? { record, events: events.result, photos: photos.result } : null);
      };
      transaction.onabort = () => reject(transaction.error);
    });
  }

  save(record: SessionRecord): void {
    this.#write((transaction) => this.#put(transaction, record));
  }

  addEvent(session: string, event: Kept): void {
    this.#write((transaction) => transaction.objectStore('events').put(event, [session, event.number]));
  }

  forget(record: SessionRecord, upTo: number): void {
    this.#write((transaction) => {
      transaction.objectStore('events').delete(IDBKeyRange.bound([record.id], [record.id, upTo]));
      this.#put(transaction, record);
    });
  }

  addPhoto(session: string, photo: KeptPhoto): void {
    this.#write((transaction) => transaction.objectStore('photos').put(photo, [session, photo.capture]));
  }

  dropPhoto(session: string, capture: string): void {
    this.#write((transaction) => transaction.objectStore('photos').delete([session, capture]));
  }

  clear(session: string): void {
    this.#write((transaction) => this.#erase(transaction, session));
  }

  close(): void {
    this.#db.close();
  }

  #put(transaction: IDBTransaction, record: SessionRecord): void {
    transaction.objectStore('sessions').put({ ...record, touched: this.#wall() });
  }

  #erase(transaction: IDBTransaction, session: string): void {
    transaction.objectStore('sessions').delete(session);
    transaction.objectStore('events').delete(ofSession(session));
    transaction.objectStore('photos').delete(ofSession(session));
  }

  #write(work: (transaction: IDBTransaction) => void): void {
    try {
      const transaction = this.#db.transaction(STORES, 'readwrite');
      transaction.onabort = () => this.#complain(transaction.error);
      work(transaction);
    } catch (error) {
      this.#complain(error);
    }
  }

  #complain(error: unknown): void {
    if (!this.#complained) this.#failed(String(error));
    this.#complained = true;
  }
}

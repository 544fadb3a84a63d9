import type { DBSchema } from "idb";
import { databaseOpener } from "./database";

interface CachedResponse {
  /** The id of the citizen; empty for a visitor. */
  reader: string;
  name: string;
  /** When the response was received; milliseconds since the epoch. */
  seenAt: number;
  answer: unknown;
}

interface Schema extends DBSchema {
  answers: { key: [string, string]; value: CachedResponse; indexes: { seenAt: number } };
}

/** The number of rooms and lists that the browser stores; those that were received first are deleted. */
export const MAX_RESPONSES = 60;
const VISITOR = "";

const database = databaseOpener<Schema>("city-seen", (db) => {
  db.createObjectStore("answers", { keyPath: ["reader", "name"] }).createIndex("seenAt", "seenAt");
});

/** The reader whose responses are stored; null for none. */
let reader: string | null = null;

/**
 * Store responses of the city for reading without a connection, for this citizen (null: a visitor) only.
 *
 * The responses of other readers are deleted, so that the next person at this browser cannot read what the last one has seen.
 */
export async function setCacheReader(userId: string | null): Promise<void> {
  reader = userId ?? VISITOR;
  try {
    const tx = (await database()).transaction("answers", "readwrite");
    for (let at = await tx.store.openCursor(); at; at = await at.continue()) {
      if (at.value.reader !== reader) await at.delete();
    }
    await tx.done;
  } catch {
    // A browser that allows no storage has nothing to delete.
  }
}

/** Store a response to `userId` (null: a visitor), unless another reader is signed in by now. */
export async function cacheResponse(name: string, answer: unknown, userId: string | null): Promise<void> {
  const owner = userId ?? VISITOR;
  if (reader !== owner) return;
  try {
    const db = await database();
    // Another reader may have signed in while the database was opened.
    if (reader !== owner) return;
    const tx = db.transaction("answers", "readwrite");
    await tx.store.put({ reader: owner, name, seenAt: Date.now(), answer });
    const surplus = (await tx.store.count()) - MAX_RESPONSES;
    let oldest = surplus > 0 ? await tx.store.index("seenAt").openCursor() : null;
    for (let deleted = 0; oldest && deleted < surplus; deleted += 1) {
      await oldest.delete();
      oldest = await oldest.continue();
    }
    await tx.done;
  } catch {
    // Without space or storage, nothing can be read without a connection.
  }
}

/** The last response to `userId` (null: a visitor); undefined if none is stored. */
export async function cachedResponse<Answer>(name: string, userId: string | null): Promise<Answer | undefined> {
  const owner = userId ?? VISITOR;
  if (reader !== owner) return undefined;
  try {
    const found = await (await database()).get("answers", [owner, name]);
    return reader === owner ? (found?.answer as Answer | undefined) : undefined;
  } catch {
    return undefined;
  }
}

/** Delete a response that the reader may no longer read. */
export async function removeResponse(name: string): Promise<void> {
  if (reader === null) return;
  const owner = reader;
  try {
    await (await database()).delete("answers", [owner, name]);
  } catch {
    // A database that cannot be opened cannot be read either.
  }
}

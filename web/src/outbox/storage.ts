import type { DBSchema } from "idb";
import type { SubjectId } from "../api/types";
import { databaseOpener } from "../lib/database";
import type { Entry } from "./entry";

/** A file that was chosen for a message that is not sent yet. */
export interface StoredAttachment {
  id: string;
  /** The key of the draft that the file belongs to. */
  draft: string;
  owner: SubjectId;
  file: File;
  addedAt: number;
}

interface Schema extends DBSchema {
  entries: { key: string; value: Entry };
  files: { key: string; value: StoredAttachment; indexes: { draft: string } };
}

/** The storage of entries across reloads. Each method rejects if the browser allows no storage, or has no space. */
export interface OutboxStorage {
  all: () => Promise<Entry[]>;
  put: (entry: Entry) => Promise<void>;
  /** Change an entry unless it was removed: discarding an entry wins over sending it. */
  change: (id: string, change: (entry: Entry) => Entry) => Promise<void>;
  remove: (ids: readonly string[]) => Promise<void>;
}

const database = databaseOpener<Schema>("city", (db) => {
  db.createObjectStore("entries", { keyPath: "id" });
  db.createObjectStore("files", { keyPath: "id" }).createIndex("draft", "draft");
});

export const indexedDbStorage: OutboxStorage = {
  all: async () => (await database()).getAll("entries"),
  put: async (entry) => {
    await (await database()).put("entries", entry);
  },
  change: async (id, change) => {
    const tx = (await database()).transaction("entries", "readwrite");
    const found = await tx.store.get(id);
    if (found) await tx.store.put(change(found));
    await tx.done;
  },
  remove: async (ids) => {
    const tx = (await database()).transaction("entries", "readwrite");
    await Promise.all([...ids.map((id) => tx.store.delete(id)), tx.done]);
  },
};

/** The files of drafts. Without storage they last until the page is left. */
export const attachmentStorage = {
  of: async (draft: string): Promise<StoredAttachment[]> => {
    const found = await (await database()).getAllFromIndex("files", "draft", draft).catch(() => []);
    return found.sort((a, b) => a.addedAt - b.addedAt);
  },
  put: async (file: StoredAttachment): Promise<void> => {
    await (await database()).put("files", file);
  },
  remove: async (id: string): Promise<void> => {
    await (await database()).delete("files", id);
  },
};

import { openDB, type DBSchema, type IDBPDatabase } from "idb";

/**
 * Return a function that opens an IndexedDB database: once for all callers, and again after it was closed or could not be opened.
 *
 * @param create - makes the object stores of a new database.
 */
export function databaseOpener<Schema extends DBSchema>(
  name: string,
  create: (database: IDBPDatabase<Schema>) => void,
): () => Promise<IDBPDatabase<Schema>> {
  let opened: Promise<IDBPDatabase<Schema>> | null = null;
  const forget = () => {
    opened = null;
  };
  return () => {
    opened ??= openDB<Schema>(name, 1, {
      upgrade: create,
      // Another tab with newer pages needs the database; this tab opens it again on demand.
      blocking: (_was, _wanted, event) => {
        (event.target as IDBDatabase).close();
        forget();
      },
      terminated: forget,
    }).catch((error: unknown) => {
      forget();
      throw error;
    });
    return opened;
  };
}

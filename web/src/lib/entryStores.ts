import { getSessionItem, setSessionItem } from "./storage";

/** The number of values that a tab stores of each kind; the oldest ones are dropped. */
const MAX_VALUES = 60;

/** Where a reader left a list: at a message, whose top was `top` pixels below that of the list, or at its end. */
export type ListPlace = { messageId: string; top: number } | "end";

/** What a tab stores, until it is closed, for the history entries of its pages: values by the name of an entry. */
class EntryStore<Value> {
  constructor(private readonly key: string) {}

  /** The value that was stored for an entry; undefined if the entry is new. */
  get(name: string): Value | undefined {
    return this.read().find(([stored]) => stored === name)?.[1];
  }

  set(name: string, value: Value): void {
    const others = this.read().filter(([stored]) => stored !== name);
    setSessionItem(this.key, JSON.stringify([...others, [name, value]].slice(-MAX_VALUES)));
  }

  private read(): [string, Value][] {
    try {
      return JSON.parse(getSessionItem(this.key) ?? "[]") as [string, Value][];
    } catch {
      return [];
    }
  }
}

export const listPlaces = new EntryStore<ListPlace>("city.places.lists");

/** The pixels by which pages were scrolled. */
export const pagePlaces = new EntryStore<number>("city.places.pages");

/** What the reader chose on pages: filters, orders, the number of pages of a list. */
export const entryStates = new EntryStore<unknown>("city.entries");

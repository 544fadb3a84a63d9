import { createStore, type StoreApi } from "zustand";
import { city } from "../../../api/city";
import type { Message } from "../../../api/types";
import type { RoomModel } from "./roomModel";

export interface ThreadListState {
  /** The roots of threads, the one with the newest reply first. */
  roots: readonly Message[];
  hasMore: boolean;
  isLoading: boolean;
  error: unknown;
}

const THREADS_PAGE = 20;

/** The threads of a room. `start` loads the list, which then follows the messages of the room. */
export class ThreadList {
  readonly store: StoreApi<ThreadListState> = createStore(() => ({ roots: [], hasMore: false, isLoading: false, error: null }));
  private loads = 0;
  /** Messages that arrive while the list is being loaded. */
  private arrived: Message[] = [];

  constructor(private readonly main: RoomModel) {}

  /** Load the list and follow the room. Returns a function that stops it. */
  start(): () => void {
    const leave = this.main.subscribe({ onMessage: (message) => this.handleMessage(message), onLoaded: () => void this.load() });
    if (this.main.store.getState().room) void this.load();
    return leave;
  }

  load(): Promise<void> {
    return this.loadPage(undefined);
  }

  async loadMore(): Promise<void> {
    const { roots, hasMore, isLoading } = this.store.getState();
    if (hasMore && !isLoading) await this.loadPage(roots.at(-1)?.thread?.last_seq);
  }

  private async loadPage(before: number | undefined): Promise<void> {
    const load = ++this.loads;
    this.arrived = [];
    this.store.setState({ isLoading: true });
    try {
      const page = await city.threads(this.main.name, THREADS_PAGE, before);
      if (load !== this.loads) return;
      this.main.environment.addAuthors(page.flatMap(({ author, thread }) => [author, ...(thread?.authors ?? [])]));
      const known = before === undefined ? [] : this.store.getState().roots;
      const hasMore = page.length === THREADS_PAGE;
      this.store.setState({ roots: page.reduce(withRoot, known), hasMore, isLoading: false, error: null });
      for (const message of this.arrived) this.handleMessage(message);
    } catch (error) {
      if (load === this.loads) this.store.setState({ isLoading: false, error });
    }
  }

  private handleMessage(message: Message): void {
    const { roots, isLoading, hasMore } = this.store.getState();
    if (isLoading) this.arrived.push(message);
    const isListed = roots.some(({ id }) => id === message.id);
    const isFurtherDown = hasMore && (message.thread?.last_seq ?? 0) < (roots.at(-1)?.thread?.last_seq ?? 0);
    if (isListed || (message.thread && !isFurtherDown)) this.store.setState({ roots: withRoot(roots, message) });
  }
}

/** Insert the root at its place; a root without replies is removed. */
function withRoot(roots: readonly Message[], root: Message): readonly Message[] {
  const others = roots.filter(({ id }) => id !== root.id);
  const { thread } = root;
  if (!thread) return others;
  const place = others.findIndex((other) => (other.thread?.last_seq ?? 0) < thread.last_seq);
  return others.toSpliced(place < 0 ? others.length : place, 0, root);
}

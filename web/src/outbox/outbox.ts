import { createStore, type StoreApi } from "zustand";
import type { Media, Message, SubjectId } from "../api/types";
import type { Cancel, Clock } from "../lib/clock";
import type { Action, Entry, EntryRoom } from "./entry";
import { queueKey } from "./entry";
import type { Candidate, LeaderElection } from "./leader";
import { withTimeout } from "../lib/timeout";
import {
  afterProblem,
  retried,
  hasCapacityFor,
  nextEntries,
  sortedEntries,
  isSettledBy,
  superseded,
  withoutDelay,
} from "./queue";
import type { OutboxStorage } from "./storage";

export interface OutboxSender {
  userId: SubjectId;
  token: string;
}

/** The messages between the tabs of a browser. */
export type OutboxMessage =
  | { news: "changed" | "wake" | "awake" }
  | { news: "added"; entry: Entry }
  | { news: "sending"; entry: Entry }
  | { news: "sent"; entry: Entry; message: Message };

export interface OutboxChannel {
  post: (news: OutboxMessage) => void;
  subscribe: (listener: (news: OutboxMessage) => void) => void;
}

export interface OutboxEnvironment {
  storage: OutboxStorage;
  channel: OutboxChannel;
  electLeader: (candidate: Candidate) => LeaderElection;
  deliver: (entry: Entry, token: string, uploaded: (media: Media) => Promise<void>) => Promise<Message>;
  /** The citizen who is signed in in this tab. */
  sender: () => OutboxSender | null;
  clock: Clock;
  random: () => number;
  newId: () => string;
}

export interface OutboxState {
  /** The entries of all citizens who use this browser, in their order. */
  entries: readonly Entry[];
  /** The ids of entries that the browser could not store: they are lost when the page is closed. */
  unstored: ReadonlySet<string>;
}

/** A listener to the entries of the outbox, whichever tab sends them. */
export interface OutboxListener {
  /** Called when another tab of this browser has added an entry. */
  onAddedInOtherTab?: (entry: Entry) => void;
  onSending?: (entry: Entry) => void;
  onSent?: (entry: Entry, message: Message) => void;
}

/** A storage that does not respond within this time counts as missing; milliseconds. */
const STORAGE_TIMEOUT_MS = 3_000;
/** A leading tab that does not respond within this time is frozen or dead; milliseconds. */
const LEADER_TIMEOUT_MS = 5_000;

/**
 * The actions of citizens that the city does not have yet, stored by citizen and room.
 *
 * The storage is authoritative: each tab shows its content, and one tab sends it. An entry is removed when the city has responded
 * or delivered its event, or when its author discards it. It is sent with its author's token only, in the order of its room,
 * again and again until the city accepts or refuses it. An entry that cannot be stored stays in memory, and its own tab sends it.
 */
export class Outbox {
  readonly store: StoreApi<OutboxState> = createStore(() => ({ entries: [], unstored: new Set<string>() }));
  private readonly listeners = new Set<OutboxListener>();
  private stored: readonly Entry[] = [];
  /** Entries that are being stored, or cannot be stored (then they are in `unstored`). */
  private readonly inMemory = new Map<string, Entry>();
  private readonly removed = new Set<string>();
  private readonly busyQueues = new Set<string>();
  private readonly sending = new Set<string>();
  private isLeader = false;
  private loads = 0;
  private shownLoad = 0;
  private cancelTimer: Cancel = () => undefined;
  private cancelTakeover: Cancel = () => undefined;
  private election: LeaderElection | null = null;

  constructor(private readonly environment: OutboxEnvironment) {}

  start(): void {
    this.environment.channel.subscribe((news) => this.handleMessage(news));
    this.election = this.environment.electLeader({
      onElected: () => {
        this.isLeader = true;
        void this.load();
      },
      onLost: () => {
        this.isLeader = false;
      },
    });
    void this.load();
  }

  stop(): void {
    this.election?.stop();
    this.isLeader = false;
    this.cancelTimer();
    this.cancelTakeover();
  }

  subscribe(listener: OutboxListener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Add an entry. False, without adding it, if nobody is signed in or the outbox is full. */
  add(room: EntryRoom, action: Action): boolean {
    const person = this.environment.sender();
    if (!person) return false;
    const { entries } = this.store.getState();
    const now = this.environment.clock.now();
    const entry: Entry = {
      id: this.environment.newId(),
      owner: person.userId,
      room,
      order: Math.max(now, (entries.at(-1)?.order ?? 0) + 1),
      createdAt: now,
      action,
      state: "waiting",
      tries: 0,
      notBefore: 0,
      problem: null,
    };
    if (!hasCapacityFor(entries, entry)) return false;
    const old = superseded(entries, entry, this.sending).map(({ id }) => id);
    if (old.length) void this.remove(old);
    this.inMemory.set(entry.id, entry);
    this.publish();
    this.environment.channel.post({ news: "added", entry });
    void this.persist(entry);
    return true;
  }

  retry(id: string): void {
    void this.change(id, retried).then(() => this.wake());
  }

  discard(id: string): void {
    void this.remove([id]);
  }

  /** Remove an entry whose event the city has delivered: the response may have been lost. */
  confirm(id: string): void {
    if (this.store.getState().entries.some((entry) => entry.id === id)) this.discard(id);
  }

  /** Retry at once: the connection is back, somebody signed in, or the reader asks for it. */
  wake(): void {
    void this.wakeAll();
    if (!this.isLeader) this.wakeLeader();
  }

  private async wakeAll(): Promise<void> {
    const owner = this.environment.sender()?.userId;
    const own = this.store.getState().entries.filter((entry) => entry.owner === owner && this.isMine(entry.id));
    const sleeping = own.filter((entry) => withoutDelay(entry) !== entry);
    await Promise.all(sleeping.map(({ id }) => this.change(id, withoutDelay)));
    this.sendNext();
  }

  /** Ask the leading tab to send; if it does not respond, this tab takes over. */
  private wakeLeader(): void {
    if (!this.stored.length) return;
    this.cancelTakeover();
    this.cancelTakeover = this.environment.clock.after(LEADER_TIMEOUT_MS, () => this.election?.steal());
    this.environment.channel.post({ news: "wake" });
  }

  private handleMessage(news: OutboxMessage): void {
    switch (news.news) {
      case "changed":
        void this.load();
        break;
      case "wake":
        if (!this.isLeader) break;
        this.environment.channel.post({ news: "awake" });
        void this.load().then(() => this.wakeAll());
        break;
      case "awake":
        this.cancelTakeover();
        break;
      case "added":
        for (const listener of this.listeners) listener.onAddedInOtherTab?.(news.entry);
        break;
      case "sending":
        for (const listener of this.listeners) listener.onSending?.(news.entry);
        break;
      case "sent":
        for (const listener of this.listeners) listener.onSent?.(news.entry, news.message);
    }
  }

  private async persist(entry: Entry): Promise<void> {
    const { storage, clock, channel } = this.environment;
    try {
      await withTimeout(clock, STORAGE_TIMEOUT_MS, storage.put(entry));
      this.inMemory.delete(entry.id);
      if (this.removed.has(entry.id)) await storage.remove([entry.id]);
      await this.load();
      channel.post({ news: "changed" });
      if (!this.isLeader) this.wakeLeader();
    } catch {
      this.notStored(entry.id);
      this.sendNext();
    }
  }

  private notStored(id: string): void {
    this.store.setState(({ unstored }) => ({ unstored: new Set([...unstored, id]) }));
  }

  private async load(): Promise<void> {
    const read = ++this.loads;
    try {
      const found = await withTimeout(this.environment.clock, STORAGE_TIMEOUT_MS, this.environment.storage.all());
      // Each read begins after the writes that caused it: only a read that a later one has overtaken is out of date.
      if (read > this.shownLoad) [this.shownLoad, this.stored] = [read, found];
    } catch {
      // Without storage, there are only the entries in this tab's memory.
    }
    this.publish();
    this.sendNext();
  }

  private publish(): void {
    const all = sortedEntries([...this.stored, ...this.inMemory.values()]);
    this.store.setState({ entries: all.filter(({ id }) => !this.removed.has(id)) });
  }

  private async change(id: string, change: (entry: Entry) => Entry): Promise<void> {
    const known = this.store.getState().entries.find((entry) => entry.id === id);
    if (!known) return;
    if (!this.inMemory.has(id)) {
      try {
        await withTimeout(this.environment.clock, STORAGE_TIMEOUT_MS, this.environment.storage.change(id, change));
        await this.load();
        this.environment.channel.post({ news: "changed" });
        return;
      } catch {
        this.notStored(id);
      }
    }
    this.inMemory.set(id, change(known));
    this.publish();
  }

  private async remove(ids: readonly string[]): Promise<void> {
    for (const id of ids) {
      this.removed.add(id);
      this.inMemory.delete(id);
    }
    this.publish();
    await withTimeout(this.environment.clock, STORAGE_TIMEOUT_MS, this.environment.storage.remove(ids)).catch(() => undefined);
    this.environment.channel.post({ news: "changed" });
    this.sendNext();
  }

  /** Send the entries that are due, and call this again when the next one is. */
  private sendNext(): void {
    this.cancelTimer();
    const person = this.environment.sender();
    if (!person) return;
    const now = this.environment.clock.now();
    const next = nextEntries(this.store.getState().entries, person.userId, this.busyQueues).filter(({ id }) => this.isMine(id));
    for (const entry of next) if (entry.notBefore <= now) void this.send(entry, person);
    const later = next.filter(({ notBefore }) => notBefore > now).map(({ notBefore }) => notBefore);
    if (later.length) this.cancelTimer = this.environment.clock.after(Math.min(...later) - now, () => this.sendNext());
  }

  private isMine(id: string): boolean {
    if (this.inMemory.has(id)) return this.store.getState().unstored.has(id);
    return this.isLeader;
  }

  private async send(entry: Entry, { token }: OutboxSender): Promise<void> {
    const lane = queueKey(entry);
    this.busyQueues.add(lane);
    this.sending.add(entry.id);
    this.tell({ news: "sending", entry });
    try {
      const message = await this.environment.deliver(entry, token, (media) =>
        this.change(entry.id, (now) => withMedia(now, media)),
      );
      this.tell({ news: "sent", entry, message });
      await this.remove([entry.id]);
    } catch (error) {
      const { clock, random } = this.environment;
      if (isSettledBy(entry, error)) await this.remove([entry.id]);
      else await this.change(entry.id, (now) => afterProblem(now, error, clock.now(), random));
    } finally {
      this.busyQueues.delete(lane);
      this.sending.delete(entry.id);
      this.sendNext();
    }
  }

  /** Send a message to all tabs, including this one. */
  private tell(news: OutboxMessage): void {
    this.handleMessage(news);
    this.environment.channel.post(news);
  }
}

function withMedia(entry: Entry, media: Media): Entry {
  return entry.action.kind === "message" ? { ...entry, action: { ...entry.action, media } } : entry;
}

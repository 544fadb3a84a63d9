import { createStore, type StoreApi } from "zustand";
import type { Media, Message, SubjectId } from "../api/types";
import type { Cancel, Clock } from "../lib/clock";
import type { Action, Entry, EntryRoom } from "./entry";
import { laneOf } from "./entry";
import type { Candidate, Leadership } from "./leader";
import { within } from "../lib/within";
import { afterProblem, again, hasRoomFor, heads, inOrder, isDoneBy, superseded, woken } from "./queue";
import type { OutboxStorage } from "./storage";

export interface Person {
  userId: SubjectId;
  token: string;
}

/** What tabs tell each other. */
export type OutboxNews =
  | { news: "changed" | "wake" | "awake" }
  | { news: "added"; entry: Entry }
  | { news: "sending"; entry: Entry }
  | { news: "sent"; entry: Entry; message: Message };

export interface OutboxChannel {
  tell: (news: OutboxNews) => void;
  listen: (heard: (news: OutboxNews) => void) => void;
}

export interface OutboxWorld {
  storage: OutboxStorage;
  channel: OutboxChannel;
  compete: (candidate: Candidate) => Leadership;
  deliver: (entry: Entry, token: string, uploaded: (media: Media) => Promise<void>) => Promise<Message>;
  /** Who is signed in in this tab. */
  person: () => Person | null;
  clock: Clock;
  random: () => number;
  newId: () => string;
}

export interface OutboxState {
  /** Of all people who use this browser, by their order. */
  entries: readonly Entry[];
  /** Ids of entries that the browser could not store: they are gone with the page. */
  unstored: ReadonlySet<string>;
}

/** What a room wants to know of its entries, from whichever tab sends them. */
export interface OutboxListener {
  /** Another tab of this browser has put it there. */
  addedElsewhere?: (entry: Entry) => void;
  sending?: (entry: Entry) => void;
  sent?: (entry: Entry, message: Message) => void;
}

/** A storage that does not answer within this is none; milliseconds. */
const STORE_WITHIN_MS = 3_000;
/** A leading tab that gives no sign within this is frozen or dead; milliseconds. */
const SIGN_WITHIN_MS = 5_000;

/**
 * What people did and the city has not yet, stored by person and room.
 *
 * The storage is what counts: each tab shows what is in it, and one tab sends. An entry leaves it when the city has answered or
 * told of it, or when its author discards it. It is sent with a token of its author only, in the order of its room, again and
 * again until the city takes or refuses it. What cannot be stored is kept and sent by its own tab.
 */
export class Outbox {
  readonly store: StoreApi<OutboxState> = createStore(() => ({ entries: [], unstored: new Set<string>() }));
  private readonly listeners = new Set<OutboxListener>();
  private stored: readonly Entry[] = [];
  /** Being stored just now, or not to be stored at all (then in `unstored`). */
  private readonly inMemory = new Map<string, Entry>();
  private readonly removed = new Set<string>();
  private readonly busy = new Set<string>();
  private readonly sending = new Set<string>();
  private leads = false;
  private reads = 0;
  private shownRead = 0;
  private cancelTimer: Cancel = () => undefined;
  private cancelTaking: Cancel = () => undefined;
  private leadership: Leadership | null = null;

  constructor(private readonly world: OutboxWorld) {}

  start(): void {
    this.world.channel.listen((news) => this.hear(news));
    this.leadership = this.world.compete({
      leads: () => {
        this.leads = true;
        void this.read();
      },
      lost: () => {
        this.leads = false;
      },
    });
    void this.read();
  }

  stop(): void {
    this.leadership?.stop();
    this.leads = false;
    this.cancelTimer();
    this.cancelTaking();
  }

  subscribe(listener: OutboxListener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** False when nobody is signed in, or too much waits already: then nothing was added. */
  add(room: EntryRoom, action: Action): boolean {
    const person = this.world.person();
    if (!person) return false;
    const { entries } = this.store.getState();
    const now = this.world.clock.now();
    const entry: Entry = {
      id: this.world.newId(),
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
    if (!hasRoomFor(entries, entry)) return false;
    const old = superseded(entries, entry, this.sending).map(({ id }) => id);
    if (old.length) void this.remove(old);
    this.inMemory.set(entry.id, entry);
    this.show();
    this.world.channel.tell({ news: "added", entry });
    void this.keep(entry);
    return true;
  }

  retry(id: string): void {
    void this.change(id, again).then(() => this.wake());
  }

  discard(id: string): void {
    void this.remove([id]);
  }

  /** The city told of it by another way: its answer may have been lost. */
  heard(id: string): void {
    if (this.store.getState().entries.some((entry) => entry.id === id)) this.discard(id);
  }

  /** Try at once: the connection is back, somebody signed in, or wants it. */
  wake(): void {
    void this.wakeAll();
    if (!this.leads) this.askLeader();
  }

  private async wakeAll(): Promise<void> {
    const owner = this.world.person()?.userId;
    const own = this.store.getState().entries.filter((entry) => entry.owner === owner && this.isMine(entry.id));
    const sleeping = own.filter((entry) => woken(entry) !== entry);
    await Promise.all(sleeping.map(({ id }) => this.change(id, woken)));
    this.pump();
  }

  /** The leading tab sends; if it does not answer, this tab takes over. */
  private askLeader(): void {
    if (!this.stored.length) return;
    this.cancelTaking();
    this.cancelTaking = this.world.clock.after(SIGN_WITHIN_MS, () => this.leadership?.take());
    this.world.channel.tell({ news: "wake" });
  }

  private hear(news: OutboxNews): void {
    switch (news.news) {
      case "changed":
        void this.read();
        break;
      case "wake":
        if (!this.leads) break;
        this.world.channel.tell({ news: "awake" });
        void this.read().then(() => this.wakeAll());
        break;
      case "awake":
        this.cancelTaking();
        break;
      case "added":
        for (const listener of this.listeners) listener.addedElsewhere?.(news.entry);
        break;
      case "sending":
        for (const listener of this.listeners) listener.sending?.(news.entry);
        break;
      case "sent":
        for (const listener of this.listeners) listener.sent?.(news.entry, news.message);
    }
  }

  private async keep(entry: Entry): Promise<void> {
    const { storage, clock, channel } = this.world;
    try {
      await within(clock, STORE_WITHIN_MS, storage.put(entry));
      this.inMemory.delete(entry.id);
      if (this.removed.has(entry.id)) await storage.remove([entry.id]);
      await this.read();
      channel.tell({ news: "changed" });
      if (!this.leads) this.askLeader();
    } catch {
      this.notStored(entry.id);
      this.pump();
    }
  }

  private notStored(id: string): void {
    this.store.setState(({ unstored }) => ({ unstored: new Set([...unstored, id]) }));
  }

  private async read(): Promise<void> {
    const read = ++this.reads;
    try {
      const found = await within(this.world.clock, STORE_WITHIN_MS, this.world.storage.all());
      // Each read was begun after the writes that asked for it; only one that was overtaken by a later one is out of date.
      if (read > this.shownRead) [this.shownRead, this.stored] = [read, found];
    } catch {
      // Without storage there is what this tab has in memory.
    }
    this.show();
    this.pump();
  }

  private show(): void {
    const all = inOrder([...this.stored, ...this.inMemory.values()]);
    this.store.setState({ entries: all.filter(({ id }) => !this.removed.has(id)) });
  }

  private async change(id: string, change: (entry: Entry) => Entry): Promise<void> {
    const known = this.store.getState().entries.find((entry) => entry.id === id);
    if (!known) return;
    if (!this.inMemory.has(id)) {
      try {
        await within(this.world.clock, STORE_WITHIN_MS, this.world.storage.change(id, change));
        await this.read();
        this.world.channel.tell({ news: "changed" });
        return;
      } catch {
        this.notStored(id);
      }
    }
    this.inMemory.set(id, change(known));
    this.show();
  }

  private async remove(ids: readonly string[]): Promise<void> {
    for (const id of ids) {
      this.removed.add(id);
      this.inMemory.delete(id);
    }
    this.show();
    await within(this.world.clock, STORE_WITHIN_MS, this.world.storage.remove(ids)).catch(() => undefined);
    this.world.channel.tell({ news: "changed" });
    this.pump();
  }

  /** Send what is due, and come back when the next one is. */
  private pump(): void {
    this.cancelTimer();
    const person = this.world.person();
    if (!person) return;
    const now = this.world.clock.now();
    const next = heads(this.store.getState().entries, person.userId, this.busy).filter(({ id }) => this.isMine(id));
    for (const entry of next) if (entry.notBefore <= now) void this.send(entry, person);
    const later = next.filter(({ notBefore }) => notBefore > now).map(({ notBefore }) => notBefore);
    if (later.length) this.cancelTimer = this.world.clock.after(Math.min(...later) - now, () => this.pump());
  }

  private isMine(id: string): boolean {
    if (this.inMemory.has(id)) return this.store.getState().unstored.has(id);
    return this.leads;
  }

  private async send(entry: Entry, { token }: Person): Promise<void> {
    const lane = laneOf(entry);
    this.busy.add(lane);
    this.sending.add(entry.id);
    this.tell({ news: "sending", entry });
    try {
      const message = await this.world.deliver(entry, token, (media) => this.change(entry.id, (now) => withMedia(now, media)));
      this.tell({ news: "sent", entry, message });
      await this.remove([entry.id]);
    } catch (error) {
      const { clock, random } = this.world;
      if (isDoneBy(entry, error)) await this.remove([entry.id]);
      else await this.change(entry.id, (now) => afterProblem(now, error, clock.now(), random));
    } finally {
      this.busy.delete(lane);
      this.sending.delete(entry.id);
      this.pump();
    }
  }

  /** Everybody, this tab included. */
  private tell(news: OutboxNews): void {
    this.hear(news);
    this.world.channel.tell(news);
  }
}

function withMedia(entry: Entry, media: Media): Entry {
  return entry.action.kind === "message" ? { ...entry, action: { ...entry.action, media } } : entry;
}

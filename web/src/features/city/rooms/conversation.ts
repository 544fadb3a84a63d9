import type { StoreApi } from "zustand";
import { city, type PagePosition } from "../../../api/city";
import { Problem } from "../../../api/problem";
import type { Author, Media, Message, NewPoll, NewVoice, Room, SubjectId } from "../../../api/types";
import type { SocketEnvironment } from "../../../lib/reconnectingSocket";
import type { Action, Entry } from "../../../outbox/entry";
import type { Outbox } from "../../../outbox/outbox";
import { parseCommand } from "./commands";
import type { SeqRange } from "./rows";
import { timelineAround, PAGE_SIZE, withResponse, withNewer, withOlder, type Timeline } from "./timeline";

export interface ConversationState {
  timeline: Timeline;
  /** The root of a thread, shown before its replies; null for the main timeline of a room. */
  root: Message | null;
  /** Messages that were posted while the reader was away. */
  unread: SeqRange | null;
  isLoadingOlder: boolean;
  /** The error of the reader's last action. */
  problem: unknown;
}

export interface RoomEnvironment extends SocketEnvironment {
  token: () => string | null;
  onTokenRejected: (token: string) => void;
  /** The citizen who is signed in, by id. */
  me: () => SubjectId | null;
  /** The subject of the signed-in citizen in the city's responses: a linked Matrix account, else the citizen. */
  subject: () => SubjectId | null;
  addAuthors: (authors: readonly Author[], areLive?: boolean) => void;
  /** Whether the page is visible. */
  isShown: () => boolean;
  outbox: Outbox;
}

/** The file of a message. */
export interface OutgoingFile {
  file: File;
  /** The uploaded file; null until it is uploaded. */
  media: Media | null;
  /** Present for a voice message. */
  voice?: NewVoice;
}

/** If a page of history has no visible message, the next page has this size. */
const LARGE_PAGE = 200;

/** The messages of a room's main timeline or of a thread, their pages, and the reader's actions in it. */
export abstract class Conversation {
  abstract readonly store: StoreApi<ConversationState>;
  private readonly beforeSending = new Map<string, Message | null>();
  private onFile: (file: File) => void = () => undefined;
  /** The newest messages, which events continue to update while an older part of the history is shown. */
  protected live: Timeline | null = null;
  private isLoadingNewer = false;

  /** `threadRoot`: the message id of the thread's root; null for the main timeline. */
  constructor(
    readonly name: string,
    readonly threadRoot: string | null,
    readonly environment: RoomEnvironment,
  ) {}

  protected abstract room(): Room | null;
  protected abstract fetchPage(position: PagePosition, limit: number): Promise<Message[]>;
  /** Send a typing notification. */
  abstract setTyping(isTyping: boolean): void;
  /** Store and send that the reader has read everything. */
  abstract readToEnd(): void;

  /** Whether a message is shown in this conversation. */
  shows(message: Message): boolean {
    return message.thread_root === this.threadRoot;
  }

  /** The loaded message with this id; null if it is not loaded. */
  loadedMessage(id: string): Message | null {
    return messageOf(this.store.getState(), id);
  }

  /** Add a message to the outbox. False if the outbox did not accept it; `problem` says why. */
  send(written: string, replyTo: string | null, file: OutgoingFile | null = null): boolean {
    this.showNewest();
    this.setState({ unread: null });
    const { body, isEmote } = parseCommand(written);
    const emote = isEmote && !file ? { msgtype: "m.emote" as const } : {};
    return this.enqueue({
      kind: "message",
      body: emote.msgtype ? body : written,
      replyTo,
      threadRoot: this.threadRoot,
      file: file?.file ?? null,
      media: file?.media ?? null,
      ...(file?.voice ? { voice: file.voice } : {}),
      ...emote,
    });
  }

  edit(message: Message, body: string): boolean {
    return this.enqueue({ kind: "edit", messageId: message.id, body });
  }

  remove(message: Message): boolean {
    return this.enqueue({ kind: "removal", messageId: message.id });
  }

  /** Add a reaction, or remove the reader's own. `message` is the message as rendered. */
  react(message: Message, emoji: string): boolean {
    const me = this.environment.subject();
    const isGiven = me !== null && message.reactions.some((reaction) => reaction.emoji === emoji && reaction.by.includes(me));
    return this.enqueue({ kind: "reaction", messageId: message.id, emoji, given: !isGiven });
  }

  retryDelivery(message: Message): Promise<boolean> {
    const before = this.loadedMessage(message.id);
    return this.attempt(city.retry(this.name, message.id).then((answer) => this.applyResponse(before, answer)));
  }

  /** Vote in a poll, which replaces an earlier vote; no selections withdraw it. False if the city does not accept it. */
  vote(message: Message, selections: readonly string[]): Promise<boolean> {
    const before = this.loadedMessage(message.id);
    return this.attempt(city.vote(this.name, message.id, selections).then((answer) => this.applyResponse(before, answer)));
  }

  endPoll(message: Message): Promise<boolean> {
    const before = this.loadedMessage(message.id);
    return this.attempt(city.endPoll(this.name, message.id).then((answer) => this.applyResponse(before, answer)));
  }

  /** Start a poll. False if it could not be started; `problem` says why. */
  startPoll(poll: NewPoll): Promise<boolean> {
    const thread = this.threadRoot === null ? {} : { thread_root: this.threadRoot };
    return this.attempt(
      city.sendMessage(this.name, { body: "", poll, ...thread }).then((answer) => this.applyResponse(null, answer)),
    );
  }

  async loadOlder(): Promise<void> {
    const { timeline, isLoadingOlder } = this.store.getState();
    if (isLoadingOlder || !timeline.hasOlder || !timeline.messages.length) return;
    this.setState({ isLoadingOlder: true });
    try {
      let limit = PAGE_SIZE;
      while (!(await this.addOlder(limit))) limit = LARGE_PAGE;
    } catch (problem) {
      this.setState({ problem });
    } finally {
      this.setState({ isLoadingOlder: false });
    }
  }

  /** Load an older page. False if none of its messages is visible: then no scroll event would load the page before it. */
  private async addOlder(limit: number): Promise<boolean> {
    const first = this.store.getState().timeline.messages[0];
    if (!first) return true;
    const older = await this.fetchPage({ before: first.seq }, limit);
    this.storeAuthors(older);
    const now = this.store.getState().timeline;
    // The reader may have moved to another part of the history meanwhile.
    if (now.messages[0]?.id !== first.id) return true;
    this.setState({ timeline: withOlder(now, older) });
    return !older.length || older.some((message) => this.shows(message));
  }

  /** Load the next page of a part of the history that ends before the newest messages. */
  async loadNewer(): Promise<void> {
    if (!this.live || this.isLoadingNewer) return;
    this.isLoadingNewer = true;
    try {
      let limit = PAGE_SIZE;
      while (!(await this.addNewer(limit))) limit = LARGE_PAGE;
    } catch (problem) {
      this.setState({ problem });
    } finally {
      this.isLoadingNewer = false;
    }
  }

  private async addNewer(limit: number): Promise<boolean> {
    const last = this.store.getState().timeline.messages.at(-1);
    if (!last) return true;
    const newer = await this.fetchPage({ after: last.seq }, limit);
    const now = this.store.getState().timeline;
    if (!this.live || !now.hasNewer || now.messages.at(-1)?.id !== last.id) return true;
    this.storeAuthors(newer);
    this.setTimeline(withNewer(now, newer, this.live));
    return !newer.length || newer.some((message) => this.shows(message));
  }

  /** Show the newest messages again. */
  showNewest(): void {
    if (this.live) this.setTimeline({ ...this.live, grewAt: "newer" });
  }

  /** Show a message and the messages around it. False when it cannot be loaded; `problem` says why, unless `isQuiet`. */
  async loadAround(messageId: string, { isQuiet = false } = {}): Promise<boolean> {
    if (this.loadedMessage(messageId)) return true;
    try {
      const page = await this.fetchPage({ around: messageId }, PAGE_SIZE);
      this.storeAuthors(page);
      this.setTimeline(timelineAround(page, this.live ?? this.store.getState().timeline));
      return true;
    } catch (problem) {
      if (!isQuiet) this.setState({ problem });
      return false;
    }
  }

  /** Register the input that takes files for the next message. Returns a function that removes it. */
  listenForFiles(take: (file: File) => void): () => void {
    this.onFile = take;
    return () => {
      this.onFile = () => undefined;
    };
  }

  /** Put a file back into the input. */
  restoreFile(file: File): void {
    this.onFile(file);
  }

  /** Show the error of an action. */
  report(problem: unknown): void {
    this.setState({ problem });
  }

  clearProblem(): void {
    this.report(null);
  }

  protected storeAuthors(messages: readonly Message[]): void {
    this.environment.addAuthors(messages.flatMap(({ author, thread }) => [author, ...(thread?.authors ?? [])]));
  }

  /** Follow the entries of the outbox. Returns a function that stops it. */
  protected followOutbox(): () => void {
    return this.environment.outbox.subscribe({
      onSending: (entry) => this.onSending(entry),
      onSent: (entry, message) => this.onSent(entry, message),
    });
  }

  private enqueue(action: Action): boolean {
    const room = this.room();
    const isAdded = room !== null && this.environment.outbox.add({ id: room.id, slug: room.slug, name: room.name }, action);
    this.setState({ problem: isAdded ? null : new Problem(0, "outbox_full", "too much waits to be sent") });
    return isAdded;
  }

  private onSending(entry: Entry): void {
    if (entry.room.id !== this.room()?.id) return;
    this.beforeSending.set(entry.id, entry.action.kind === "message" ? null : this.loadedMessage(entry.action.messageId));
  }

  /** Show the response at once; the WebSocket delivers the same message a little later. */
  protected onSent(entry: Entry, message: Message): void {
    if (entry.room.id !== this.room()?.id) return;
    this.applyResponse(this.beforeSending.get(entry.id) ?? null, message);
    this.beforeSending.delete(entry.id);
  }

  protected applyResponse(before: Message | null, answer: Message): void {
    this.storeAuthors([answer]);
    this.updateTimeline((timeline) => withResponse(timeline, before, answer));
  }

  protected async attempt(answer: Promise<unknown>): Promise<boolean> {
    try {
      await answer;
      this.setState({ problem: null });
      return true;
    } catch (problem) {
      this.setState({ problem });
      return false;
    }
  }

  private setTimeline(timeline: Timeline): void {
    this.live = timeline.hasNewer ? (this.live ?? this.store.getState().timeline) : null;
    this.setState({ timeline });
  }

  protected updateTimeline(grow: (timeline: Timeline) => Timeline): void {
    if (this.live) this.live = grow(this.live);
    this.setState({ timeline: grow(this.store.getState().timeline) });
  }

  protected setState(changes: Partial<ConversationState>): void {
    this.store.setState(changes);
  }
}

/** A loaded message by its id; null if it is not loaded. */
export function messageOf({ timeline, root }: Pick<ConversationState, "timeline" | "root">, id: string): Message | null {
  return root?.id === id ? root : (timeline.messages.find((message) => message.id === id) ?? null);
}

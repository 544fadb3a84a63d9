import { createStore, type StoreApi } from "zustand";
import { city } from "../../../api/city";
import type {
  Author,
  Media,
  Message,
  NewPoll,
  OnlineMember,
  Room,
  RoomDetails,
  RoomRemoval,
  SubjectId,
} from "../../../api/types";
import { Problem } from "../../../api/problem";
import { readUpTo } from "../../../lib/readMarks";
import type { LinkState, SocketWorld } from "../../../lib/reconnectingSocket";
import { RoomStream, type RoomEvent } from "../../../lib/roomSocket";
import { subjectOf } from "../../../lib/subjects";
import type { Action, Entry } from "../../../outbox/entry";
import type { Outbox } from "../../../outbox/outbox";
import type { Span } from "./rows";
import { commandOf } from "./commands";
import { begin, beginAround, EMPTY, PAGE, withAnswer, withEvent, withNewer, withOlder, type Timeline } from "./timeline";

export interface RoomState {
  room: Room | null;
  /** Whether one may read what is said there now. */
  mayRead: boolean;
  /** The kick or ban of this person. */
  removal: RoomRemoval | null;
  timeline: Timeline;
  /** Members who are not offline. */
  members: ReadonlySet<SubjectId>;
  typing: readonly SubjectId[];
  link: LinkState;
  /** What was said while the reader was away. */
  unread: Span | null;
  isLoadingOlder: boolean;
  /** Why the room cannot be shown. */
  error: unknown;
  /** What went wrong with what was done last. */
  problem: unknown;
}

const NOTHING: RoomState = {
  room: null,
  mayRead: true,
  removal: null,
  timeline: EMPTY,
  members: new Set(),
  typing: [],
  link: "connecting",
  unread: null,
  isLoadingOlder: false,
  error: null,
  problem: null,
};

/** Typing is said again this often; the city forgets it after ten seconds. */
const TYPING_EVERY_MS = 4_000;

export interface RoomWorld extends SocketWorld {
  token: () => string | null;
  refused: (token: string) => void;
  /** The subject of whoever is signed in. */
  me: () => SubjectId | null;
  addAuthors: (authors: readonly Author[]) => void;
  /** Whether the page is shown. */
  isShown: () => boolean;
  outbox: Outbox;
}

/** A room that somebody looks at: what is shown of it, and what they do there. */
export class RoomModel {
  readonly store: StoreApi<RoomState> = createStore(() => NOTHING);
  private readonly stream: RoomStream;
  /** The message as it was shown when an entry of the outbox was sent; null for a new one. */
  private readonly shownBefore = new Map<string, Message | null>();
  private unsubscribe: () => void = () => undefined;
  private takesFile: (file: File) => void = () => undefined;
  private typingSaidAt = -Infinity;
  private readId: string | null = null;
  /** The newest messages, which events go on changing while an older part of the history is shown. */
  private live: Timeline | null = null;
  private isLoadingNewer = false;

  constructor(
    readonly name: string,
    private readonly world: RoomWorld,
  ) {
    this.stream = new RoomStream(
      world,
      name,
      () => city.room(name, undefined),
      () => world.token(),
      {
        loaded: (room) => this.loaded(room),
        heard: (event) => this.heard(event),
        membersAgain: (members) => this.setMembers(members),
        link: (link) => this.linked(link),
        failed: (error) => this.set({ error }),
        refused: (token) => world.refused(token),
      },
    );
  }

  start(): void {
    this.unsubscribe();
    this.unsubscribe = this.world.outbox.subscribe({
      sending: (entry) => this.noteSending(entry),
      sent: (entry, message) => this.noteSent(entry, message),
    });
    this.stream.start();
  }

  stop(): void {
    this.unsubscribe();
    this.stream.stop();
  }

  /** The network is back. */
  reconnect(): void {
    this.stream.reopen();
  }

  /** Somebody signed in or out. */
  changeReader(): void {
    this.stream.reopen();
    this.set({ unread: this.unreadNow() });
  }

  /** The page was hidden, or is shown again: what was said meanwhile is what the reader missed. */
  shownOrHidden(): void {
    const { room, unread, mayRead } = this.store.getState();
    if (!mayRead) this.stream.reopen();
    if (!this.world.isShown()) this.set({ unread: this.unreadNow() });
    else if (room && unread) this.set({ unread: { ...unread, upTo: Math.min(unread.upTo, room.last_seq) } });
  }

  /** False when it could not be taken into the outbox; `problem` says why. */
  say(written: string, replyTo: string | null, file: { file: File; media: Media | null } | null = null): boolean {
    this.typingSaidAt = -Infinity;
    this.toNewest();
    this.set({ unread: null });
    const { body, isEmote } = commandOf(written);
    const emote = isEmote && !file ? { msgtype: "m.emote" as const } : {};
    return this.enqueue({
      kind: "message",
      body: emote.msgtype ? body : written,
      replyTo,
      file: file?.file ?? null,
      media: file?.media ?? null,
      ...emote,
    });
  }

  edit(message: Message, body: string): boolean {
    return this.enqueue({ kind: "edit", messageId: message.id, body });
  }

  remove(message: Message): boolean {
    return this.enqueue({ kind: "removal", messageId: message.id });
  }

  /** Give a sign, or take back one's own. `message` is as it is shown. */
  react(message: Message, emoji: string): boolean {
    const me = this.world.me();
    const isGiven = me !== null && message.reactions.some((tally) => tally.emoji === emoji && tally.by.includes(me));
    return this.enqueue({ kind: "reaction", messageId: message.id, emoji, given: !isGiven });
  }

  retryDelivery(message: Message): Promise<boolean> {
    const before = this.shown(message.id);
    return this.attempt(city.retry(this.name, message.id).then((answer) => this.show(before, answer)));
  }

  /** Vote in a poll, in place of an earlier vote; no selections withdraw it. False where the city does not take it. */
  vote(message: Message, selections: readonly string[]): Promise<boolean> {
    const before = this.shown(message.id);
    return this.attempt(city.vote(this.name, message.id, selections).then((answer) => this.show(before, answer)));
  }

  endPoll(message: Message): Promise<boolean> {
    const before = this.shown(message.id);
    return this.attempt(city.endPoll(this.name, message.id).then((answer) => this.show(before, answer)));
  }

  /** False when it could not be started; `problem` says why. */
  startPoll(poll: NewPoll): Promise<boolean> {
    return this.attempt(city.say(this.name, { body: "", poll }).then((answer) => this.show(null, answer)));
  }

  async join(): Promise<void> {
    await this.attempt(city.join(this.name));
    this.readAsMember();
  }

  async leave(): Promise<void> {
    await this.attempt(city.leave(this.name));
  }

  /** Say that one is typing, or no longer; it may be called with every key. */
  type(isTyping: boolean): void {
    const now = this.world.clock.now();
    const isSaid = now - this.typingSaidAt < TYPING_EVERY_MS;
    if (isTyping === isSaid || (!isTyping && this.typingSaidAt === -Infinity)) return;
    this.typingSaidAt = isTyping ? now : -Infinity;
    if (this.world.me()) this.stream.send({ event: "city.room.typing", typing: isTyping });
  }

  /** Tell that the room was read to its end. */
  readToEnd(): void {
    const last = this.store.getState().timeline.messages.at(-1);
    if (this.live || !last || last.id === this.readId || !this.world.me()) return;
    if (this.stream.send({ event: "city.room.read", message_id: last.id })) this.readId = last.id;
  }

  async loadOlder(): Promise<void> {
    const { timeline, isLoadingOlder } = this.store.getState();
    const first = timeline.messages[0];
    if (isLoadingOlder || !timeline.hasOlder || !first) return;
    this.set({ isLoadingOlder: true });
    try {
      const older = await city.messages(this.name, first.seq, PAGE, undefined);
      const now = this.store.getState().timeline;
      // Meanwhile another part of the history may be shown.
      if (now.messages[0]?.id === first.id) this.set({ timeline: withOlder(now, older) });
    } catch (problem) {
      this.set({ problem });
    } finally {
      this.set({ isLoadingOlder: false });
    }
  }

  /** Go on from a part of the history that ends before the newest messages. */
  async loadNewer(): Promise<void> {
    const { timeline } = this.store.getState();
    const last = timeline.messages.at(-1);
    if (!this.live || !last || this.isLoadingNewer) return;
    this.isLoadingNewer = true;
    try {
      const newer = await city.messagesAfter(this.name, last.seq, PAGE);
      const now = this.store.getState().timeline;
      if (now.hasNewer && now.messages.at(-1)?.id === last.id) this.showPart(withNewer(now, newer, this.live));
    } catch (problem) {
      this.set({ problem });
    } finally {
      this.isLoadingNewer = false;
    }
  }

  /** Show the newest messages again. */
  toNewest(): void {
    if (this.live) this.showPart({ ...this.live, grew: "newer" });
  }

  /** Show a message, and what was said around it. False when it cannot be had; `problem` says why. */
  async find(messageId: string): Promise<boolean> {
    if (this.shown(messageId)) return true;
    try {
      const page = await city.messagesAround(this.name, messageId, PAGE);
      this.meetAuthors(page);
      this.showPart(beginAround(page, this.live ?? this.store.getState().timeline));
      return true;
    } catch (problem) {
      this.set({ problem });
      return false;
    }
  }

  /** Be the input that takes files for the next message. Answers how to be it no longer. */
  takeFiles(take: (file: File) => void): () => void {
    this.takesFile = take;
    return () => {
      this.takesFile = () => undefined;
    };
  }

  /** Have a file chosen for the next message. */
  giveBack(file: File): void {
    this.takesFile(file);
  }

  /** Show what went wrong with something that was done here. */
  report(problem: unknown): void {
    this.set({ problem });
  }

  clearProblem(): void {
    this.report(null);
  }

  private loaded(room: RoomDetails): void {
    this.live = null;
    const isFirst = this.store.getState().room === null;
    this.meetAuthors(room.messages);
    this.setMembers(room.online_members);
    this.set({ room, mayRead: room.may_read, removal: room.removal, timeline: begin(room), error: null });
    if (isFirst) this.set({ unread: this.unreadNow() });
  }

  /** What was said since the reader last looked: up to now, or open while the page is hidden. */
  private unreadNow(): Span | null {
    const { room } = this.store.getState();
    const after = room && readUpTo(this.world.me(), room.id);
    return after === null ? null : { after, upTo: this.world.isShown() ? (room?.last_seq ?? after) : Infinity };
  }

  /** Who joins a room, or writes in it, may read more of it. */
  private readAsMember(): void {
    if (!this.store.getState().mayRead) this.stream.reopen();
  }

  private heard(event: RoomEvent): void {
    switch (event.event) {
      case "city.room.typing": {
        this.set({ typing: event.typing.filter((subject) => subject !== this.world.me()) });
        return;
      }
      case "city.room.updated": {
        this.set({ room: event.room });
        return;
      }
      case "city.room.member": {
        this.world.addAuthors([event.member]);
        return;
      }
      case "city.room.presence": {
        this.memberIs(event.user_id, event.status !== "offline", event.members_online);
        return;
      }
      case "city.room.join":
      case "city.room.leave":
        this.world.addAuthors([event.member]);
        this.memberIs(subjectOf(event.member), event.event === "city.room.join", event.members_online);
        if (subjectOf(event.member) === this.world.me()) this.set({ removal: removalOf(event) });
        break;
      default:
        if (event.message) this.meetAuthors([event.message]);
        if (event.message?.client_id) this.world.outbox.heard(event.message.client_id);
    }
    this.noteSeq(event.seq);
    this.change((timeline) => withEvent(timeline, event));
  }

  private linked(link: LinkState): void {
    this.set(link === "live" ? { link } : { link, typing: [] });
    if (link === "live") this.world.outbox.wake();
  }

  /** How far the room has come, for the mark of what was read. */
  private noteSeq(seq: number): void {
    const { room } = this.store.getState();
    if (room && seq > room.last_seq) this.set({ room: { ...room, last_seq: seq } });
  }

  private memberIs(subject: SubjectId, isHere: boolean, membersOnline: number): void {
    const members = new Set(this.store.getState().members);
    if (isHere) members.add(subject);
    else members.delete(subject);
    const { room } = this.store.getState();
    this.set({ members, room: room && { ...room, members_online: membersOnline } });
  }

  private setMembers(members: readonly OnlineMember[]): void {
    this.world.addAuthors(members);
    this.set({ members: new Set(members.map(subjectOf)) });
  }

  private meetAuthors(messages: readonly Message[]): void {
    this.world.addAuthors(messages.map(({ author }) => author));
  }

  private enqueue(action: Action): boolean {
    const { room } = this.store.getState();
    const isAdded = room !== null && this.world.outbox.add({ id: room.id, slug: room.slug, name: room.name }, action);
    this.set({ problem: isAdded ? null : new Problem(0, "outbox_full", "too much waits to be sent") });
    return isAdded;
  }

  private noteSending(entry: Entry): void {
    if (entry.room.id !== this.store.getState().room?.id) return;
    this.shownBefore.set(entry.id, entry.action.kind === "message" ? null : this.shown(entry.action.messageId));
  }

  /** What the city answers is shown at once; the socket tells the same a little later. */
  private noteSent(entry: Entry, message: Message): void {
    if (entry.room.id !== this.store.getState().room?.id) return;
    this.readAsMember();
    this.show(this.shownBefore.get(entry.id) ?? null, message);
    this.shownBefore.delete(entry.id);
  }

  private shown(id: string): Message | null {
    return this.store.getState().timeline.messages.find((message) => message.id === id) ?? null;
  }

  private async attempt(answer: Promise<unknown>): Promise<boolean> {
    try {
      await answer;
      this.set({ problem: null });
      return true;
    } catch (problem) {
      this.set({ problem });
      return false;
    }
  }

  private show(before: Message | null, answer: Message): void {
    this.meetAuthors([answer]);
    this.change((timeline) => withAnswer(timeline, before, answer));
  }

  private showPart(timeline: Timeline): void {
    this.live = timeline.hasNewer ? (this.live ?? this.store.getState().timeline) : null;
    this.set({ timeline });
  }

  private change(grow: (timeline: Timeline) => Timeline): void {
    if (this.live) this.live = grow(this.live);
    this.set({ timeline: grow(this.store.getState().timeline) });
  }

  private set(changes: Partial<RoomState>): void {
    this.store.setState(changes);
  }
}

function removalOf(event: RoomEvent): RoomRemoval | null {
  const cause = event.event === "city.room.leave" ? event.cause : undefined;
  if (event.event !== "city.room.leave" || cause === undefined || cause === "left") return null;
  return { kind: cause, reason: event.reason ?? null };
}

import { createStore, type StoreApi } from "zustand";
import { city, type PagePosition } from "../../../api/city";
import type { Message, OnlineMember, Room, RoomDetails, RoomRemoval, SubjectId } from "../../../api/types";
import { markRead, readUpTo, startThreadMarks } from "../../../lib/readMarks";
import type { LinkState } from "../../../lib/reconnectingSocket";
import { RoomStream, type RoomEvent } from "../../../lib/roomSocket";
import { subjectOf } from "../../../lib/subjects";
import type { Entry } from "../../../outbox/entry";
import { Conversation, type ConversationState, type RoomWorld } from "./conversation";
import type { Span } from "./rows";
import { ThreadList } from "./threadList";
import { begin, EMPTY, withEvent } from "./timeline";

export interface RoomState extends ConversationState {
  room: Room | null;
  /** Whether one may read what is said there now. */
  mayRead: boolean;
  /** The kick or ban of this person. */
  removal: RoomRemoval | null;
  /** Members who are not offline. */
  members: ReadonlySet<SubjectId>;
  typing: readonly SubjectId[];
  link: LinkState;
  /** Why the room cannot be shown. */
  error: unknown;
}

const NOTHING: RoomState = {
  room: null,
  mayRead: true,
  removal: null,
  timeline: EMPTY,
  root: null,
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

/** A part of the page that follows the messages of a room. */
export interface RoomListener {
  /** A message that is new or has changed. */
  heard: (message: Message) => void;
  /** The room was loaded: events before that may be missing. */
  loaded: () => void;
}

/** A room that somebody looks at: what is shown of it, and what they do there. */
export class RoomModel extends Conversation {
  readonly store: StoreApi<RoomState> = createStore(() => NOTHING);
  readonly threads: ThreadList;
  private readonly stream: RoomStream;
  private readonly listeners = new Set<RoomListener>();
  private unsubscribe: () => void = () => undefined;
  private typingSaidAt = -Infinity;
  private readId: string | null = null;

  constructor(name: string, world: RoomWorld) {
    super(name, null, world);
    this.threads = new ThreadList(this);
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
    this.unsubscribe = this.followOutbox();
    this.stream.start();
  }

  stop(): void {
    this.unsubscribe();
    this.stream.stop();
  }

  /** Call `listener` with every message; returns how to stop. */
  follow(listener: RoomListener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** The network is back. */
  reconnect(): void {
    this.stream.reopen();
  }

  /** Somebody signed in or out. */
  changeReader(): void {
    this.stream.reopen();
    const { room } = this.store.getState();
    if (room) startThreadMarks(this.world.me(), room.id, room.last_seq);
    this.set({ unread: this.unreadNow() });
  }

  /** The page was hidden, or is shown again: what was said meanwhile is what the reader missed. */
  shownOrHidden(): void {
    const { room, unread, mayRead } = this.store.getState();
    if (!mayRead) this.stream.reopen();
    if (!this.world.isShown()) this.set({ unread: this.unreadNow() });
    else if (room && unread) this.set({ unread: { ...unread, upTo: Math.min(unread.upTo, room.last_seq) } });
  }

  override say(...words: Parameters<Conversation["say"]>): boolean {
    this.typingSaidAt = -Infinity;
    return super.say(...words);
  }

  async join(): Promise<void> {
    await this.attempt(city.join(this.name));
    this.readAsMember();
  }

  async leave(): Promise<void> {
    await this.attempt(city.leave(this.name));
  }

  /** Say that one is typing, or no longer; it may be called with every key. */
  override type(isTyping: boolean): void {
    const now = this.world.clock.now();
    const isSaid = now - this.typingSaidAt < TYPING_EVERY_MS;
    if (isTyping === isSaid || (!isTyping && this.typingSaidAt === -Infinity)) return;
    this.typingSaidAt = isTyping ? now : -Infinity;
    if (this.world.me()) this.stream.send({ event: "city.room.typing", typing: isTyping });
  }

  /** Store that the room was read, and send a read receipt for the last message of the main timeline. */
  override readToEnd(): void {
    const { room, timeline } = this.store.getState();
    if (!room || this.live) return;
    markRead(this.world.me(), room.id, room.last_seq);
    const last = timeline.messages.findLast((message) => this.shows(message));
    if (last && last.id !== this.readId && this.sendReceipt(last.id)) this.readId = last.id;
  }

  /** Send a read receipt; false when there is no connection or nobody is signed in. */
  sendReceipt(messageId: string): boolean {
    return this.world.me() !== null && this.stream.send({ event: "city.room.read", message_id: messageId });
  }

  protected override room(): Room | null {
    return this.store.getState().room;
  }

  protected override fetchPage(position: PagePosition, limit: number): Promise<Message[]> {
    if ("around" in position) return city.messagesAround(this.name, position.around, limit);
    if ("after" in position) return city.messagesAfter(this.name, position.after, limit);
    return city.messages(this.name, position.before, limit, undefined);
  }

  private loaded(room: RoomDetails): void {
    this.live = null;
    const isFirst = this.store.getState().room === null;
    this.meetAuthors(room.messages);
    this.setMembers(room.online_members);
    this.set({ room, mayRead: room.may_read, removal: room.removal, timeline: begin(room), error: null });
    if (isFirst) this.set({ unread: this.unreadNow() });
    startThreadMarks(this.world.me(), room.id, room.last_seq);
    for (const listener of this.listeners) listener.loaded();
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
        if (event.message) this.hearMessage(event.message);
        if (event.message?.client_id) this.world.outbox.heard(event.message.client_id);
    }
    this.noteSeq(event.seq);
    this.change((timeline) => withEvent(timeline, event));
  }

  private hearMessage(message: Message): void {
    this.meetAuthors([message]);
    for (const listener of this.listeners) listener.heard(message);
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

  protected override noteSent(entry: Entry, message: Message): void {
    if (entry.room.id === this.room()?.id) this.readAsMember();
    super.noteSent(entry, message);
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

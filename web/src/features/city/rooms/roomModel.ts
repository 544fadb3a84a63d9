import { createStore, type StoreApi } from "zustand";
import { city, type PagePosition } from "../../../api/city";
import type { Message, OnlineMember, Room, RoomDetails, RoomRemoval, RoomRights, SubjectId } from "../../../api/types";
import { markRead, readUpTo, startThreadMarks } from "../../../lib/readMarks";
import type { ConnectionState } from "../../../lib/reconnectingSocket";
import { RoomStream, type RoomEvent } from "../../../lib/roomStream";
import { subjectOf } from "../../../lib/subjects";
import type { Entry } from "../../../outbox/entry";
import { Conversation, type ConversationState, type RoomEnvironment } from "./conversation";
import { MemberChanges } from "./memberChanges";
import type { SeqRange } from "./rows";
import { CachedRoom } from "./cachedRoom";
import { ThreadList } from "./threadList";
import { newestTimeline, EMPTY_TIMELINE, withEvent } from "./timeline";

export interface RoomState extends ConversationState {
  room: Room | null;
  /** Whether the reader may read the room's messages now. */
  mayRead: boolean;
  /** The kick or ban of the reader. */
  removal: RoomRemoval | null;
  /** The reader's rights as a moderator; null for a visitor. */
  rights: RoomRights | null;
  /** Members who are not offline. */
  members: ReadonlySet<SubjectId>;
  typing: readonly SubjectId[];
  connection: ConnectionState;
  /** Why the room cannot be shown. */
  error: unknown;
}

const INITIAL_STATE: RoomState = {
  room: null,
  mayRead: true,
  removal: null,
  rights: null,
  timeline: EMPTY_TIMELINE,
  root: null,
  members: new Set(),
  typing: [],
  connection: "connecting",
  unread: null,
  isLoadingOlder: false,
  error: null,
  problem: null,
};

/** The interval of repeating a typing notification, which the city drops after ten seconds. */
const TYPING_INTERVAL_MS = 4_000;

type MembershipChange = Extract<RoomEvent, { event: "city.room.join" | "city.room.leave" }>;

/** A part of the page that listens to the events of a room. */
export interface RoomListener {
  /** Called for a message that is new or has changed. */
  onMessage: (message: Message) => void;
  /** Called when the room was loaded: events before that may be missing. */
  onLoaded: () => void;
  /** Called for any event of the room. */
  onEvent?: (event: RoomEvent) => void;
}

/** An open room: its state, and the reader's actions in it. */
export class RoomModel extends Conversation {
  readonly store: StoreApi<RoomState> = createStore(() => INITIAL_STATE);
  readonly threads: ThreadList;
  private readonly stream: RoomStream;
  private readonly cache: CachedRoom;
  private readonly listeners = new Set<RoomListener>();
  private unsubscribe: () => void = () => undefined;
  private readonly memberChanges: MemberChanges;
  private typingSentAt = -Infinity;
  private readId: string | null = null;
  /** The number of requests for the reader's rights: only the newest one counts. */
  private rightsRequests = 0;
  /** The id of the last read message whose receipt could not be sent for lack of a connection. */
  private unsentId: string | null = null;

  constructor(name: string, environment: RoomEnvironment) {
    super(name, null, environment);
    this.threads = new ThreadList(this);
    this.memberChanges = new MemberChanges(environment.clock, () => this.updateMembers());
    const shown = () => {
      const { room, timeline } = this.store.getState();
      return { room, timeline: this.live ?? timeline };
    };
    this.cache = new CachedRoom(name, environment.clock, () => environment.me(), shown);
    this.stream = new RoomStream(
      environment,
      name,
      () => this.cache.load(),
      () => environment.token(),
      {
        onLoaded: (room) => this.onLoaded(room),
        onEvent: (event) => this.handleEvent(event),
        onRefreshed: (room, since) => this.onRefreshed(room, since),
        onConnectionState: (link) => this.setConnection(link),
        onError: (error) => this.set({ error }),
        onTokenRejected: (token) => environment.onTokenRejected(token),
      },
      () => this.cache.stored(),
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
    this.memberChanges.stop();
    this.cache.stop();
    // A reader who opens a room and leaves it at once has read what was shown.
    if (this.unsentId !== null) void city.markRead(this.name, this.unsentId).catch(() => undefined);
    this.unsentId = null;
  }

  /** Call `listener` with the events of the room. Returns a function that stops it. */
  subscribe(listener: RoomListener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Connect again, as the network is back. */
  reconnect(): void {
    this.stream.reopen();
  }

  /** Connect again, as somebody signed in or out. */
  changeReader(): void {
    this.stream.reopen();
    const { room } = this.store.getState();
    if (room) startThreadMarks(this.environment.me(), room.id, room.last_seq);
    this.set({ unread: this.unreadRange() });
  }

  /** Called when the page was hidden or is visible again: messages that arrived meanwhile are unread. */
  onVisibilityChange(): void {
    const { room, unread, mayRead } = this.store.getState();
    if (!mayRead) this.stream.reopen();
    if (!this.environment.isShown()) this.set({ unread: this.unreadRange() });
    else if (room && unread) this.set({ unread: { ...unread, upTo: Math.min(unread.upTo, room.last_seq) } });
  }

  override send(...words: Parameters<Conversation["send"]>): boolean {
    this.typingSentAt = -Infinity;
    return super.send(...words);
  }

  async join(): Promise<void> {
    await this.attempt(city.join(this.name));
    this.reopenAsMember();
  }

  async leave(): Promise<void> {
    await this.attempt(city.leave(this.name));
  }

  /** Send that the reader is typing, or has stopped; it may be called on every key stroke. */
  override setTyping(isTyping: boolean): void {
    const now = this.environment.clock.now();
    const isSaid = now - this.typingSentAt < TYPING_INTERVAL_MS;
    if (isTyping === isSaid || (!isTyping && this.typingSentAt === -Infinity)) return;
    this.typingSentAt = isTyping ? now : -Infinity;
    if (this.environment.me()) this.stream.send({ event: "city.room.typing", typing: isTyping });
  }

  /** Store that the room was read, and send a read receipt for the last message of the main timeline. */
  override readToEnd(): void {
    const { room, timeline } = this.store.getState();
    if (!room || this.live) return;
    markRead(this.environment.me(), room.id, room.last_seq);
    const last = timeline.messages.findLast((message) => this.shows(message));
    if (!last || last.id === this.readId) return;
    const isSent = this.sendReceipt(last.id);
    if (isSent) this.readId = last.id;
    this.unsentId = isSent || this.environment.me() === null ? null : last.id;
  }

  /** Send a read receipt; false when there is no connection or nobody is signed in. */
  sendReceipt(messageId: string): boolean {
    return this.environment.me() !== null && this.stream.send({ event: "city.room.read", message_id: messageId });
  }

  protected override room(): Room | null {
    return this.store.getState().room;
  }

  protected override fetchPage(position: PagePosition, limit: number): Promise<Message[]> {
    if ("around" in position) return city.messagesAround(this.name, position.around, limit);
    if ("after" in position) return city.messagesAfter(this.name, position.after, limit);
    return city.messages(this.name, position.before, limit, undefined);
  }

  private onLoaded(room: RoomDetails): void {
    this.live = null;
    const isFirst = this.store.getState().room === null;
    this.storeAuthors(room.messages);
    this.setMembers(room.online_members);
    this.memberChanges.online = room.members_online;
    const { rights, removal, may_read: mayRead } = room;
    this.set({ room, mayRead, removal, rights, timeline: newestTimeline(room), error: null });
    this.cache.onLoaded(room);
    if (isFirst) this.set({ unread: this.unreadRange() });
    startThreadMarks(this.environment.me(), room.id, room.last_seq);
    for (const listener of this.listeners) listener.onLoaded();
  }

  private onRefreshed(room: RoomDetails, since: readonly RoomEvent[]): void {
    this.setMembers(room.online_members);
    this.set({ rights: room.rights });
    this.updateRoom(room);
    for (const listener of this.listeners) listener.onEvent?.({ event: "city.room.updated", room });
    for (const event of since) {
      if (!("seq" in event)) this.handleEvent(event);
      else if (isMembership(event)) this.handleMembership(event);
    }
  }

  /** Show the room's new name and state. Its `last_seq` remains that of the newest event that the page has received. */
  private updateRoom(room: Room): void {
    const { last_seq: lastSeq } = this.store.getState().room ?? room;
    this.memberChanges.online = room.members_online;
    this.set({ room: { ...room, last_seq: lastSeq } });
  }

  /** The range of messages after the last read one: up to the newest message, without an end while the page is hidden. */
  private unreadRange(): SeqRange | null {
    const { room } = this.store.getState();
    const after = room && readUpTo(this.environment.me(), room.id);
    return after === null ? null : { after, upTo: this.environment.isShown() ? (room?.last_seq ?? after) : Infinity };
  }

  /** Open the stream again after the reader has joined the room or written in it: a member may read more. */
  private reopenAsMember(): void {
    if (!this.store.getState().mayRead) this.stream.reopen();
  }

  private handleEvent(event: RoomEvent): void {
    for (const listener of this.listeners) listener.onEvent?.(event);
    switch (event.event) {
      case "city.room.read": {
        this.environment.addAuthors([event.reader]);
        return;
      }
      case "city.room.typing": {
        this.set({ typing: event.typing.filter((subject) => subject !== this.environment.subject()) });
        return;
      }
      case "city.room.updated": {
        this.updateRoom(event.room);
        void this.loadRights();
        return;
      }
      case "city.room.member": {
        this.environment.addAuthors([event.member], true);
        return;
      }
      case "city.room.presence":
      case "city.room.presences": {
        const updates = event.event === "city.room.presence" ? [event] : event.updates;
        for (const { user_id: member, status } of updates) {
          this.memberChanges.add(member, status !== "offline", event.members_online);
        }
        this.memberChanges.updateSoon();
        return;
      }
      case "city.room.join":
      case "city.room.leave":
        this.handleMembership(event);
        break;
      default:
        if (event.message) this.handleMessage(event.message);
        if (event.message?.client_id) this.environment.outbox.confirm(event.message.client_id);
    }
    this.advanceSeq(event.seq);
    this.updateTimeline((timeline) => withEvent(timeline, event));
    this.cache.onChanged();
  }

  private handleMembership(event: MembershipChange): void {
    this.environment.addAuthors([event.member]);
    this.memberChanges.add(subjectOf(event.member), event.event === "city.room.join", event.members_online);
    this.updateMembers();
    if (subjectOf(event.member) !== this.environment.subject()) return;
    this.set({ removal: removalOf(event) });
    // Only members have the rights of their power level.
    void this.loadRights();
  }

  /** Load the reader's rights, as power levels may have changed: the event is the same for all readers and contains no rights. */
  private async loadRights(): Promise<void> {
    const me = this.environment.me();
    if (me === null) return;
    const request = (this.rightsRequests += 1);
    const loaded = await city.room(this.name, undefined).catch(() => null);
    const isCurrent = request === this.rightsRequests && me === this.environment.me();
    if (loaded && isCurrent) this.set({ rights: loaded.rights });
  }

  private handleMessage(message: Message): void {
    this.storeAuthors([message]);
    for (const listener of this.listeners) listener.onMessage(message);
  }

  private setConnection(link: ConnectionState): void {
    this.set(link === "live" ? { connection: link } : { connection: link, typing: [] });
    if (link === "live") this.environment.outbox.wake();
  }

  /** Raise the room's `last_seq`, up to which the room is marked as read. */
  private advanceSeq(seq: number): void {
    const { room } = this.store.getState();
    if (room && seq > room.last_seq) this.set({ room: { ...room, last_seq: seq } });
  }

  private updateMembers(): void {
    const { members, room } = this.store.getState();
    const { online } = this.memberChanges;
    const changed = this.memberChanges.appliedTo(members);
    if (changed !== members) this.set({ members: changed });
    if (room && room.members_online !== online) this.set({ room: { ...room, members_online: online } });
  }

  private setMembers(members: readonly OnlineMember[]): void {
    this.memberChanges.clear();
    this.environment.addAuthors(members);
    this.set({ members: new Set(members.map(subjectOf)) });
  }

  protected override onSent(entry: Entry, message: Message): void {
    if (entry.room.id === this.room()?.id) this.reopenAsMember();
    super.onSent(entry, message);
  }

  private set(changes: Partial<RoomState>): void {
    this.store.setState(changes);
  }
}

function isMembership(event: RoomEvent): event is MembershipChange {
  return event.event === "city.room.join" || event.event === "city.room.leave";
}

function removalOf(event: MembershipChange): RoomRemoval | null {
  const cause = event.event === "city.room.leave" ? event.cause : undefined;
  if (event.event !== "city.room.leave" || cause === undefined || cause === "left") return null;
  return { kind: cause, reason: event.reason ?? null };
}

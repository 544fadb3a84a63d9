import { createStore, type StoreApi } from "zustand";
import { city } from "../../../api/city";
import type { Author, Media, Member, Message, Room, RoomDetails, SubjectId } from "../../../api/types";
import { newId } from "../../../lib/ids";
import { readUpTo } from "../../../lib/readMarks";
import type { LinkState, SocketWorld } from "../../../lib/reconnectingSocket";
import { RoomStream, type RoomEvent } from "../../../lib/roomSocket";
import { subjectOf } from "../../../lib/subjects";
import { Outbox } from "./outbox";
import { begin, EMPTY, PAGE, withEvent, withMessage, withOlder, type Outgoing, type Timeline } from "./timeline";

export interface RoomState {
  room: Room | null;
  timeline: Timeline;
  outbox: readonly Outgoing[];
  /** Members who are not offline. */
  members: ReadonlySet<SubjectId>;
  typing: readonly SubjectId[];
  link: LinkState;
  /** The `seq` up to which the reader had read when they came. */
  readUpTo: number | null;
  isLoadingOlder: boolean;
  /** Why the room cannot be shown. */
  error: unknown;
  /** What went wrong with what was done last. */
  problem: unknown;
}

const NOTHING: RoomState = {
  room: null,
  timeline: EMPTY,
  outbox: [],
  members: new Set(),
  typing: [],
  link: "connecting",
  readUpTo: null,
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
  meet: (authors: readonly Author[]) => void;
}

/** A room that somebody looks at: what is shown of it, and what they do there. */
export class RoomModel {
  readonly store: StoreApi<RoomState> = createStore(() => NOTHING);
  private readonly stream: RoomStream;
  private readonly outbox: Outbox;
  private typingSaidAt = -Infinity;
  private readId: string | null = null;

  constructor(
    private readonly name: string,
    private readonly world: RoomWorld,
  ) {
    this.stream = new RoomStream(world, name, () => city.room(name, undefined), () => world.token(), {
      loaded: (room) => this.loaded(room),
      heard: (event) => this.heard(event),
      membersAgain: (members) => this.setMembers(members),
      link: (link) => this.linked(link),
      failed: (error) => this.set({ error }),
      refused: (token) => world.refused(token),
    });
    this.outbox = new Outbox(
      { say: (said) => city.say(name, said), clock: world.clock, random: world.random, newId },
      { changed: (outbox) => this.set({ outbox }), delivered: (message) => this.show(message) },
    );
  }

  start(): void {
    this.stream.start();
  }

  stop(): void {
    this.stream.stop();
    this.outbox.stop();
  }

  speakAnew(): void {
    this.stream.speakAnew();
    this.outbox.deliverNow();
  }

  reconnect(): void {
    this.stream.reconnect();
  }

  say(body: string, replyTo: string | null, media: Media | null = null): void {
    this.typingSaidAt = -Infinity;
    this.outbox.add(body, replyTo, media);
  }

  retry(outgoing: Outgoing): void {
    this.outbox.retry(outgoing.clientId);
  }

  discard(outgoing: Outgoing): void {
    this.outbox.discard(outgoing.clientId);
  }

  edit(message: Message, body: string): Promise<boolean> {
    return this.attempt(city.edit(this.name, message.id, body));
  }

  remove(message: Message): Promise<boolean> {
    return this.attempt(city.remove(this.name, message.id));
  }

  retryDelivery(message: Message): Promise<boolean> {
    return this.attempt(city.retry(this.name, message.id));
  }

  react(message: Message, emoji: string): Promise<boolean> {
    const me = this.world.me();
    const isGiven = me !== null && message.reactions.some((tally) => tally.emoji === emoji && tally.by.includes(me));
    return this.attempt(city.react(this.name, message.id, emoji, !isGiven));
  }

  async join(): Promise<void> {
    await this.attempt(city.join(this.name).then(() => null));
  }

  async leave(): Promise<void> {
    await this.attempt(city.leave(this.name).then(() => null));
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
    if (!last || last.id === this.readId || !this.world.me()) return;
    if (this.stream.send({ event: "city.room.read", message_id: last.id })) this.readId = last.id;
  }

  async loadOlder(): Promise<void> {
    const { timeline, isLoadingOlder } = this.store.getState();
    const first = timeline.messages[0];
    if (isLoadingOlder || !timeline.hasOlder || !first) return;
    this.set({ isLoadingOlder: true });
    try {
      const older = await city.messages(this.name, first.seq, PAGE, undefined);
      this.change((now) => withOlder(now, older));
    } catch (problem) {
      this.set({ problem });
    } finally {
      this.set({ isLoadingOlder: false });
    }
  }

  /** Load back until a message is there. False when it is not in the room's history. */
  async find(messageId: string): Promise<boolean> {
    for (;;) {
      const { timeline } = this.store.getState();
      if (timeline.messages.some(({ id }) => id === messageId)) return true;
      if (!timeline.hasOlder) return false;
      await this.loadOlder();
      if (this.store.getState().timeline === timeline) return false;
    }
  }

  /** Show what went wrong with something that was done here. */
  report(problem: unknown): void {
    this.set({ problem });
  }

  clearProblem(): void {
    this.report(null);
  }

  private loaded(room: RoomDetails): void {
    const { room: before, readUpTo: wasRead } = this.store.getState();
    this.meetAuthors(room.messages);
    this.setMembers(room.online_members);
    this.set({ room, timeline: begin(room), readUpTo: before ? wasRead : readUpTo(room.id), error: null });
  }

  private heard(event: RoomEvent): void {
    switch (event.event) {
      case "city.room.typing":
        { this.set({ typing: event.typing.filter((subject) => subject !== this.world.me()) }); return; }
      case "city.room.updated":
        { this.set({ room: event.room }); return; }
      case "city.room.member":
        { this.world.meet([event.member]); return; }
      case "city.room.presence":
        { this.memberIs(event.user_id, event.status !== "offline", event.members_online); return; }
      case "city.room.join":
      case "city.room.leave":
        this.world.meet([event.member]);
        this.memberIs(subjectOf(event.member), event.event === "city.room.join", event.members_online);
        break;
      default:
        if (event.message) this.meetAuthors([event.message]);
        if (event.message?.client_id) this.outbox.heard(event.message.client_id);
    }
    this.noteSeq(event.seq);
    this.change((timeline) => withEvent(timeline, event));
  }

  private linked(link: LinkState): void {
    this.set(link === "live" ? { link } : { link, typing: [] });
    if (link === "live") this.outbox.deliverNow();
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

  private setMembers(members: readonly Member[]): void {
    this.world.meet(members);
    this.set({ members: new Set(members.map(subjectOf)) });
  }

  private meetAuthors(messages: readonly Message[]): void {
    this.world.meet(messages.map(({ author }) => author));
  }

  /** What the city answers is shown at once; the socket tells the same a little later. */
  private async attempt(answer: Promise<Message | null>): Promise<boolean> {
    try {
      const message = await answer;
      if (message) this.show(message);
      this.set({ problem: null });
      return true;
    } catch (problem) {
      this.set({ problem });
      return false;
    }
  }

  private show(message: Message): void {
    this.meetAuthors([message]);
    this.change((timeline) => withMessage(timeline, message));
  }

  private change(grow: (timeline: Timeline) => Timeline): void {
    this.set({ timeline: grow(this.store.getState().timeline) });
  }

  private set(changes: Partial<RoomState>): void {
    this.store.setState(changes);
  }
}

import type { Author, Member, Message, Room, RoomDetails, Status, SubjectId } from "../api/types";
import { Problem } from "../api/problem";
import { waitMs } from "./backoff";
import type { Cancel } from "./clock";
import { ReconnectingSocket, type LinkState, type SocketEvent, type SocketWorld } from "./reconnectingSocket";

/** What a room's WebSocket says (docs/api.md). Those with `seq` are part of the room's history. */
export type RoomEvent =
  | { event: "city.room.message" | "city.room.message.updated" | "city.room.message.deleted" | "city.room.reaction"; seq: number; message: Message | null }
  | { event: "city.room.join" | "city.room.leave"; seq: number; member: Author; created_at: string; members_online: number }
  | { event: "city.room.member"; member: Author }
  | { event: "city.room.updated"; room: Room }
  | { event: "city.room.presence"; user_id: SubjectId; status: Status; members_online: number }
  | { event: "city.room.typing"; typing: SubjectId[] };

export interface RoomSink {
  /** Begin anew from here: what was shown before may have holes. */
  loaded: (room: RoomDetails) => void;
  /** In order, each durable one once. */
  heard: (event: RoomEvent) => void;
  /** Who is here, after events about that may have been missed. */
  membersAgain: (members: Member[]) => void;
  link: (state: LinkState) => void;
  /** The room cannot be had, and trying again does not help. */
  failed: (error: unknown) => void;
  refused: (token: string) => void;
}

const REFUSALS = new Set(["token_expired", "token_invalid"]);

/**
 * A room, from its last messages on, without holes and without doubles.
 *
 * It is loaded first; the socket then goes on from its `last_seq`. A number that is missing means that something was lost: the
 * socket is opened anew and says `since`. If that does not bring it, or the city says `resync`, the room is loaded again.
 */
export class RoomStream {
  private readonly socket: ReconnectingSocket;
  private lastSeq = 0;
  private gapAfter: number | null = null;
  private isLoading = false;
  private isStopped = false;
  private wasLive = false;
  private failures = 0;
  private waiting: RoomEvent[] = [];
  private cancelWait: Cancel = () => undefined;

  constructor(
    private readonly world: SocketWorld,
    name: string,
    private readonly load: () => Promise<RoomDetails>,
    private readonly token: () => string | null,
    private readonly sink: RoomSink,
  ) {
    this.socket = new ReconnectingSocket(world, {
      address: () => `/ws/city/rooms/${encodeURIComponent(name)}?since=${this.lastSeq}`,
      opened: () => this.opened(),
      heard: (event) => this.hear(event),
      changed: (state) => this.sink.link(state),
    });
  }

  start(): void {
    this.isStopped = false;
    void this.loadAnew();
  }

  stop(): void {
    this.isStopped = true;
    this.cancelWait();
    this.socket.stop();
  }

  /** Somebody signed in or out: a connection cannot forget who spoke on it. */
  speakAnew(): void {
    this.socket.reopen();
  }

  reconnect(): void {
    this.socket.reopen();
  }

  send(event: SocketEvent): boolean {
    return this.socket.send(event);
  }

  private opened(): void {
    const token = this.token();
    if (token) this.socket.send({ event: "auth", token });
    if (this.wasLive) void this.askMembers();
    this.wasLive = true;
  }

  /** Presence has no numbers, so nothing tells what was missed of it. */
  private async askMembers(): Promise<void> {
    const room = await this.load().catch(() => null);
    if (room && !this.isStopped) this.sink.membersAgain(room.online_members);
  }

  private async loadAnew(): Promise<void> {
    if (this.isLoading) return;
    this.isLoading = true;
    try {
      const room = await this.load();
      if (!this.isStopped) this.begin(room);
    } catch (error) {
      if (!this.isStopped) this.loadFailed(error);
    } finally {
      this.isLoading = false;
    }
    this.takeWaiting();
  }

  private begin(room: RoomDetails): void {
    this.failures = 0;
    this.lastSeq = room.last_seq;
    this.gapAfter = null;
    this.sink.loaded(room);
    this.socket.start();
  }

  private loadFailed(error: unknown): void {
    if (!(error instanceof Problem && error.isPassing)) {
      this.sink.failed(error);
      return;
    }
    this.failures += 1;
    this.sink.link("waiting");
    this.cancelWait = this.world.clock.after(waitMs(this.failures, this.world.random), () => void this.loadAnew());
  }

  private hear(event: SocketEvent): void {
    if (event.event === "error") { this.hearError(event); return; }
    if (event.event === "city.room.resync") return void this.loadAnew();
    this.take(event as unknown as RoomEvent);
  }

  private hearError(event: SocketEvent): void {
    const token = this.token();
    if (token && REFUSALS.has(String(event.code))) this.sink.refused(token);
  }

  private take(event: RoomEvent): void {
    if (this.isLoading) this.waiting.push(event);
    else if (!("seq" in event)) this.sink.heard(event);
    else if (event.seq === this.lastSeq + 1) this.advance(event);
    else if (event.seq > this.lastSeq) this.mend();
  }

  private advance(event: RoomEvent & { seq: number }): void {
    this.lastSeq = event.seq;
    this.sink.heard(event);
  }

  /** Something between is missing. */
  private mend(): void {
    const isStillMissing = this.gapAfter === this.lastSeq;
    this.gapAfter = this.lastSeq;
    if (isStillMissing) void this.loadAnew();
    else this.socket.reopen();
  }

  private takeWaiting(): void {
    const waiting = this.waiting;
    this.waiting = [];
    for (const event of waiting) this.take(event);
  }
}

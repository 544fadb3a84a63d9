import type { Author, OnlineMember, Message, Room, RoomDetails, Status, SubjectId } from "../api/types";
import { Problem } from "../api/problem";
import { waitMs } from "./backoff";
import type { Cancel } from "./clock";
import { ReconnectingSocket, type LinkState, type SocketEvent, type SocketWorld } from "./reconnectingSocket";

/** What a room's WebSocket says (docs/reference/api.md). Those with `seq` are part of the room's history. */
export type RoomEvent =
  | {
      event: "city.room.message" | "city.room.message.updated" | "city.room.message.deleted" | "city.room.reaction";
      seq: number;
      message: Message | null;
    }
  | { event: "city.room.join"; seq: number; member: Author; created_at: string; members_online: number }
  | {
      event: "city.room.leave";
      seq: number;
      member: Author;
      created_at: string;
      members_online: number;
      cause?: "left" | "kicked" | "banned";
      by?: Author | null;
      reason?: string | null;
    }
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
  membersAgain: (members: OnlineMember[]) => void;
  link: (state: LinkState) => void;
  /** The room cannot be had, and trying again does not help. */
  failed: (error: unknown) => void;
  refused: (token: string) => void;
}

const REFUSALS = new Set(["token_expired", "token_invalid"]);
const MEMBERS_ONLY = "members_only";

/**
 * A room, from its last messages on, without holes and without doubles.
 *
 * It is loaded first; the socket then goes on from its `last_seq`. A number that is missing means that something was lost: the
 * socket is opened anew and says `since`. If that does not bring it, or the city says `resync`, the room is loaded again.
 *
 * A room that is not, or no longer, for this reader (`may_read`) has no socket: it is loaded once more, shown as far as it may be
 * read, and asked for again when something changed (`reopen`).
 */
export class RoomStream {
  private readonly socket: ReconnectingSocket;
  private lastSeq = 0;
  private gapAfter: number | null = null;
  private link: LinkState = "closed";
  private isLoading = false;
  private isStopped = false;
  private isReadable = true;
  private wasLive = false;
  private failures = 0;
  /** How often the socket was refused since it last told something. */
  private refusals = 0;
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
      changed: (state) => this.linked(state),
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

  /** The network is back, or the reader is another one or may read more: a connection cannot forget who spoke on it. */
  reopen(): void {
    if (this.isReadable && this.socket.state !== "closed") this.socket.reopen();
    else if (!this.isStopped) void this.loadAnew();
  }

  send(event: SocketEvent): boolean {
    return this.socket.send(event);
  }

  private opened(): void {
    const token = this.token();
    if (token) this.socket.send({ event: "auth", token });
    if (this.wasLive) void this.lookAgain();
    this.wasLive = true;
  }

  private linked(state: LinkState): void {
    const wasRefused = state === "waiting" && this.link === "connecting";
    this.link = state;
    this.sink.link(state);
    // To a page, a handshake that is answered with 403 or 404 looks like a network that is away.
    if (wasRefused) void this.lookAgain();
  }

  /**
   * Ask for what no socket tells: whether the room may still be read, and who is here, as presence has no numbers by which one
   * could see that some was missed. A socket without a token stays open, and silent, on a room for members.
   */
  private async lookAgain(): Promise<void> {
    try {
      const room = await this.load();
      if (this.isStopped || this.isLoading) return;
      if (!room.may_read) this.begin(room);
      else if (this.link === "live") this.sink.membersAgain(room.online_members);
    } catch (error) {
      if (!this.isStopped && error instanceof Problem && !error.isPassing) this.fail(error);
    }
  }

  private async loadAnew(): Promise<void> {
    if (this.isLoading) return;
    this.isLoading = true;
    this.cancelWait();
    const token = this.token();
    try {
      const room = await this.load();
      if (!this.isStopped) this.begin(room);
    } catch (error) {
      if (!this.isStopped) this.loadFailed(error);
    } finally {
      this.isLoading = false;
    }
    // Somebody signed in meanwhile.
    if (!this.isReadable && !this.isStopped && token !== this.token()) return this.loadAnew();
    this.takeWaiting();
  }

  private begin(room: RoomDetails): void {
    this.failures = 0;
    this.lastSeq = room.last_seq;
    this.gapAfter = null;
    this.isReadable = room.may_read;
    this.sink.loaded(room);
    if (!room.may_read) {
      this.refusals = 0;
      this.socket.stop();
    } else if (this.refusals === 0) this.socket.start();
    else this.startLater();
  }

  /** The room says that it may be read, and its socket said otherwise: one of the two is late. */
  private startLater(): void {
    this.sink.link("waiting");
    this.cancelWait = this.world.clock.after(waitMs(this.refusals, this.world.random), () => this.socket.start());
  }

  private fail(error: unknown): void {
    this.isReadable = false;
    this.socket.stop();
    this.sink.failed(error);
  }

  private loadFailed(error: unknown): void {
    if (!(error instanceof Problem && error.isPassing)) {
      this.fail(error);
      return;
    }
    this.failures += 1;
    this.sink.link("waiting");
    this.cancelWait = this.world.clock.after(waitMs(this.failures, this.world.random), () => void this.loadAnew());
  }

  private hear(event: SocketEvent): void {
    if (event.event === "error") {
      this.hearError(event);
      return;
    }
    this.refusals = 0;
    if (event.event === "city.room.resync") return void this.loadAnew();
    this.take(event as unknown as RoomEvent);
  }

  private hearError(event: SocketEvent): void {
    if (event.code === MEMBERS_ONLY) {
      this.refused();
      return;
    }
    const token = this.token();
    if (token && REFUSALS.has(String(event.code))) this.sink.refused(token);
  }

  /** The room was made private, or the reader is no longer a member. */
  private refused(): void {
    this.refusals += 1;
    this.socket.stop();
    void this.loadAnew();
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

import type { Author, Message, Receipt, Room, RoomDetails, Status, SubjectId } from "../api/types";
import { Problem } from "../api/problem";
import { waitMs } from "./backoff";
import type { Cancel } from "./clock";
import { ReconnectingSocket, type ConnectionState, type SocketEvent, type SocketEnvironment } from "./reconnectingSocket";

interface MemberPresence {
  user_id: SubjectId;
  status: Status;
}

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
  | ({ event: "city.room.presence"; members_online: number } & MemberPresence)
  | { event: "city.room.presences"; updates: MemberPresence[]; members_online: number }
  | { event: "city.room.typing"; typing: SubjectId[] }
  | ({ event: "city.room.read" } & Receipt);

export interface RoomStreamHandlers {
  /** Begin anew from here: what was shown before may have holes. */
  onLoaded: (room: RoomDetails) => void;
  /** In order, each durable one once. */
  onEvent: (event: RoomEvent) => void;
  /** The room with its name, picture, pins and members as of now, after events without a number may have been missed. */
  onRefreshed: (room: RoomDetails) => void;
  onConnectionState: (state: ConnectionState) => void;
  /** The room cannot be had, and trying again does not help. */
  onError: (error: unknown) => void;
  onTokenRejected: (token: string) => void;
}

const TOKEN_ERRORS = new Set(["token_expired", "token_invalid"]);
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
  private connection: ConnectionState = "closed";
  private isLoading = false;
  private isStopped = false;
  private isReadable = true;
  private isPublic = true;
  private failures = 0;
  /** How often the socket was refused since it last told something. */
  private rejections = 0;
  /** What is shown was stored in the browser, and is loaded anew with the first connection. */
  private isSeen = false;
  private buffered: RoomEvent[] = [];
  /** Unnumbered events that came while the room was asked for again: they may be newer than the answer. */
  private duringRefresh: RoomEvent[] | null = null;
  private cancelWait: Cancel = () => undefined;

  constructor(
    private readonly environment: SocketEnvironment,
    name: string,
    private readonly load: () => Promise<RoomDetails>,
    private readonly token: () => string | null,
    private readonly handlers: RoomStreamHandlers,
    /** The room as the reader has seen it last, for a page without a connection. */
    private readonly loadSeen: () => Promise<RoomDetails | undefined> = () => Promise.resolve(undefined),
  ) {
    this.socket = new ReconnectingSocket(environment, {
      path: () => `/ws/city/rooms/${encodeURIComponent(name)}?batch=1&since=${this.lastSeq}${this.tokenInPath()}`,
      onOpen: () => this.authenticate(),
      onEvent: (event) => this.handleFrame(event),
      onStateChange: (state) => this.setConnection(state),
    });
  }

  start(): void {
    this.isStopped = false;
    void this.reload();
  }

  stop(): void {
    this.isStopped = true;
    this.cancelWait();
    this.socket.stop();
  }

  /** The network is back, or the reader is another one or may read more: a connection cannot forget who spoke on it. */
  reopen(): void {
    if (this.isReadable && this.socket.state !== "closed") this.socket.reopen();
    else if (!this.isStopped) void this.reload();
  }

  send(event: SocketEvent): boolean {
    return this.socket.send(event);
  }

  /** A private room answers the handshake of somebody unknown with 404, so that the token cannot wait for the first frame. */
  private tokenInPath(): string {
    const token = this.isPublic ? null : this.token();
    return token === null ? "" : `&token=${encodeURIComponent(token)}`;
  }

  private authenticate(): void {
    const token = this.token();
    if (token) this.socket.send({ event: "auth", token });
    if (this.isSeen) void this.reload();
    else void this.refresh();
  }

  private setConnection(state: ConnectionState): void {
    const wasRefused = state === "waiting" && this.connection === "connecting";
    this.connection = state;
    this.handlers.onConnectionState(state);
    // To a page, a handshake that is answered with 403 or 404 looks like a network that is away.
    if (wasRefused) void this.refresh();
  }

  /**
   * Ask, after each connection, for what no socket tells: whether the room may still be read, who is here, and what the room is
   * called. Events of presence and changes of the room itself have no numbers by which one could see that some was missed before the
   * connection. A socket without a token stays open, and silent, on a room for members.
   */
  private async refresh(): Promise<void> {
    const events: RoomEvent[] = (this.duringRefresh = []);
    try {
      const room = await this.load();
      if (this.isStopped || this.isLoading) return;
      if (!room.may_read) this.startFrom(room);
      else if (this.connection === "live") {
        this.handlers.onRefreshed(room);
        for (const event of events) this.handlers.onEvent(event);
      }
    } catch (error) {
      if (!this.isStopped && error instanceof Problem && !error.isTemporary) this.fail(error);
    } finally {
      if (this.duringRefresh === events) this.duringRefresh = null;
    }
  }

  private async reload(): Promise<void> {
    if (this.isLoading) return;
    this.isLoading = true;
    this.cancelWait();
    const token = this.token();
    try {
      const room = await this.load();
      if (!this.isStopped) this.startFrom(room);
    } catch (error) {
      if (!this.isStopped && !(await this.showSeen(error))) this.loadFailed(error);
    } finally {
      this.isLoading = false;
    }
    // Somebody signed in meanwhile.
    if (!this.isReadable && !this.isStopped && token !== this.token()) return this.reload();
    this.handleBuffered();
  }

  /** Show the stored room while the city cannot be reached; false where the load must be tried again. */
  private async showSeen(error: unknown): Promise<boolean> {
    if (this.lastSeq > 0 || !(error instanceof Problem && error.isTemporary)) return false;
    const token = this.token();
    const room = await this.loadSeen();
    if (this.isStopped) return true;
    if (!room || token !== this.token()) return false;
    this.startFrom(room);
    this.isSeen = true;
    return true;
  }

  private startFrom(room: RoomDetails): void {
    this.isSeen = false;
    this.failures = 0;
    this.lastSeq = room.last_seq;
    this.gapAfter = null;
    this.isReadable = room.may_read;
    this.isPublic = room.is_public;
    this.handlers.onLoaded(room);
    if (!room.may_read) {
      this.rejections = 0;
      this.socket.stop();
    } else if (this.rejections === 0) this.socket.start();
    else this.startLater();
  }

  /** The room says that it may be read, and its socket said otherwise: one of the two is late. */
  private startLater(): void {
    this.handlers.onConnectionState("waiting");
    this.cancelWait = this.environment.clock.after(waitMs(this.rejections, this.environment.random), () => this.socket.start());
  }

  private fail(error: unknown): void {
    this.isReadable = false;
    this.socket.stop();
    this.handlers.onError(error);
  }

  private loadFailed(error: unknown): void {
    if (!(error instanceof Problem && error.isTemporary)) {
      this.fail(error);
      return;
    }
    this.failures += 1;
    this.handlers.onConnectionState("waiting");
    this.cancelWait = this.environment.clock.after(waitMs(this.failures, this.environment.random), () => void this.reload());
  }

  private handleFrame(event: SocketEvent): void {
    if (event.event === "error") {
      this.handleErrorFrame(event);
      return;
    }
    this.rejections = 0;
    if (event.event === "city.room.resync") return void this.reload();
    this.handleEvent(event as unknown as RoomEvent);
  }

  private handleErrorFrame(event: SocketEvent): void {
    if (event.code === MEMBERS_ONLY) {
      this.handleMembersOnly();
      return;
    }
    const token = this.token();
    if (token && TOKEN_ERRORS.has(String(event.code))) this.handlers.onTokenRejected(token);
  }

  /** The room was made private, or the reader is no longer a member. */
  private handleMembersOnly(): void {
    this.rejections += 1;
    this.socket.stop();
    void this.reload();
  }

  private handleEvent(event: RoomEvent): void {
    if (this.isLoading) this.buffered.push(event);
    else if (!("seq" in event)) this.handleUnnumbered(event);
    else if (event.seq === this.lastSeq + 1) this.advance(event);
    else if (event.seq > this.lastSeq) this.handleGap();
  }

  private handleUnnumbered(event: RoomEvent): void {
    this.duringRefresh?.push(event);
    this.handlers.onEvent(event);
  }

  private advance(event: RoomEvent & { seq: number }): void {
    this.lastSeq = event.seq;
    this.handlers.onEvent(event);
  }

  /** Something between is missing. */
  private handleGap(): void {
    const isStillMissing = this.gapAfter === this.lastSeq;
    this.gapAfter = this.lastSeq;
    if (isStillMissing) void this.reload();
    else this.socket.reopen();
  }

  private handleBuffered(): void {
    const waiting = this.buffered;
    this.buffered = [];
    for (const event of waiting) this.handleEvent(event);
  }
}

import type { Author, Message, Receipt, Room, RoomDetails, Status, SubjectId } from "../api/types";
import { Problem } from "../api/problem";
import { waitMs } from "./backoff";
import type { Cancel } from "./clock";
import { ReconnectingSocket, type ConnectionState, type SocketEvent, type SocketEnvironment } from "./reconnectingSocket";

interface MemberPresence {
  user_id: SubjectId;
  status: Status;
}

/** The events of a room's WebSocket (docs/reference/api.md). Those with `seq` are part of the room's history. */
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
  /** Called after a load: start again from this room, as events before it may be missing. */
  onLoaded: (room: RoomDetails) => void;
  /** Called in order, once for each event with a `seq`. */
  onEvent: (event: RoomEvent) => void;
  /**
   * Called with the room's current name, picture, pins and members, as events without a `seq` may have been missed.
   *
   * `since` are the events that arrived during the request, in order: the response may be older than they are. `onEvent` was called
   * for each of them.
   */
  onRefreshed: (room: RoomDetails, since: readonly RoomEvent[]) => void;
  onConnectionState: (state: ConnectionState) => void;
  /** Called if the room cannot be loaded, and a retry would not help. */
  onError: (error: unknown) => void;
  onTokenRejected: (token: string) => void;
}

const TOKEN_ERRORS = new Set(["token_expired", "token_invalid"]);
const MEMBERS_ONLY = "members_only";

/**
 * A room and its events from the last messages on, without gaps and without duplicates.
 *
 * The room is loaded first; the WebSocket then continues from its `last_seq`. A missing `seq` means that an event was lost: the
 * socket is opened again with `since`. If the gap remains, or the city sends `resync`, the room is loaded again.
 *
 * A room that the reader may not, or no longer, read (`may_read`) has no socket: it is loaded once more, shown as far as it may
 * be read, and loaded again when something changed (`reopen`).
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
  /** The number of refused handshakes since the last event. */
  private rejections = 0;
  /** Whether the shown room comes from the browser's storage: then it is loaded with the first connection. */
  private isSeen = false;
  private buffered: RoomEvent[] = [];
  /** The events that arrive during the newest refresh: they may be newer than the response. */
  private duringRefresh: RoomEvent[] | null = null;
  private cancelWait: Cancel = () => undefined;

  constructor(
    private readonly environment: SocketEnvironment,
    name: string,
    private readonly load: () => Promise<RoomDetails>,
    private readonly token: () => string | null,
    private readonly handlers: RoomStreamHandlers,
    /** Loads the room as the reader has seen it last, for a page without a connection. */
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

  /** Connect again: the network is back, or the reader has changed or may read more. A connection stays authenticated. */
  reopen(): void {
    if (this.isReadable && this.socket.state !== "closed") this.socket.reopen();
    else if (!this.isStopped) void this.reload();
  }

  send(event: SocketEvent): boolean {
    return this.socket.send(event);
  }

  /** A private room answers a handshake without a token with 404, so the token cannot wait for the first frame. */
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
    // To a page, a handshake with the status 403 or 404 looks like a network that is down.
    if (wasRefused) void this.refresh();
  }

  /**
   * Load, after each connection, what the socket does not deliver: whether the reader may still read the room, its members
   * online, and its name. Events of presence and changes of the room have no `seq` that would show that some were missed before
   * the connection. A socket without a token stays open, and silent, on a room for members.
   */
  private async refresh(): Promise<void> {
    const events: RoomEvent[] = (this.duringRefresh = []);
    try {
      const room = await this.load();
      if (!this.isCurrent(events)) return;
      if (!room.may_read) this.startFrom(room);
      else if (this.connection === "live") this.handlers.onRefreshed(room, events);
    } catch (error) {
      if (this.isCurrent(events) && error instanceof Problem && !error.isTemporary) this.fail(error);
    } finally {
      if (this.duringRefresh === events) this.duringRefresh = null;
    }
  }

  /** Whether the response of a refresh counts: a later request may have been another reader's, or overtaken it. */
  private isCurrent(refresh: RoomEvent[]): boolean {
    return !this.isStopped && !this.isLoading && this.duringRefresh === refresh;
  }

  private async reload(): Promise<void> {
    if (this.isLoading) return;
    this.isLoading = true;
    // The response of a refresh may be older than that of this request, or another reader's.
    this.duringRefresh = null;
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
    // Another reader signed in meanwhile.
    if (!this.isReadable && !this.isStopped && token !== this.token()) return this.reload();
    this.handleBuffered();
  }

  /** Show the stored room while the city is unreachable; false if the load must be retried. */
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

  /** Start the socket later: by its response the room may be read, but the socket was refused, so one of the two is late. */
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

  /** Load the room again: it was made private, or the reader is no longer a member. */
  private handleMembersOnly(): void {
    this.rejections += 1;
    this.socket.stop();
    void this.reload();
  }

  private handleEvent(event: RoomEvent): void {
    if (this.isLoading) this.buffered.push(event);
    else if (!("seq" in event)) this.deliver(event);
    else if (event.seq === this.lastSeq + 1) this.advance(event);
    else if (event.seq > this.lastSeq) this.handleGap();
  }

  private advance(event: RoomEvent & { seq: number }): void {
    this.lastSeq = event.seq;
    this.deliver(event);
  }

  private deliver(event: RoomEvent): void {
    this.duringRefresh?.push(event);
    this.handlers.onEvent(event);
  }

  /** Handle a missing `seq`: open the socket again, or load the room if the gap remains. */
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

import type { RoomUnread } from "../api/frames";
import type { Room, Status, SubjectPresence } from "../api/types";
import type { Cancel } from "./clock";
import { ReconnectingSocket, type ConnectionState, type SocketEvent, type SocketEnvironment } from "./reconnectingSocket";

/** The current state of rooms in lists; null if changes were missed, so lists must be loaded again. */
export type RoomUpdates = readonly Room[] | null;

export interface SignedInCitizen {
  userId: string;
  token: string;
}

export interface PresenceHandlers {
  onSnapshot: (users: SubjectPresence[]) => void;
  onUpdates: (users: SubjectPresence[]) => void;
  /** Called with the changed rooms, as in lists; null if changes were missed. */
  onRooms: (updates: RoomUpdates) => void;
  /** Called with all unread counts of the signed-in citizen. */
  onUnreadSnapshot: (rooms: RoomUnread[]) => void;
  /** Called with the unread counts that changed. */
  onUnread: (rooms: RoomUnread[]) => void;
  onConnectionState: (state: ConnectionState) => void;
  /** Called with a token that the city rejects. */
  onTokenRejected: (token: string) => void;
  /** Called when the page is left, to say so over HTTP, too: the WebSocket may be down, or close before it has sent the frame. */
  onPageLeft: (citizen: SignedInCitizen, sessionId: string) => void;
}

/** A machine that slept is detected by a heartbeat that is late by this factor. */
const SLEEP_FACTOR = 2.5;

const TOKEN_ERRORS = new Set(["token_expired", "token_invalid"]);

/**
 * The page's one presence connection: it receives the presence of all subjects, and sends that of the citizen.
 *
 * Each page is a session: two tabs are two sessions, and the city shows the stronger state.
 */
export class PresenceConnection {
  private readonly socket: ReconnectingSocket;
  private citizen: SignedInCitizen | null = null;
  private status: Exclude<Status, "offline"> = "online";
  private since: number | null = null;
  private cancelHeartbeats: Cancel = () => undefined;
  private lastHeartbeatAt: number;

  constructor(
    private readonly environment: SocketEnvironment,
    private readonly handlers: PresenceHandlers,
    private readonly sessionId: string,
  ) {
    this.lastHeartbeatAt = environment.clock.now();
    this.socket = new ReconnectingSocket(environment, {
      path: () => `/ws/city/presence?batch=1&rooms=1&unread=1${this.since === null ? "" : `&since=${this.since}`}`,
      onOpen: () => this.authenticate(),
      onEvent: (event) => this.handleEvent(event),
      onStateChange: (state) => handlers.onConnectionState(state),
    });
  }

  /** Connect, and send a heartbeat every `heartbeatMs`; another call changes the interval. */
  start(heartbeatMs: number): void {
    this.cancelHeartbeats();
    this.lastHeartbeatAt = this.environment.clock.now();
    this.cancelHeartbeats = this.environment.clock.every(heartbeatMs, () => this.tick(heartbeatMs));
    this.socket.start();
  }

  /** Send that the citizen is offline and close the connection, as the page is left. */
  stop(): void {
    this.cancelHeartbeats();
    this.sendOffline();
    if (this.citizen) this.handlers.onPageLeft(this.citizen, this.sessionId);
    this.socket.stop();
  }

  /** Set the citizen at the page; null for a visitor. */
  signIn(citizen: SignedInCitizen | null): void {
    const before = this.citizen;
    if (before?.userId === citizen?.userId && before?.token === citizen?.token) return;
    const isSomebodyElse = before !== null && before.userId !== citizen?.userId;
    if (isSomebodyElse) this.sendOffline();
    this.citizen = citizen;
    // A connection cannot drop its authentication, so another citizen needs another connection.
    if (isSomebodyElse) this.socket.reopen();
    else this.authenticate();
  }

  setStatus(status: Exclude<Status, "offline">): void {
    if (status === this.status) return;
    this.status = status;
    this.sendHeartbeat();
  }

  /** Connect again: the network is back, or the page is shown again after it was frozen. */
  reconnect(): void {
    this.socket.reopen();
  }

  private authenticate(): void {
    if (!this.citizen) return;
    this.socket.send({ event: "auth", token: this.citizen.token });
    this.sendHeartbeat();
  }

  private tick(heartbeatMs: number): void {
    const sinceLastMs = this.environment.clock.now() - this.lastHeartbeatAt;
    this.lastHeartbeatAt = this.environment.clock.now();
    if (sinceLastMs > heartbeatMs * SLEEP_FACTOR) this.socket.reopen();
    else this.sendHeartbeat();
  }

  private sendHeartbeat(): void {
    if (!this.citizen) return;
    this.socket.send({
      event: "presence.heartbeat",
      user_id: this.citizen.userId,
      session_id: this.sessionId,
      status: this.status,
    });
  }

  private sendOffline(): void {
    if (this.citizen) this.socket.send({ event: "presence.offline", session_id: this.sessionId });
  }

  private handleEvent(event: SocketEvent): void {
    if (typeof event.seq === "number") this.since = event.seq;
    switch (event.event) {
      case "presence.snapshot": {
        this.handlers.onSnapshot(event.users as SubjectPresence[]);
        return;
      }
      case "presence.update": {
        this.handlers.onUpdates([event as unknown as SubjectPresence]);
        return;
      }
      case "presence.updates": {
        this.handlers.onUpdates(event.updates as SubjectPresence[]);
        return;
      }
      case "city.rooms.updated": {
        this.handlers.onRooms(event.rooms as Room[]);
        return;
      }
      case "city.unread.snapshot": {
        this.handlers.onUnreadSnapshot(event.rooms as RoomUnread[]);
        return;
      }
      case "city.unread": {
        this.handlers.onUnread(event.rooms as RoomUnread[]);
        return;
      }
      case "city.rooms.resync": {
        this.handlers.onRooms(null);
        return;
      }
      case "error":
        if (this.citizen && TOKEN_ERRORS.has(String(event.code))) this.handlers.onTokenRejected(this.citizen.token);
    }
  }
}

import type { Room, Status, SubjectPresence } from "../api/types";
import type { Cancel } from "./clock";
import { ReconnectingSocket, type LinkState, type SocketEvent, type SocketWorld } from "./reconnectingSocket";

/** Rooms as lists show them now; null: changes were missed, and lists must be read again. */
export type RoomUpdates = readonly Room[] | null;

export interface Citizen {
  userId: string;
  token: string;
}

export interface PresenceSink {
  snapshot: (users: SubjectPresence[]) => void;
  updates: (users: SubjectPresence[]) => void;
  /** Rooms changed, as lists show them; null: changes were missed. */
  rooms: (updates: RoomUpdates) => void;
  link: (state: LinkState) => void;
  /** The token no longer counts. */
  refused: (token: string) => void;
  /** The page is left: say so by another way too, for the socket may be down, or close before it has said it. */
  left: (citizen: Citizen, sessionId: string) => void;
}

/** A machine that slept notices by heartbeats that are this many times too late. */
const SLEPT = 2.5;

const REFUSALS = new Set(["token_expired", "token_invalid"]);

/**
 * The page's one presence socket: who is here, and that one is here oneself.
 *
 * A session is one page: two tabs are two sessions, and the city shows the stronger state.
 */
export class CityPresence {
  private readonly socket: ReconnectingSocket;
  private citizen: Citizen | null = null;
  private status: Exclude<Status, "offline"> = "online";
  private since: number | null = null;
  private stopBeating: Cancel = () => undefined;
  private beatenAt: number;

  constructor(
    private readonly world: SocketWorld,
    private readonly sink: PresenceSink,
    private readonly sessionId: string,
  ) {
    this.beatenAt = world.clock.now();
    this.socket = new ReconnectingSocket(world, {
      address: () => `/ws/city/presence?batch=1&rooms=1${this.since === null ? "" : `&since=${this.since}`}`,
      opened: () => this.introduce(),
      heard: (event) => this.hear(event),
      changed: (state) => sink.link(state),
    });
  }

  /** Connect, and beat every `heartbeatMs`; again with another number to beat at that pace. */
  start(heartbeatMs: number): void {
    this.stopBeating();
    this.beatenAt = this.world.clock.now();
    this.stopBeating = this.world.clock.every(heartbeatMs, () => this.tick(heartbeatMs));
    this.socket.start();
  }

  /** Say goodbye and close: the page is left. */
  stop(): void {
    this.stopBeating();
    this.sayOffline();
    if (this.citizen) this.sink.left(this.citizen, this.sessionId);
    this.socket.stop();
  }

  /** Who sits here from now on; null for nobody in particular. */
  signIn(citizen: Citizen | null): void {
    const before = this.citizen;
    if (before?.userId === citizen?.userId && before?.token === citizen?.token) return;
    const isSomebodyElse = before !== null && before.userId !== citizen?.userId;
    if (isSomebodyElse) this.sayOffline();
    this.citizen = citizen;
    // A connection cannot forget who spoke on it, so the next one gets its own.
    if (isSomebodyElse) this.socket.reopen();
    else this.introduce();
  }

  setStatus(status: Exclude<Status, "offline">): void {
    if (status === this.status) return;
    this.status = status;
    this.beat();
  }

  /** The network is back, or the page is shown again after it was frozen. */
  reconnect(): void {
    this.socket.reopen();
  }

  private introduce(): void {
    if (!this.citizen) return;
    this.socket.send({ event: "auth", token: this.citizen.token });
    this.beat();
  }

  private tick(heartbeatMs: number): void {
    const sinceLastMs = this.world.clock.now() - this.beatenAt;
    this.beatenAt = this.world.clock.now();
    if (sinceLastMs > heartbeatMs * SLEPT) this.socket.reopen();
    else this.beat();
  }

  private beat(): void {
    if (!this.citizen) return;
    this.socket.send({
      event: "presence.heartbeat",
      user_id: this.citizen.userId,
      session_id: this.sessionId,
      status: this.status,
    });
  }

  private sayOffline(): void {
    if (this.citizen) this.socket.send({ event: "presence.offline", session_id: this.sessionId });
  }

  private hear(event: SocketEvent): void {
    if (typeof event.seq === "number") this.since = event.seq;
    switch (event.event) {
      case "presence.snapshot": {
        this.sink.snapshot(event.users as SubjectPresence[]);
        return;
      }
      case "presence.update": {
        this.sink.updates([event as unknown as SubjectPresence]);
        return;
      }
      case "presence.updates": {
        this.sink.updates(event.updates as SubjectPresence[]);
        return;
      }
      case "city.rooms.updated": {
        this.sink.rooms(event.rooms as Room[]);
        return;
      }
      case "city.rooms.resync": {
        this.sink.rooms(null);
        return;
      }
      case "error":
        if (this.citizen && REFUSALS.has(String(event.code))) this.sink.refused(this.citizen.token);
    }
  }
}

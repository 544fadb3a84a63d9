import { waitMs } from "./backoff";
import type { Cancel, Clock } from "./clock";

/** The part of a WebSocket that is used. */
export interface Socket {
  onopen: (() => void) | null;
  onmessage: ((message: { data: unknown }) => void) | null;
  onclose: (() => void) | null;
  send: (text: string) => void;
  close: () => void;
}

/** The environment of the connections: sockets, time and random numbers. */
export interface SocketEnvironment {
  open: (path: string) => Socket;
  clock: Clock;
  random: () => number;
}

/** `waiting`: the last try failed, and the next one is scheduled. */
export type ConnectionState = "connecting" | "live" | "waiting" | "closed";

export type SocketEvent = Record<string, unknown> & { event: string };

/** Milliseconds until a connection must be open; browsers themselves wait for minutes. */
export const OPEN_TIMEOUT_MS = 20_000;

export interface SocketHandlers {
  /** The path and query to open; called for each try, so that it can contain the current `since`. */
  path: () => string;
  onOpen: () => void;
  onEvent: (event: SocketEvent) => void;
  onStateChange: (state: ConnectionState) => void;
}

/**
 * One WebSocket at a time, which reconnects automatically.
 *
 *     closed --start--> connecting --open--> live
 *                        ^    |                |
 *                        |  close            close
 *                   wait over |                |
 *                        +-- waiting <---------+          stop: from anywhere to closed
 */
export class ReconnectingSocket {
  private socket: Socket | null = null;
  private failures = 0;
  private cancelTimer: Cancel = () => undefined;
  private current: ConnectionState = "closed";

  constructor(
    private readonly environment: SocketEnvironment,
    private readonly handlers: SocketHandlers,
  ) {}

  get state(): ConnectionState {
    return this.current;
  }

  start(): void {
    if (this.current === "closed") this.connect();
  }

  stop(): void {
    this.closeSocket();
    this.setState("closed");
  }

  /** Close the connection and connect at once: the caller knows that it is dead, or that the network is back. */
  reopen(): void {
    if (this.current === "closed") return;
    this.closeSocket();
    this.connect();
  }

  /** Send an event. False if there is no connection: nothing is queued. */
  send(event: SocketEvent): boolean {
    if (this.current !== "live" || !this.socket) return false;
    this.socket.send(JSON.stringify(event));
    return true;
  }

  private connect(): void {
    const socket = this.environment.open(this.handlers.path());
    this.socket = socket;
    this.setState("connecting");
    this.cancelTimer = this.environment.clock.after(OPEN_TIMEOUT_MS, () => this.scheduleReconnect());
    socket.onopen = () => {
      this.cancelTimer();
      this.setState("live");
      this.handlers.onOpen();
    };
    socket.onmessage = ({ data }) => this.handleMessage(data);
    socket.onclose = () => this.scheduleReconnect();
  }

  private handleMessage(text: unknown): void {
    const event = parseEvent(text);
    if (!event) return;
    // Reset here and not on opening: a server that accepts connections and drops them must not be called at once, forever.
    this.failures = 0;
    this.handlers.onEvent(event);
  }

  private scheduleReconnect(): void {
    this.closeSocket();
    this.failures += 1;
    this.setState("waiting");
    this.cancelTimer = this.environment.clock.after(waitMs(this.failures, this.environment.random), () => this.connect());
  }

  /** Remove the handlers first, so that no event of the old socket is taken for one of the next. */
  private closeSocket(): void {
    this.cancelTimer();
    const socket = this.socket;
    this.socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  private setState(state: ConnectionState): void {
    if (state === this.current) return;
    this.current = state;
    this.handlers.onStateChange(state);
  }
}

function parseEvent(text: unknown): SocketEvent | null {
  if (typeof text !== "string") return null;
  try {
    const found: unknown = JSON.parse(text);
    const isEvent = typeof found === "object" && found !== null && "event" in found && typeof found.event === "string";
    return isEvent ? (found as SocketEvent) : null;
  } catch {
    return null;
  }
}

/** A WebSocket to the city that served the page. */
export function openSocket(path: string): Socket {
  const url = new URL(path, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  return new WebSocket(url) as Socket;
}

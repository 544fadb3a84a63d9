import type { Socket, SocketEnvironment } from "../lib/reconnectingSocket";
import { FakeClock } from "./fakeClock";

export class FakeSocket implements Socket {
  onopen: (() => void) | null = null;
  onmessage: ((message: { data: unknown }) => void) | null = null;
  onclose: (() => void) | null = null;
  isClosed = false;
  readonly said: Record<string, unknown>[] = [];

  constructor(readonly path: string) {}

  send = (text: string) => void this.said.push(JSON.parse(text) as Record<string, unknown>);
  close = () => {
    this.isClosed = true;
  };

  accept(): void {
    this.onopen?.();
  }

  receive(event: object): void {
    this.onmessage?.({ data: JSON.stringify(event) });
  }

  /** The server, or the network, closes the connection. */
  drop(): void {
    this.isClosed = true;
    this.onclose?.();
  }
}

/** An environment whose sockets the test controls; `random` always gives the longest delay. */
export class FakeEnvironment implements SocketEnvironment {
  readonly clock = new FakeClock();
  readonly sockets: FakeSocket[] = [];
  random = () => 1;

  open = (path: string) => {
    const socket = new FakeSocket(path);
    this.sockets.push(socket);
    return socket;
  };

  get last(): FakeSocket {
    const socket = this.sockets.at(-1);
    if (!socket) throw new Error("no socket was opened");
    return socket;
  }

  get stillOpen(): FakeSocket[] {
    return this.sockets.filter(({ isClosed }) => !isClosed);
  }
}

import { describe, expect, it } from "vitest";
import { FakeEnvironment } from "../testing/fakeSockets";
import { waitMs } from "./backoff";
import { OPEN_TIMEOUT_MS, ReconnectingSocket, type ConnectionState, type SocketEvent } from "./reconnectingSocket";

function begin() {
  const environment = new FakeEnvironment();
  const states: ConnectionState[] = [];
  const heard: SocketEvent[] = [];
  let since = 0;
  const socket = new ReconnectingSocket(environment, {
    path: () => `/ws?since=${since}`,
    onOpen: () => undefined,
    onEvent: (event) => {
      heard.push(event);
      since = Number(event.seq);
    },
    onStateChange: (state) => states.push(state),
  });
  socket.start();
  return { environment, socket, states, heard };
}

describe("waiting before the next try", () => {
  it("doubles with each failure, up to the longest", () => {
    const always = () => 1;
    expect([1, 2, 3, 4, 5, 6, 2000].map((failures) => waitMs(failures, always))).toEqual([
      500, 1000, 2000, 4000, 8000, 10000, 10000,
    ]);
  });

  it("is anything from nothing to that, by chance", () => {
    expect(waitMs(3, () => 0)).toBe(0);
    expect(waitMs(3, () => 0.25)).toBe(500);
  });
});

describe("a socket that comes back", () => {
  it("gives up a connection that does not open in time", () => {
    const { environment, states } = begin();
    environment.clock.pass(OPEN_TIMEOUT_MS);
    expect(states).toEqual(["connecting", "waiting"]);
    expect(environment.stillOpen).toHaveLength(0);
    environment.clock.pass(500);
    environment.last.accept();
    environment.clock.pass(OPEN_TIMEOUT_MS);
    expect(states.at(-1)).toBe("live");
  });

  it("goes on from where it was, and waits longer while nothing is heard", () => {
    const { environment, states } = begin();
    environment.last.accept();
    environment.last.receive({ event: "a", seq: 7 });
    environment.last.drop();
    environment.clock.pass(499);
    expect(environment.sockets).toHaveLength(1);
    environment.clock.pass(1);
    expect(environment.last.path).toBe("/ws?since=7");
    environment.last.accept();
    environment.last.drop();
    environment.clock.pass(999);
    expect(environment.sockets).toHaveLength(2);
    environment.clock.pass(1);
    expect(environment.sockets).toHaveLength(3);
    expect(states).toEqual(["connecting", "live", "waiting", "connecting", "live", "waiting", "connecting"]);
  });

  it("waits the shortest again once something was heard", () => {
    const { environment } = begin();
    for (const wait of [500, 1_000, 2_000]) {
      environment.last.drop();
      environment.clock.pass(wait);
    }
    environment.last.accept();
    environment.last.receive({ event: "a", seq: 1 });
    environment.last.drop();
    environment.clock.pass(500);
    expect(environment.sockets).toHaveLength(5);
  });

  it("closes the old one before it opens another, and hears nothing of it any more", () => {
    const { environment, socket, heard } = begin();
    const old = environment.last;
    old.accept();
    socket.reopen();
    expect(environment.stillOpen).toEqual([environment.last]);
    old.receive({ event: "late", seq: 1 });
    old.drop();
    environment.last.receive({ event: "new", seq: 2 });
    expect(heard.map(({ event }) => event)).toEqual(["new"]);
    expect(environment.sockets).toHaveLength(2);
  });

  it("does not come back after it was stopped", () => {
    const { environment, socket } = begin();
    environment.last.drop();
    socket.stop();
    environment.clock.pass(60_000);
    expect(environment.sockets).toHaveLength(1);
    expect(socket.send({ event: "a" })).toBe(false);
  });

  it("takes nothing for an event that is none", () => {
    const { environment, heard } = begin();
    environment.last.accept();
    for (const data of ["{", "[]", '"event"', '{"seq":1}', "null"]) environment.last.onmessage?.({ data });
    expect(heard).toEqual([]);
  });
});

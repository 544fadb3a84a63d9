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

describe("the delay before a reconnect", () => {
  it("doubles with each failure up to the maximum", () => {
    const always = () => 1;
    expect([1, 2, 3, 4, 5, 6, 2000].map((failures) => waitMs(failures, always))).toEqual([
      500, 1000, 2000, 4000, 8000, 10000, 10000,
    ]);
  });

  it("is random between zero and that", () => {
    expect(waitMs(3, () => 0)).toBe(0);
    expect(waitMs(3, () => 0.25)).toBe(500);
  });
});

describe("a reconnecting socket", () => {
  it("closes a connection that does not open in time", () => {
    const { environment, states } = begin();
    environment.clock.pass(OPEN_TIMEOUT_MS);
    expect(states).toEqual(["connecting", "waiting"]);
    expect(environment.stillOpen).toHaveLength(0);
    environment.clock.pass(500);
    environment.last.accept();
    environment.clock.pass(OPEN_TIMEOUT_MS);
    expect(states.at(-1)).toBe("live");
  });

  it("resumes after the last event, with growing delays", () => {
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

  it("resets the delay after an event", () => {
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

  it("closes the old connection before it opens another", () => {
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

  it("does not reconnect after stop", () => {
    const { environment, socket } = begin();
    environment.last.drop();
    socket.stop();
    environment.clock.pass(60_000);
    expect(environment.sockets).toHaveLength(1);
    expect(socket.send({ event: "a" })).toBe(false);
  });

  it("ignores frames that are not events", () => {
    const { environment, heard } = begin();
    environment.last.accept();
    for (const data of ["{", "[]", '"event"', '{"seq":1}', "null"]) environment.last.onmessage?.({ data });
    expect(heard).toEqual([]);
  });
});

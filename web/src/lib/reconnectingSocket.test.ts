import { describe, expect, it } from "vitest";
import { FakeWorld } from "../testing/fakeSockets";
import { waitMs } from "./backoff";
import { OPEN_WITHIN_MS, ReconnectingSocket, type LinkState, type SocketEvent } from "./reconnectingSocket";

function begin() {
  const world = new FakeWorld();
  const states: LinkState[] = [];
  const heard: SocketEvent[] = [];
  let since = 0;
  const socket = new ReconnectingSocket(world, {
    address: () => `/ws?since=${since}`,
    opened: () => undefined,
    heard: (event) => {
      heard.push(event);
      since = Number(event.seq);
    },
    changed: (state) => states.push(state),
  });
  socket.start();
  return { world, socket, states, heard };
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
    const { world, states } = begin();
    world.clock.pass(OPEN_WITHIN_MS);
    expect(states).toEqual(["connecting", "waiting"]);
    expect(world.stillOpen).toHaveLength(0);
    world.clock.pass(500);
    world.last.accept();
    world.clock.pass(OPEN_WITHIN_MS);
    expect(states.at(-1)).toBe("live");
  });

  it("goes on from where it was, and waits longer while nothing is heard", () => {
    const { world, states } = begin();
    world.last.accept();
    world.last.tell({ event: "a", seq: 7 });
    world.last.drop();
    world.clock.pass(499);
    expect(world.sockets).toHaveLength(1);
    world.clock.pass(1);
    expect(world.last.path).toBe("/ws?since=7");
    world.last.accept();
    world.last.drop();
    world.clock.pass(999);
    expect(world.sockets).toHaveLength(2);
    world.clock.pass(1);
    expect(world.sockets).toHaveLength(3);
    expect(states).toEqual(["connecting", "live", "waiting", "connecting", "live", "waiting", "connecting"]);
  });

  it("waits the shortest again once something was heard", () => {
    const { world } = begin();
    for (const wait of [500, 1_000, 2_000]) {
      world.last.drop();
      world.clock.pass(wait);
    }
    world.last.accept();
    world.last.tell({ event: "a", seq: 1 });
    world.last.drop();
    world.clock.pass(500);
    expect(world.sockets).toHaveLength(5);
  });

  it("closes the old one before it opens another, and hears nothing of it any more", () => {
    const { world, socket, heard } = begin();
    const old = world.last;
    old.accept();
    socket.reopen();
    expect(world.stillOpen).toEqual([world.last]);
    old.tell({ event: "late", seq: 1 });
    old.drop();
    world.last.tell({ event: "new", seq: 2 });
    expect(heard.map(({ event }) => event)).toEqual(["new"]);
    expect(world.sockets).toHaveLength(2);
  });

  it("does not come back after it was stopped", () => {
    const { world, socket } = begin();
    world.last.drop();
    socket.stop();
    world.clock.pass(60_000);
    expect(world.sockets).toHaveLength(1);
    expect(socket.send({ event: "a" })).toBe(false);
  });

  it("takes nothing for an event that is none", () => {
    const { world, heard } = begin();
    world.last.accept();
    for (const data of ["{", "[]", '"event"', '{"seq":1}', "null"]) world.last.onmessage?.({ data });
    expect(heard).toEqual([]);
  });
});

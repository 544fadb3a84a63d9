import { beforeEach, describe, expect, it } from "vitest";
import { Problem } from "../api/problem";
import type { RoomDetails } from "../api/types";
import { FakeEnvironment } from "../testing/fakeSockets";
import { message, room, settled } from "../testing/samples";
import { RoomStream, type RoomStreamHandlers } from "./roomStream";

let environment: FakeEnvironment;
let rooms: (RoomDetails | Problem | Promise<RoomDetails>)[];
let told: string[];
let later: string[];
let stream: RoomStream;
let loads: number;
let seen: RoomDetails | undefined;

beforeEach(() => {
  environment = new FakeEnvironment();
  rooms = [];
  told = [];
  later = [];
  loads = 0;
  seen = undefined;
  const load = () => {
    loads += 1;
    const next = rooms.shift();
    if (!next) throw new Error("the room was asked for once too often");
    return next instanceof Problem ? Promise.reject(next) : Promise.resolve(next);
  };
  const handlers: RoomStreamHandlers = {
    onLoaded: ({ last_seq: seq }) => told.push(`loaded ${seq}`),
    onEvent: (event) => told.push("seq" in event ? `heard ${event.seq}` : event.event),
    onRefreshed: ({ name, online_members: members }, since) => {
      told.push(`refreshed ${name}, ${members.length} members`);
      later = since.map((event) => ("seq" in event ? `${event.seq}` : event.event));
    },
    onConnectionState: () => undefined,
    onError: (error) => told.push(`failed ${(error as Problem).code}`),
    onTokenRejected: (token) => told.push(`refused ${token}`),
  };
  stream = new RoomStream(
    environment,
    "general",
    load,
    () => "t1",
    handlers,
    () => Promise.resolve(seen),
  );
});

const said = (seq: number) => ({ event: "city.room.message", seq, message: message(seq) });

async function enter(lastSeq: number): Promise<void> {
  rooms.push(room(lastSeq));
  stream.start();
  await settled();
  environment.last.accept();
}

function reconnect(): void {
  stream.reopen();
  environment.last.accept();
}

describe("roomStream", () => {
  it("loads the room, and resumes from its last seq", async () => {
    await enter(6);
    expect(environment.last.path).toBe("/ws/city/rooms/general?batch=1&since=6");
    expect(environment.last.said).toEqual([{ event: "auth", token: "t1" }]);
    environment.last.receive(said(7));
    environment.last.receive({ event: "city.room.typing", typing: ["u_2"] });
    expect(told).toEqual(["loaded 6", "heard 7", "city.room.typing"]);
  });

  it("sends the token in the handshake of a private room", async () => {
    rooms.push({ ...room(6), is_public: false });
    stream.start();
    await settled();
    expect(environment.last.path).toBe("/ws/city/rooms/general?batch=1&since=6&token=t1");
  });

  it("delivers each event once across a reconnect", async () => {
    await enter(6);
    environment.last.receive(said(7));
    environment.last.drop();
    environment.clock.pass(500);
    expect(environment.last.path).toBe("/ws/city/rooms/general?batch=1&since=7");
    rooms.push({ ...room(9), name: "Renamed" });
    environment.last.accept();
    environment.last.receive(said(7));
    environment.last.receive(said(8));
    environment.last.receive(said(8));
    environment.last.receive(said(9));
    await settled();
    expect(told).toEqual(["loaded 6", "heard 7", "heard 8", "heard 9", "refreshed Renamed, 0 members"]);
  });

  it("shows changes between the load and the connection", async () => {
    rooms.push(room(6));
    stream.start();
    await settled();
    rooms.push({ ...room(6), name: "Renamed" });
    environment.last.accept();
    await settled();
    expect(told).toEqual(["loaded 6", "refreshed Renamed, 0 members"]);
  });

  it("names the events during a refresh: the response may be older", async () => {
    await enter(6);
    environment.last.drop();
    environment.clock.pass(500);
    rooms.push(room(6));
    environment.last.accept();
    environment.last.receive({ event: "city.room.presences", updates: [], members_online: 2 });
    environment.last.receive(said(7));
    await settled();
    environment.last.receive({ event: "city.room.typing", typing: [] });
    expect(told).toEqual(["loaded 6", "city.room.presences", "heard 7", "refreshed General, 0 members", "city.room.typing"]);
    expect(later).toEqual(["city.room.presences", "7"]);
  });

  it("ignores a response that a later connection has overtaken", async () => {
    await enter(6);
    let answer: (room: RoomDetails) => void = () => undefined;
    rooms.push(new Promise<RoomDetails>((resolve) => (answer = resolve)));
    reconnect();
    rooms.push({ ...room(6), name: "Renamed" });
    reconnect();
    await settled();
    answer(room(6));
    await settled();
    expect(told).toEqual(["loaded 6", "refreshed Renamed, 0 members"]);
  });

  it("ignores a response that a load has overtaken", async () => {
    await enter(6);
    let answer: (room: RoomDetails) => void = () => undefined;
    rooms.push(new Promise<RoomDetails>((resolve) => (answer = resolve)));
    reconnect();
    rooms.push({ ...room(9), name: "Renamed" });
    environment.last.receive({ event: "city.room.resync" });
    await settled();
    answer(room(6));
    await settled();
    expect(told).toEqual(["loaded 6", "loaded 9"]);
  });

  it("ignores the refusal of a request before a later connection", async () => {
    await enter(6);
    let refuse: (problem: Problem) => void = () => undefined;
    rooms.push(new Promise<RoomDetails>((_, reject) => (refuse = reject)));
    reconnect();
    rooms.push(room(6));
    reconnect();
    refuse(new Problem(404, "no_such_room", "…"));
    await settled();
    expect(told).toEqual(["loaded 6", "refreshed General, 0 members"]);
  });

  it("reconnects from the last seq after a gap", async () => {
    await enter(6);
    environment.last.receive(said(8));
    expect(told).toEqual(["loaded 6"]);
    expect(environment.stillOpen).toEqual([environment.last]);
    expect(environment.last.path).toBe("/ws/city/rooms/general?batch=1&since=6");
  });

  it("loads the room again if the gap remains", async () => {
    await enter(6);
    environment.last.receive(said(8));
    rooms.push(room(8), room(8));
    environment.last.accept();
    environment.last.receive(said(8));
    environment.last.receive(said(9));
    await settled();
    expect(told.filter((line) => !line.startsWith("members"))).toEqual(["loaded 6", "loaded 8", "heard 9"]);
  });

  it("loads the room again after a resync, before later events", async () => {
    await enter(6);
    rooms.push(room(2044));
    environment.last.receive({ event: "city.room.resync", seq: 2044 });
    environment.last.receive(said(2044));
    environment.last.receive(said(2045));
    await settled();
    expect(told).toEqual(["loaded 6", "loaded 2044", "heard 2045"]);
  });

  it("shows the stored room while the city is unreachable, and loads it with the connection", async () => {
    seen = room(3);
    rooms.push(new Problem(0, "unreachable", "…"));
    stream.start();
    await settled();
    expect(told).toEqual(["loaded 3"]);
    expect(environment.last.path).toBe("/ws/city/rooms/general?batch=1&since=3");
    rooms.push(room(9));
    environment.last.accept();
    await settled();
    expect(told).toEqual(["loaded 3", "loaded 9"]);
  });

  it("shows no stored room if the city refuses it", async () => {
    seen = room(3);
    rooms.push(new Problem(404, "no_such_room", "…"));
    stream.start();
    await settled();
    expect(told).toEqual(["failed no_such_room"]);
  });

  it("retries while the city is unreachable", async () => {
    rooms.push(new Problem(0, "unreachable", "…"), new Problem(503, "database_unavailable", "…"), room(3));
    stream.start();
    await settled();
    environment.clock.pass(500);
    await settled();
    environment.clock.pass(1_000);
    await settled();
    expect(told).toEqual(["loaded 3"]);
  });

  it("does not retry a missing room", async () => {
    rooms.push(new Problem(404, "no_such_room", "…"));
    stream.start();
    await settled();
    environment.clock.pass(60_000);
    expect(told).toEqual(["failed no_such_room"]);
    expect(loads).toBe(1);
  });

  it("reports a rejected token", async () => {
    await enter(1);
    environment.last.receive({ event: "error", code: "token_invalid", detail: "…" });
    expect(told).toContain("refused t1");
  });

  it("loads a room that became private once, without a socket", async () => {
    await enter(6);
    rooms.push(room(7, [], { may_read: false }));
    environment.last.receive({ event: "error", code: "members_only", detail: "…" });
    environment.last.drop();
    await settled();
    environment.clock.pass(600_000);
    await settled();
    expect(told).toEqual(["loaded 6", "loaded 7"]);
    expect(environment.sockets).toHaveLength(1);
    rooms.push(room(8));
    stream.reopen();
    await settled();
    expect(environment.last.path).toBe("/ws/city/rooms/general?batch=1&since=8");
  });

  it("opens no socket for a room of members", async () => {
    rooms.push(room(6, [], { may_read: false }));
    stream.start();
    await settled();
    environment.clock.pass(600_000);
    expect(told).toEqual(["loaded 6"]);
    expect(environment.sockets).toEqual([]);
  });

  it("opens no further socket after a refusal", async () => {
    await enter(6);
    environment.last.drop();
    rooms.push(room(6, [], { may_read: false }));
    environment.clock.pass(500);
    environment.last.drop();
    await settled();
    environment.clock.pass(600_000);
    expect(told).toEqual(["loaded 6", "loaded 6"]);
    expect(environment.stillOpen).toEqual([]);
  });

  it("reports a hidden room as missing", async () => {
    await enter(6);
    environment.last.drop();
    rooms.push(new Problem(404, "no_such_room", "…"));
    environment.clock.pass(500);
    environment.last.drop();
    await settled();
    environment.clock.pass(600_000);
    expect(told).toEqual(["loaded 6", "failed no_such_room"]);
    expect(environment.stillOpen).toEqual([]);
  });

  it("waits between requests when socket and room disagree", async () => {
    await enter(6);
    for (let time = 0; time < 5; time++) {
      rooms.push(room(6));
      environment.last.receive({ event: "error", code: "members_only", detail: "…" });
      await settled();
      environment.clock.pass(30_000);
      environment.last.accept();
      await settled();
    }
    rooms.push(room(6));
    environment.last.receive({ event: "error", code: "members_only", detail: "…" });
    await settled();
    const sockets = environment.sockets.length;
    environment.clock.pass(5_000);
    expect(environment.sockets).toHaveLength(sockets);
  });

  it("loads the public part after signing out", async () => {
    await enter(6);
    rooms.push(room(6, [], { may_read: false }));
    stream.reopen();
    environment.last.accept();
    await settled();
    expect(told).toEqual(["loaded 6", "loaded 6"]);
    expect(environment.stillOpen).toEqual([]);
  });

  it("ignores a late response after stop", async () => {
    rooms.push(room(6));
    stream.start();
    stream.stop();
    await settled();
    expect(environment.sockets).toEqual([]);
  });
});

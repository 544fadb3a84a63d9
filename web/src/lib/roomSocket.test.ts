import { beforeEach, describe, expect, it } from "vitest";
import { Problem } from "../api/problem";
import type { RoomDetails } from "../api/types";
import { FakeWorld } from "../testing/fakeSockets";
import { message, room, settled } from "../testing/samples";
import { RoomStream } from "./roomSocket";

let world: FakeWorld;
let rooms: (RoomDetails | Problem)[];
let told: string[];
let stream: RoomStream;
let loads: number;

beforeEach(() => {
  world = new FakeWorld();
  rooms = [];
  told = [];
  loads = 0;
  const load = () => {
    loads += 1;
    const next = rooms.shift();
    if (!next) throw new Error("the room was asked for once too often");
    return next instanceof Problem ? Promise.reject(next) : Promise.resolve(next);
  };
  stream = new RoomStream(world, "general", load, () => "t1", {
    loaded: ({ last_seq: seq }) => told.push(`loaded ${seq}`),
    heard: (event) => told.push("seq" in event ? `heard ${event.seq}` : event.event),
    membersAgain: (members) => told.push(`members ${members.length}`),
    link: () => undefined,
    failed: (error) => told.push(`failed ${(error as Problem).code}`),
    refused: (token) => told.push(`refused ${token}`),
  });
});

const said = (seq: number) => ({ event: "city.room.message", seq, message: message(seq) });

async function enter(lastSeq: number): Promise<void> {
  rooms.push(room(lastSeq));
  stream.start();
  await settled();
  world.last.accept();
}

describe("a room", () => {
  it("is loaded, and goes on from there", async () => {
    await enter(6);
    expect(world.last.path).toBe("/ws/city/rooms/general?since=6");
    expect(world.last.said).toEqual([{ event: "auth", token: "t1" }]);
    world.last.tell(said(7));
    world.last.tell({ event: "city.room.typing", typing: ["u_2"] });
    expect(told).toEqual(["loaded 6", "heard 7", "city.room.typing"]);
  });

  it("tells nothing twice after a break, and leaves nothing out", async () => {
    await enter(6);
    world.last.tell(said(7));
    world.last.drop();
    world.clock.pass(500);
    expect(world.last.path).toBe("/ws/city/rooms/general?since=7");
    rooms.push(room(9));
    world.last.accept();
    world.last.tell(said(7));
    world.last.tell(said(8));
    world.last.tell(said(8));
    world.last.tell(said(9));
    await settled();
    expect(told).toEqual(["loaded 6", "heard 7", "heard 8", "heard 9", "members 0"]);
  });

  it("comes again from the last number when one is missing", async () => {
    await enter(6);
    world.last.tell(said(8));
    expect(told).toEqual(["loaded 6"]);
    expect(world.stillOpen).toEqual([world.last]);
    expect(world.last.path).toBe("/ws/city/rooms/general?since=6");
  });

  it("is loaded anew when that does not bring it", async () => {
    await enter(6);
    world.last.tell(said(8));
    rooms.push(room(8), room(8));
    world.last.accept();
    world.last.tell(said(8));
    world.last.tell(said(9));
    await settled();
    expect(told.filter((line) => !line.startsWith("members"))).toEqual(["loaded 6", "loaded 8", "heard 9"]);
  });

  it("is loaded anew when the city says so, with what comes meanwhile after it", async () => {
    await enter(6);
    rooms.push(room(2044));
    world.last.tell({ event: "city.room.resync", seq: 2044 });
    world.last.tell(said(2044));
    world.last.tell(said(2045));
    await settled();
    expect(told).toEqual(["loaded 6", "loaded 2044", "heard 2045"]);
  });

  it("is tried again while the city is away", async () => {
    rooms.push(new Problem(0, "unreachable", "…"), new Problem(503, "database_unavailable", "…"), room(3));
    stream.start();
    await settled();
    world.clock.pass(500);
    await settled();
    world.clock.pass(1_000);
    await settled();
    expect(told).toEqual(["loaded 3"]);
  });

  it("that is not there is not tried again", async () => {
    rooms.push(new Problem(404, "no_such_room", "…"));
    stream.start();
    await settled();
    world.clock.pass(60_000);
    expect(told).toEqual(["failed no_such_room"]);
    expect(loads).toBe(1);
  });

  it("says when the token no longer counts", async () => {
    await enter(1);
    world.last.tell({ event: "error", code: "token_invalid", detail: "…" });
    expect(told).toContain("refused t1");
  });

  it("that becomes one for members is loaded once more, and not connected to again", async () => {
    await enter(6);
    rooms.push(room(7, [], { may_read: false }));
    world.last.tell({ event: "error", code: "members_only", detail: "…" });
    world.last.drop();
    await settled();
    world.clock.pass(600_000);
    await settled();
    expect(told).toEqual(["loaded 6", "loaded 7"]);
    expect(world.sockets).toHaveLength(1);
    rooms.push(room(8));
    stream.reopen();
    await settled();
    expect(world.last.path).toBe("/ws/city/rooms/general?since=8");
  });

  it("for members has no socket", async () => {
    rooms.push(room(6, [], { may_read: false }));
    stream.start();
    await settled();
    world.clock.pass(600_000);
    expect(told).toEqual(["loaded 6"]);
    expect(world.sockets).toEqual([]);
  });

  it("whose socket is refused while the city answers is asked for, and not connected to again", async () => {
    await enter(6);
    world.last.drop();
    rooms.push(room(6, [], { may_read: false }));
    world.clock.pass(500);
    world.last.drop();
    await settled();
    world.clock.pass(600_000);
    expect(told).toEqual(["loaded 6", "loaded 6"]);
    expect(world.stillOpen).toEqual([]);
  });

  it("of which one may not know any more is said to be missing", async () => {
    await enter(6);
    world.last.drop();
    rooms.push(new Problem(404, "no_such_room", "…"));
    world.clock.pass(500);
    world.last.drop();
    await settled();
    world.clock.pass(600_000);
    expect(told).toEqual(["loaded 6", "failed no_such_room"]);
    expect(world.stillOpen).toEqual([]);
  });

  it("whose socket and details say different things is not asked for in a hurry", async () => {
    await enter(6);
    for (let time = 0; time < 5; time++) {
      rooms.push(room(6));
      world.last.tell({ event: "error", code: "members_only", detail: "…" });
      await settled();
      world.clock.pass(30_000);
      world.last.accept();
      await settled();
    }
    rooms.push(room(6));
    world.last.tell({ event: "error", code: "members_only", detail: "…" });
    await settled();
    const sockets = world.sockets.length;
    world.clock.pass(5_000);
    expect(world.sockets).toHaveLength(sockets);
  });

  it("is shown as far as an outsider may read it to who signs out", async () => {
    await enter(6);
    rooms.push(room(6, [], { may_read: false }));
    stream.reopen();
    world.last.accept();
    await settled();
    expect(told).toEqual(["loaded 6", "loaded 6"]);
    expect(world.stillOpen).toEqual([]);
  });

  it("that was left is not opened by an answer that comes late", async () => {
    rooms.push(room(6));
    stream.start();
    stream.stop();
    await settled();
    expect(world.sockets).toEqual([]);
  });
});

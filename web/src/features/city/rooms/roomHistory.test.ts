import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { city } from "../../../api/city";
import { Problem } from "../../../api/problem";
import { FakeEnvironment } from "../../../testing/fakeSockets";
import { roomEnvironment } from "../../../testing/roomEnvironment";
import { message, room, settled } from "../../../testing/samples";
import { RoomModel } from "./roomModel";

let sockets: FakeEnvironment;
let model: RoomModel;
const state = () => model.store.getState();
const seqs = () => state().timeline.messages.map(({ seq }) => seq);

describe("a room with 9,900 older messages", () => {
  const history = Array.from({ length: 10_000 }, (_, index) => message(index + 1));
  const said = (seq: number) => ({ event: "city.room.message", seq, message: message(seq) });

  beforeEach(async () => {
    localStorage.clear();
    sockets = new FakeEnvironment();
    vi.spyOn(city, "messages").mockImplementation((_room, before, limit) =>
      Promise.resolve(history.filter(({ seq }) => seq < before).slice(-limit)),
    );
    vi.spyOn(city, "messagesAfter").mockImplementation((_room, after, limit) =>
      Promise.resolve(history.filter(({ seq }) => seq > after).slice(0, limit)),
    );
    vi.spyOn(city, "messagesAround").mockImplementation((_room, id, limit) => {
      const at = history.findIndex((each) => each.id === id);
      if (at < 0) return Promise.reject(new Problem(404, "no_such_message", "…"));
      return Promise.resolve(history.slice(Math.max(0, at - limit / 2), at + limit / 2));
    });
    vi.spyOn(city, "room").mockResolvedValue(room(10_000, history.slice(-50), { has_older: true }));
    model = new RoomModel("general", roomEnvironment(sockets, {}));
    model.start();
    await settled();
    sockets.last.accept();
  });

  afterEach(() => model.stop());

  it("finds one with one request", async () => {
    expect(await model.loadAround("m100")).toBe(true);
    expect(seqs()).toContain(100);
    expect(state().timeline).toMatchObject({ hasOlder: true, hasNewer: true });
    expect(city.messages).not.toHaveBeenCalled();
    expect(city.messagesAround).toHaveBeenCalledOnce();
  });

  it("joins the found page with the newest messages", async () => {
    await model.loadAround("m9930");
    expect(state().timeline.hasNewer).toBe(false);
    expect(seqs()).toEqual(history.slice(9_904).map(({ seq }) => seq));
  });

  it("keeps the window complete and marks nothing as read", async () => {
    await model.loadAround("m100");
    const before = seqs();
    sockets.last.receive(said(10_001));
    model.readToEnd();
    expect(seqs()).toEqual(before);
    expect(sockets.last.said.filter(({ event }) => event === "city.room.read")).toEqual([]);
    model.showNewest();
    expect(seqs().at(-1)).toBe(10_001);
    expect(seqs()).toHaveLength(51);
    model.readToEnd();
    expect(sockets.last.said).toContainEqual({ event: "city.room.read", message_id: "m10001" });
  });

  it("applies changes in both windows", async () => {
    await model.loadAround("m100");
    const updated = (seq: number, of: number) => ({
      event: "city.room.message.updated",
      seq,
      message: message(of, { body: "changed" }),
    });
    sockets.last.receive(updated(10_001, 100));
    sockets.last.receive(updated(10_002, 10_000));
    expect(
      state()
        .timeline.messages.filter(({ body }) => body === "changed")
        .map(({ seq }) => seq),
    ).toEqual([100]);
    model.showNewest();
    expect(state().timeline.messages.at(-1)?.body).toBe("changed");
  });

  it("continues to the newest messages without a gap", async () => {
    await model.loadAround("m9800");
    sockets.last.receive(said(10_001));
    for (let page = 0; page < 4 && state().timeline.hasNewer; page++) await model.loadNewer();
    expect(state().timeline.hasNewer).toBe(false);
    const [first = 0] = seqs();
    expect(seqs()).toEqual(Array.from({ length: 10_002 - first }, (_, index) => first + index));
  });

  it("ignores a page of a window that was left", async () => {
    await model.loadAround("m100");
    const [older, newer] = [model.loadOlder(), model.loadNewer()];
    model.showNewest();
    await Promise.all([older, newer]);
    expect(seqs()).toEqual(history.slice(-50).map(({ seq }) => seq));
  });

  it("returns to the newest messages with an own message", async () => {
    vi.spyOn(city, "sendMessage").mockImplementation((_room, { client_id }) =>
      Promise.resolve(message(10_001, { client_id: client_id ?? null })),
    );
    await model.loadAround("m100");
    model.send("hello", null);
    await settled();
    expect(seqs().slice(-2)).toEqual([10_000, 10_001]);
  });

  it("shows why a message cannot be found", async () => {
    expect(await model.loadAround("m0")).toBe(false);
    expect(state().problem).toMatchObject({ code: "no_such_message" });
    expect(seqs()).toHaveLength(50);
  });
});

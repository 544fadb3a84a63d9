import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { FakeEnvironment } from "../../../testing/fakeSockets";
import type { Message, RoomDetails } from "../../../api/types";
import { roomEnvironment } from "../../../testing/roomEnvironment";
import { message, OKSANA, room, WITHOUT_PICTURE, settled, TARAS } from "../../../testing/samples";
import { Problem } from "../../../api/problem";
import { city } from "../../../api/city";
import type { Outbox } from "../../../outbox/outbox";
import { markRead } from "../../../lib/readMarks";
import { rowsOf } from "./rows";
import { outgoingMessages } from "./timeline";
import { RoomModel } from "./roomModel";

let sockets: FakeEnvironment;
let model: RoomModel;
let met: string[];
let outbox: Outbox;
let isShown: boolean;
let me: string | null;
const state = () => model.store.getState();
const waiting = () => outgoingMessages(outbox.store.getState().entries);
const lines = () =>
  rowsOf(state().timeline, [], { me: OKSANA.id, unread: state().unread }).map((row) =>
    row.kind === "message" ? row.message.seq : row.kind,
  );
const seqs = () => state().timeline.messages.map(({ seq }) => seq);

beforeEach(async () => {
  localStorage.clear();
  isShown = true;
  me = OKSANA.id;
  sockets = new FakeEnvironment();
  met = [];
  const environment = roomEnvironment(sockets, {
    isShown: () => isShown,
    me: () => me,
    addAuthors: (authors) => void met.push(...authors.map(({ display_name: name }) => name)),
  });
  outbox = environment.outbox;
  const online = { ...TARAS, presence: "online", last_active_ago_ms: 0, status_msg: null } as const;
  vi.spyOn(city, "room").mockResolvedValue(room(3, [message(2)], { online_members: [online] }));
  model = new RoomModel("general", environment);
  model.start();
  await settled();
  sockets.last.accept();
});

afterEach(() => model.stop());

describe("an open room", () => {
  it("shows messages and online members", () => {
    expect(seqs()).toEqual([2]);
    expect([...state().members]).toEqual(["u_2"]);
    expect(met).toContain("Тарас");
  });

  it("has no unread line while the page is visible", async () => {
    markRead(OKSANA.id, "city_general", 3);
    model.changeReader();
    sockets.last.accept();
    sockets.last.receive({ event: "city.room.message", seq: 4, message: message(4, { author: TARAS }) });
    expect(lines()).not.toContain("unread");
    vi.spyOn(city, "sendMessage").mockImplementation((_room, said) =>
      Promise.resolve(message(5, { client_id: said.client_id ?? null })),
    );
    model.send("hello", null);
    await settled();
    sockets.last.receive({ event: "city.room.message", seq: 6, message: message(6, { author: TARAS }) });
    expect(lines()).not.toContain("unread");
  });

  it("has one unread line for messages on a hidden page", () => {
    markRead(OKSANA.id, "city_general", 3);
    isShown = false;
    model.onVisibilityChange();
    sockets.last.receive({ event: "city.room.message", seq: 4, message: message(4, { author: TARAS }) });
    isShown = true;
    model.onVisibilityChange();
    sockets.last.receive({ event: "city.room.message", seq: 5, message: message(5, { author: TARAS }) });
    expect(lines()).toEqual(["top", "day", 2, "unread", 4, 5]);
    markRead(OKSANA.id, "city_general", 5);
    isShown = false;
    model.onVisibilityChange();
    expect(lines()).not.toContain("unread");
  });

  it("shows a kick or ban of the user until the next join", async () => {
    const leave = { event: "city.room.leave", created_at: "2026-11-22T12:00:00Z", members_online: 1 };
    sockets.last.receive({ ...leave, seq: 4, member: TARAS, cause: "kicked", by: null, reason: "noise" });
    expect(state().removal).toBeNull();
    sockets.last.receive({ ...leave, seq: 5, member: OKSANA, cause: "banned", by: TARAS, reason: null });
    expect(state().removal).toEqual({ kind: "banned", reason: null });
    sockets.last.receive({ ...leave, seq: 6, member: OKSANA, cause: "kicked", by: TARAS, reason: "noise" });
    expect(state().removal).toEqual({ kind: "kicked", reason: "noise" });
    sockets.last.receive({ ...leave, event: "city.room.join", seq: 7, member: OKSANA });
    expect(state().removal).toBeNull();
    sockets.last.receive({ ...leave, seq: 8, member: OKSANA, cause: "left" });
    expect(state().removal).toBeNull();
    vi.mocked(city.room).mockResolvedValue(room(9, [], { removal: { kind: "kicked", reason: null } }));
    sockets.last.receive({ event: "city.room.resync", seq: 9 });
    await settled();
    expect(state().removal).toEqual({ kind: "kicked", reason: null });
  });

  it("requests the rights of a new member", async () => {
    const rights = { delete_messages: true } as never;
    vi.mocked(city.room).mockResolvedValue(room(4, [], { rights }));
    const join = { event: "city.room.join", created_at: "2026-11-22T12:00:00Z", members_online: 2 };
    sockets.last.receive({ ...join, seq: 4, member: TARAS });
    await settled();
    expect(state().rights).not.toBe(rights);
    sockets.last.receive({ ...join, seq: 5, member: OKSANA });
    await settled();
    expect(state().rights).toBe(rights);
  });

  it("keeps the rights of the newest request", async () => {
    const older = { kick: true } as never;
    const newer = { kick: false } as never;
    let answer: (details: RoomDetails) => void = () => undefined;
    await settled();
    vi.mocked(city.room).mockReturnValueOnce(new Promise((resolve) => (answer = resolve)));
    vi.mocked(city.room).mockResolvedValueOnce(room(3, [], { rights: newer }));
    sockets.last.receive({ event: "city.room.updated", room: room(3) });
    sockets.last.receive({ event: "city.room.updated", room: room(3) });
    await settled();
    answer(room(3, [], { rights: older }));
    await settled();
    expect(state().rights).toBe(newer);
  });

  it("ignores the rights of somebody who signed out", async () => {
    let answer: (details: RoomDetails) => void = () => undefined;
    await settled();
    vi.mocked(city.room).mockReturnValueOnce(new Promise((resolve) => (answer = resolve)));
    sockets.last.receive({ event: "city.room.updated", room: room(3) });
    me = null;
    answer(room(3, [], { rights: { kick: true } as never }));
    await settled();
    expect(state().rights).toBeNull();
  });

  it("keeps joins that are newer than the response", async () => {
    const older = room(3, [], { online_members: [{ ...TARAS, presence: "online", last_active_ago_ms: 0, status_msg: null }] });
    let answer: (details: RoomDetails) => void = () => undefined;
    vi.mocked(city.room).mockReturnValueOnce(new Promise((resolve) => (answer = resolve)));
    model.reconnect();
    sockets.last.accept();
    const join = { event: "city.room.join", created_at: "2026-11-22T12:00:00Z" };
    sockets.last.receive({ ...join, seq: 4, member: OKSANA, members_online: 2 });
    answer(older);
    await settled();
    expect([...state().members]).toEqual(["u_2", "u_1"]);
    expect(state().room).toMatchObject({ last_seq: 4, members_online: 2 });
    expect(lines()).toEqual(["top", "day", 2, "note"]);
  });

  it("counts only received events as read", async () => {
    await settled();
    sockets.last.receive({ event: "city.room.updated", room: room(9, [], { name: "Renamed" }) });
    expect(state().room).toMatchObject({ name: "Renamed", last_seq: 3 });
  });

  it("reloads when it becomes private, and after a join", async () => {
    vi.mocked(city.room).mockResolvedValue(room(3, [message(1)], { may_read: false }));
    sockets.last.receive({ event: "error", code: "members_only", detail: "…" });
    await settled();
    expect(state()).toMatchObject({ mayRead: false, connection: "closed" });
    expect(seqs()).toEqual([1]);
    vi.spyOn(city, "join").mockResolvedValue({ matrix_room_id: "!room:city.localhost", pending: false } as never);
    vi.mocked(city.room).mockResolvedValue(room(4, [message(1), message(3)]));
    await model.join();
    await settled();
    expect(state().mayRead).toBe(true);
    expect(seqs()).toEqual([1, 3]);
    expect(sockets.stillOpen).toHaveLength(1);
  });

  it("shows an own message once: outgoing, response, socket", async () => {
    const say = vi
      .spyOn(city, "sendMessage")
      .mockImplementation((_room, said) =>
        Promise.resolve(message(4, { client_id: said.client_id ?? null, delivery: "pending" })),
      );
    model.send("hello", null);
    expect(waiting().map(({ body }) => body)).toEqual(["hello"]);
    await settled();
    expect(waiting()).toEqual([]);
    const clientId = say.mock.calls[0]?.[1].client_id ?? "";
    sockets.last.receive({ event: "city.room.message", seq: 4, message: message(4, { client_id: clientId }) });
    expect(seqs()).toEqual([2, 4]);
  });

  it("confirms a message by the socket if the response is lost", async () => {
    const say = vi.spyOn(city, "sendMessage").mockRejectedValue(new Problem(0, "unreachable", "…"));
    model.send("hello", null);
    await settled();
    const clientId = say.mock.calls[0]?.[1].client_id ?? "";
    sockets.last.receive({ event: "city.room.message", seq: 4, message: message(4, { client_id: clientId }) });
    sockets.clock.pass(60_000);
    await settled();
    expect(say).toHaveBeenCalledOnce();
    expect(seqs()).toEqual([2, 4]);
    expect(waiting()).toEqual([]);
  });

  it("updates its members once for many simultaneous changes", () => {
    const updates: number[] = [];
    model.store.subscribe(({ members }, before) => members !== before.members && updates.push(members.size));
    for (let number = 10; number < 110; number++)
      sockets.last.receive({ event: "city.room.presence", user_id: `u_${number}`, status: "online", members_online: number });
    const before = updates.length;
    sockets.clock.pass(250);
    expect([before, updates.length, state().room?.members_online]).toEqual([1, 2, 109]);
  });

  it("takes the presence of several members from one frame", () => {
    const updates = [
      { user_id: "u_2", status: "offline" },
      { user_id: "u_3", status: "away" },
      { user_id: "u_4", status: "online" },
    ];
    sockets.last.receive({ event: "city.room.presences", updates, members_online: 2 });
    sockets.clock.pass(250);
    expect([...state().members]).toEqual(["u_3", "u_4"]);
    expect(state().room?.members_online).toBe(2);
  });

  it("follows joins, leaves and the number of members", () => {
    const event = { room_id: "city_general", created_at: "2026-11-22T12:00:00Z", member: OKSANA };
    sockets.last.receive({ ...event, event: "city.room.join", seq: 4, members_online: 2 });
    expect([...state().members]).toEqual(["u_2", "u_1"]);
    sockets.last.receive({ event: "city.room.presence", user_id: "u_2", status: "offline", members_online: 1 });
    expect([...state().members]).toEqual(["u_1"]);
    expect(state().room?.members_online).toBe(1);
    expect(state().timeline.membershipEvents.map(({ name, change: what }) => `${name} ${what}`)).toEqual(["Оксана joined"]);
  });

  it("names typing members, and none without a connection", () => {
    sockets.last.receive({ event: "city.room.typing", typing: ["u_1", "u_2"] });
    expect(state().typing).toEqual(["u_2"]);
    sockets.last.drop();
    expect(state().typing).toEqual([]);
  });

  it("sends a typing event every four seconds, and one at the end", () => {
    const said = () => sockets.last.said.filter(({ event }) => event === "city.room.typing").map(({ typing }) => typing);
    model.setTyping(false);
    for (let key = 0; key < 50; key++) {
      model.setTyping(true);
      sockets.clock.pass(100);
    }
    expect(said()).toEqual([true, true]);
    model.setTyping(false);
    model.setTyping(false);
    expect(said()).toEqual([true, true, false]);
  });

  it("sends one read receipt at the end", () => {
    model.readToEnd();
    model.readToEnd();
    expect(sockets.last.said.filter(({ event }) => event === "city.room.read")).toEqual([
      { event: "city.room.read", message_id: "m2" },
    ]);
  });

  it("adds and removes a reaction", async () => {
    const react = vi
      .spyOn(city, "react")
      .mockResolvedValue(message(2, { reactions: [{ emoji: "🌻", count: 1, by: ["u_1"], ...WITHOUT_PICTURE }] }));
    model.react(message(2), "🌻");
    await settled();
    model.react(state().timeline.messages[0] ?? message(0), "🌻");
    await settled();
    expect(react.mock.calls.map(([, , , given]) => given)).toEqual([true, false]);
  });

  it("keeps a refused edit with its error", async () => {
    vi.spyOn(city, "edit").mockRejectedValue(new Problem(413, "message_too_long", "…"));
    expect(model.edit(message(2), "long words")).toBe(true);
    await settled();
    const [entry] = outbox.store.getState().entries;
    expect(entry).toMatchObject({ state: "failed", problem: { code: "message_too_long" }, action: { body: "long words" } });
  });

  it("does not overwrite socket events with a later response", async () => {
    let answer: (message: Message) => void = () => undefined;
    const say = vi.spyOn(city, "sendMessage").mockReturnValue(new Promise((resolve) => (answer = resolve)));
    model.send("hello", null);
    await settled();
    const clientId = say.mock.calls[0]?.[1].client_id ?? "";
    sockets.last.receive({ event: "city.room.message", seq: 4, message: message(4, { client_id: clientId, delivery: "sent" }) });
    answer(message(4, { client_id: clientId, delivery: "pending" }));
    await settled();
    expect(state().timeline.messages.at(-1)?.delivery).toBe("sent");
  });

  it("clears an error with the next success", async () => {
    vi.spyOn(city, "retry")
      .mockRejectedValueOnce(new Problem(403, "muted", "…"))
      .mockResolvedValueOnce(message(2, { delivery: "pending" }));
    expect(await model.retryDelivery(message(2))).toBe(false);
    expect(state().problem).toMatchObject({ code: "muted" });
    expect(await model.retryDelivery(message(2))).toBe(true);
    expect(state().problem).toBeNull();
    expect(state().timeline.messages[0]?.delivery).toBe("pending");
  });
});

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { city } from "../../../api/city";
import type { Message, ThreadSummary } from "../../../api/types";
import { threadReadUpTo } from "../../../lib/readMarks";
import { FakeEnvironment } from "../../../testing/fakeSockets";
import { roomEnvironment } from "../../../testing/roomEnvironment";
import { message, OKSANA, room, settled, TARAS } from "../../../testing/samples";
import { RoomModel } from "./roomModel";
import { ThreadModel } from "./threadModel";
import { visibleTimeline } from "./timeline";

let sockets: FakeEnvironment;
let main: RoomModel;
let thread: ThreadModel;

const summary = (count: number, lastSeq: number): ThreadSummary => ({
  count,
  last_seq: lastSeq,
  last_reply_at: "2026-11-22T12:00:00Z",
  authors: [TARAS],
});
const root = (changes: Partial<Message> = {}) => message(2, { thread: summary(1, 3), ...changes });
const reply = (seq: number, changes: Partial<Message> = {}) => message(seq, { thread_root: "m2", author: TARAS, ...changes });
const state = () => thread.store.getState();
const seqs = () => visibleTimeline(state().timeline, "m2", state().root).messages.map(({ seq }) => seq);
const inRoom = () => visibleTimeline(main.store.getState().timeline, null, null).messages.map(({ seq }) => seq);
const tell = (seq: number, changed: Message, event = "city.room.message") =>
  sockets.last.receive({ event, seq, message: changed });

async function open(messages: Message[], replies: Message[]) {
  vi.spyOn(city, "room").mockResolvedValue(room(messages.at(-1)?.seq ?? 0, messages));
  vi.spyOn(city, "replies").mockResolvedValue(replies);
  main.start();
  await settled();
  sockets.last.accept();
  thread = new ThreadModel(main, "m2");
  thread.start();
  await settled();
}

beforeEach(() => {
  localStorage.clear();
  sockets = new FakeEnvironment();
  main = new RoomModel("general", roomEnvironment(sockets));
});

afterEach(() => {
  thread.stop();
  main.stop();
});

describe("a thread", () => {
  it("shows root and replies, apart from the main timeline", async () => {
    await open([message(1), root(), reply(3)], [reply(3)]);
    expect(seqs()).toEqual([2, 3]);
    expect(inRoom()).toEqual([1, 2]);
  });

  it("follows new replies, edits and the summary of the root", async () => {
    await open([message(1), root(), reply(3)], [reply(3)]);
    tell(4, reply(4));
    tell(5, reply(3, { body: "edited" }), "city.room.message.updated");
    tell(6, root({ thread: summary(2, 4) }), "city.room.message.updated");
    tell(7, message(7));
    expect(seqs()).toEqual([2, 3, 4]);
    expect(state().timeline.messages[0]?.body).toBe("edited");
    expect(state().root?.thread?.count).toBe(2);
    expect(inRoom()).toEqual([1, 2, 7]);
  });

  it("includes a reply that arrives while it loads", async () => {
    await open([message(1), root(), reply(3)], [reply(3)]);
    let answer: (replies: Message[]) => void = () => undefined;
    vi.mocked(city.replies).mockReturnValue(new Promise((resolve) => (answer = resolve)));
    thread.start();
    tell(4, reply(4));
    answer([reply(3)]);
    await settled();
    expect(seqs()).toEqual([2, 3, 4]);
  });

  it("loads a root that the room has not loaded", async () => {
    vi.spyOn(city, "messagesAround").mockResolvedValue([root()]);
    await open([reply(60)], [reply(60)]);
    expect(city.messagesAround).toHaveBeenCalledWith("general", "m2", 1);
    expect(seqs()).toEqual([2, 60]);
  });

  it("shows the root first, also when it arrived after its replies", async () => {
    await open([reply(1), root()], [reply(1)]);
    expect(seqs()).toEqual([2, 1]);
  });

  it("loads older pages up to the root", async () => {
    await open([root({ thread: summary(3, 5) })], [reply(5)]);
    expect(seqs()).toEqual([5]);
    vi.mocked(city.replies).mockResolvedValue([reply(3), reply(4)]);
    await thread.loadOlder();
    expect(city.replies).toHaveBeenLastCalledWith("general", "m2", { before: 5 }, 50);
    expect(seqs()).toEqual([3, 4, 5]);
    vi.mocked(city.replies).mockResolvedValue([]);
    await thread.loadOlder();
    expect(seqs()).toEqual([2, 3, 4, 5]);
  });

  it("keeps its replies when the root is deleted", async () => {
    await open([message(1), root(), reply(3)], [reply(3)]);
    tell(4, root({ deleted: true, body: "" }), "city.room.message.deleted");
    expect(state().root?.deleted).toBe(true);
    expect(seqs()).toEqual([2, 3]);
  });

  it("sends the root's id with each message", async () => {
    await open([message(1), root(), reply(3)], [reply(3)]);
    const say = vi.spyOn(city, "sendMessage").mockResolvedValue(reply(4, { author: OKSANA, reply_to: "m3" }));
    thread.send("words", "m3");
    await settled();
    expect(say.mock.calls[0]?.[1]).toMatchObject({ body: "words", reply_to: "m3", thread_root: "m2" });
    expect(seqs()).toEqual([2, 3, 4]);
    expect(inRoom()).toEqual([1, 2]);
  });

  it("marks itself as read and sends a threaded receipt", async () => {
    await open([message(1), root()], []);
    tell(3, reply(3));
    expect(threadReadUpTo(OKSANA.id, "city_general", "m2")).toBe(2);
    thread.readToEnd();
    expect(threadReadUpTo(OKSANA.id, "city_general", "m2")).toBe(3);
    expect(sockets.last.said).toContainEqual({ event: "city.room.read", message_id: "m3" });
    main.readToEnd();
    expect(sockets.last.said).toContainEqual({ event: "city.room.read", message_id: "m2" });
  });
});

describe("the list of threads", () => {
  it("sorts threads by their newest reply", async () => {
    await open([message(1), root(), reply(3)], [reply(3)]);
    vi.spyOn(city, "threads").mockResolvedValue([root()]);
    const stop = main.threads.start();
    await settled();
    const ids = () => main.threads.store.getState().roots.map(({ id }) => id);
    expect(ids()).toEqual(["m2"]);
    tell(4, message(1, { thread: summary(1, 4) }), "city.room.message.updated");
    expect(ids()).toEqual(["m1", "m2"]);
    tell(5, root({ thread: null }), "city.room.message.updated");
    expect(ids()).toEqual(["m1"]);
    stop();
  });
});

describe("older pages of a room", () => {
  it("are loaded until a message of the main timeline is found", async () => {
    vi.spyOn(city, "messagesAround").mockResolvedValue([root()]);
    await open([message(50)], []);
    main.store.setState(({ timeline }) => ({ timeline: { ...timeline, hasOlder: true } }));
    const pages = [
      [reply(48), reply(49)],
      [message(46), reply(47)],
    ];
    vi.spyOn(city, "messages").mockImplementation(() => Promise.resolve(pages.shift() ?? []));
    await main.loadOlder();
    expect(city.messages).toHaveBeenCalledTimes(2);
    expect(inRoom()).toEqual([46, 50]);
  });
});

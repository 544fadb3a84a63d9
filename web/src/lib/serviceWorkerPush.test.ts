import { beforeEach, describe, expect, it, vi } from "vitest";

type Handler = (event: object) => void;

interface Shown {
  title: string;
  body: string;
  tag: string;
  data: string;
}

/** A window of the pages. */
interface FakeWindow {
  url: string;
  focused: boolean;
  visibilityState: string;
  frameType: string;
  messages: unknown[];
  focus: () => Promise<FakeWindow>;
  postMessage: (message: unknown) => void;
}

const handlers = new Map<string, Handler>();
const shown: Shown[] = [];
const opened: string[] = [];
let windows: FakeWindow[] = [];

vi.stubGlobal("BUILD", "test");
vi.stubGlobal("self", {
  location: { origin: "https://city.example" },
  addEventListener: (kind: string, handler: Handler) => handlers.set(kind, handler),
  registration: {
    showNotification: (title: string, options: Omit<Shown, "title">) => {
      shown.push({ title, body: options.body, tag: options.tag, data: options.data });
      return Promise.resolve();
    },
  },
  clients: {
    matchAll: () => Promise.resolve(windows),
    openWindow: (path: string) => {
      opened.push(path);
      return Promise.resolve(null);
    },
  },
});
// The worker is a script for another global object, with types of its own.
const script = "../../worker/serviceWorker.ts";
await import(/* @vite-ignore */ script);

const PUSH = {
  kind: "mention",
  language: "uk",
  room_id: "city_general",
  slug: "general",
  room_name: "General",
  author_name: "Тарас",
  text: "ходи сюди",
  message_id: "m1",
  url: "/city/general/m1",
};

function fakeWindow(path: string, changes: Partial<FakeWindow> = {}): FakeWindow {
  const made: FakeWindow = {
    url: `https://city.example${path}`,
    focused: false,
    visibilityState: "hidden",
    frameType: "top-level",
    messages: [],
    focus: () => Promise.resolve(made),
    postMessage: (message) => made.messages.push(message),
    ...changes,
  };
  return made;
}

async function dispatch(kind: string, event: object): Promise<void> {
  const waits: Promise<unknown>[] = [];
  handlers.get(kind)?.({ ...event, waitUntil: (wait: Promise<unknown>) => waits.push(wait) });
  await Promise.all(waits);
}

const push = (changes: object = {}) => dispatch("push", { data: { json: () => ({ ...PUSH, ...changes }) } });
const close = vi.fn();
const click = () => dispatch("notificationclick", { notification: { data: PUSH.url, close } });

beforeEach(() => {
  windows = [];
  shown.length = 0;
  opened.length = 0;
});

describe("a push", () => {
  it("is shown with author, room and text", async () => {
    await push();
    expect(shown).toEqual([{ title: "Тарас · General", body: "ходи сюди", tag: "city_general", data: "/city/general/m1" }]);
  });

  it("of a direct chat is shown with its author", async () => {
    await push({ kind: "direct", room_name: null });
    expect(shown[0]?.title).toBe("Тарас");
  });

  it("without a text is shown as a new message, in the reader's language", async () => {
    await push({ text: "" });
    await push({ text: "", language: "en" });
    expect(shown.map(({ body }) => body)).toEqual(["Нове повідомлення", "New message"]);
  });

  it("is shown without characters that reorder a name", async () => {
    await push({ author_name: "N\u202egpj.exe" });
    expect(shown[0]?.title).toBe("Ngpj.exe · General");
  });

  it.each([
    ["/city/general", true, 0],
    ["/city/general/m0", true, 0],
    ["/city/city_general", true, 0],
    ["/city/general", false, 1],
    ["/city/general-2", true, 1],
    ["/", true, 1],
  ])("with a window at %s, focused: %s, is shown %d times", async (path, focused, times) => {
    windows = [fakeWindow(path, { focused })];
    await push();
    expect(shown).toHaveLength(times);
  });
});

describe("a click on the notification", () => {
  it("opens a window if none is open", async () => {
    await click();
    expect(opened).toEqual(["/city/general/m1"]);
    expect(close).toHaveBeenCalled();
  });

  it("opens the message in the visible window", async () => {
    const [hidden, seen] = [fakeWindow("/"), fakeWindow("/agents", { visibilityState: "visible" })];
    windows = [hidden, seen];
    await click();
    expect(opened).toEqual([]);
    expect(hidden.messages).toEqual([]);
    expect(seen.messages).toEqual([{ type: "open", path: "/city/general/m1" }]);
  });

  it("ignores frames of other sites", async () => {
    windows = [fakeWindow("/embed/general", { frameType: "nested" })];
    await click();
    expect(opened).toEqual(["/city/general/m1"]);
  });
});

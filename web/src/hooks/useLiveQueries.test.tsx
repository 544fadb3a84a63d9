import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { act, render } from "@testing-library/react";
import { MemoryRouter } from "react-router";
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import type { CityHome, Room } from "../api/types";
import { AgentPresenceBadge } from "../components/ui/AgentPresenceBadge";
import AgentsPage from "../features/agents/AgentsPage";
import CityRoomsPage from "../features/city/rooms/CityRoomsPage";
import HomePage from "../features/home/HomePage";
import { initI18n, setLanguage } from "../lib/i18n";
import { markRead } from "../lib/readMarks";
import { presenceEvents } from "../lib/globalPresenceClient";
import { usePresence } from "../stores/presence";
import { OKSANA, room } from "../testing/samples";
import { useLiveQueries } from "./useLiveQueries";

const HOUR_MS = 3_600_000;
const AT = "2026-11-22T12:00:00.000Z";
const later = (seconds: number) => new Date(Date.parse(AT) + seconds * 1_000).toISOString();

const listed = (number: number, changes: Partial<Room> = {}): Room => ({
  ...room(1, [], { last_event: AT }),
  id: `city_${number}`,
  slug: `room-${number}`,
  name: `Room ${number}`,
  members_online: 0,
  ...changes,
});
const ROOMS = Array.from({ length: 8 }, (_, number) => listed(number));
const HOME: CityHome = {
  online: { citizens: 0, agents: 0, people: 0, total: 0 },
  feed: [],
  popular_rooms: ROOMS.slice(0, 3),
  second_me: { available: false },
};

const lastMessage = (second: number, text: string) => ({
  id: `m${second}`,
  seq: second,
  author: OKSANA,
  text,
  msgtype: "m.text",
  created_at: later(second),
});

const PRESENCE = "/api/v1/presence";

/** By HTTP, every subject is away. */
const presences = (ids: string) => ids.split(",").map((id) => ({ user_id: id, status: "away", status_msg: null }));

const Badge = () => <AgentPresenceBadge slug="daarwizz" listed="online" />;

beforeAll(async () => {
  await initI18n();
  await setLanguage("en");
});

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date"] });
  usePresence.setState({ online: {}, hasSnapshot: true, connection: "live" });
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
  localStorage.clear();
});

function Live() {
  useLiveQueries();
  return null;
}

const pass = (ms: number) => act(() => vi.advanceTimersByTimeAsync(ms));
const tell = async (...rooms: Room[]) => {
  act(() => presenceEvents.onRooms(rooms));
  await pass(100);
};

/** Render a page; returns it with its requests to the city since it was first shown. */
async function open(Page: () => React.ReactNode) {
  const asked: string[] = [];
  const answers: Record<string, unknown> = { "/city/home": HOME, "/city/rooms": ROOMS, "/city/me/unread": [] };
  vi.stubGlobal("fetch", (url: string) => {
    const { pathname, searchParams } = new URL(url, "http://city.localhost");
    asked.push(pathname);
    if (pathname === PRESENCE) return Promise.resolve(Response.json({ presences: presences(searchParams.get("ids") ?? "") }));
    return Promise.resolve(Response.json(answers[pathname] ?? null));
  });
  const { container } = render(
    <QueryClientProvider client={new QueryClient()}>
      <MemoryRouter>
        <Live />
        <Page />
      </MemoryRouter>
    </QueryClientProvider>,
  );
  await pass(1_000);
  asked.splice(0);
  const card = (name: string) => [...container.querySelectorAll("li")].find(({ textContent }) => textContent.startsWith(name));
  const count = (path: string) => asked.filter((each) => each === path).length;
  return { asked, count, card, container };
}

describe("an idle hour", () => {
  it.each([
    ["home", HomePage],
    ["rooms", CityRoomsPage],
  ] as const)(
    "costs at most 12 requests: %s",
    async (_name, Page) => {
      const { asked } = await open(Page);
      await pass(HOUR_MS);
      expect(asked.length).toBeGreaterThan(0);
      expect(asked.length).toBeLessThanOrEqual(12);
    },
    60_000,
  );
});

describe("a changed room", () => {
  it("updates the list without a request", async () => {
    const { count, card } = await open(CityRoomsPage);
    await tell(listed(7, { members_online: 42, name: "Renamed" }));
    expect(card("Renamed")?.textContent).toContain("42 here");
    expect(count("/city/rooms")).toBe(0);
  });

  it("updates the front page without a request", async () => {
    const { count, card } = await open(HomePage);
    await tell(listed(2, { last_event: null, members_online: 9 }));
    expect(card("Room 2")?.textContent).toContain("9 here");
    expect(count("/city/home")).toBe(0);
  });

  it("adds its new message to the feed without a request", async () => {
    const { count, container } = await open(HomePage);
    await tell(listed(1, { last_event: later(1), last_seq: 1, last_message: lastMessage(1, "first words") }));
    const before = count("/city/home");
    await tell(listed(1, { last_event: later(2), last_seq: 2, last_message: lastMessage(2, "second words") }));
    expect(container.textContent).toContain("second words");
    expect(count("/city/home")).toBe(before);
  });

  it("is removed from the list when archived", async () => {
    const { count, card } = await open(CityRoomsPage);
    await tell(listed(7, { archived: true }));
    expect(card("Room 7")).toBeUndefined();
    expect(count("/city/rooms")).toBe(0);
  });

  it("causes one request of the list when new", async () => {
    const { count } = await open(CityRoomsPage);
    await tell(listed(1_000), listed(1_001));
    expect(count("/city/rooms")).toBe(1);
    for (let number = 0; number < 10; number += 1) await tell(listed(2_000 + number));
    expect(count("/city/rooms")).toBe(1);
    await pass(20_000);
    expect(count("/city/rooms")).toBe(2);
  });

  it("causes a request of the feed at most every 15 seconds", async () => {
    const { count } = await open(HomePage);
    for (let second = 1; second <= 60; second += 1) {
      act(() => presenceEvents.onRooms([listed(1, { last_event: later(second), last_seq: second })]));
      await pass(1_000);
    }
    expect(count("/city/home")).toBeGreaterThanOrEqual(4);
    expect(count("/city/home")).toBeLessThanOrEqual(5);
    await pass(15_000);
    const before = count("/city/home");
    await tell(listed(1, { last_event: later(60), last_seq: 60, members_online: 8 }));
    expect(count("/city/home")).toBe(before);
  });

  it("causes a request of unread counts at most every 15 seconds", async () => {
    markRead(null, "city_7", 1);
    const { count } = await open(CityRoomsPage);
    await tell(listed(7, { last_seq: 2 }));
    expect(count("/city/me/unread")).toBe(1);
    for (let seq = 3; seq <= 62; seq += 1) {
      act(() => presenceEvents.onRooms([listed(7, { last_seq: seq })]));
      await pass(1_000);
    }
    expect(count("/city/me/unread")).toBeLessThanOrEqual(6);
  });
});

describe("without the presence socket", () => {
  it("lists are requested every 30 seconds", async () => {
    const { count } = await open(CityRoomsPage);
    act(() => usePresence.setState({ connection: "waiting" }));
    await pass(90_500);
    expect(count("/city/rooms")).toBe(3);
  });

  it("lists are requested after a reconnect and after a resync", async () => {
    const { count } = await open(CityRoomsPage);
    act(() => usePresence.setState({ connection: "waiting" }));
    act(() => usePresence.setState({ connection: "live" }));
    await pass(100);
    expect(count("/city/rooms")).toBe(1);
    act(() => presenceEvents.onRooms(null));
    await pass(100);
    expect(count("/city/rooms")).toBe(2);
  });
});

describe("presence without the socket", () => {
  it("is requested every 30 seconds until the reconnect", async () => {
    const { count } = await open(Badge);
    await pass(HOUR_MS);
    expect(count(PRESENCE)).toBe(0);
    act(() => usePresence.setState({ connection: "waiting" }));
    await pass(45_000);
    act(() => usePresence.setState({ connection: "connecting" }));
    await pass(50_000);
    expect(count(PRESENCE)).toBe(3);
    act(() => usePresence.setState({ connection: "live" }));
    await pass(HOUR_MS);
    expect(count(PRESENCE)).toBe(3);
  });

  it("shows the statuses of the response", async () => {
    const { container } = await open(Badge);
    act(() => usePresence.setState({ online: { u_7: { status: "online", statusMsg: null } }, connection: "waiting" }));
    expect(container.textContent).toBe("offline");
    await pass(30_500);
    expect(container.textContent).toBe("away");
    expect(usePresence.getState().online.u_7?.status).toBe("away");
  });

  it("is not requested while the page is hidden", async () => {
    const { count } = await open(Badge);
    vi.spyOn(document, "visibilityState", "get").mockReturnValue("hidden");
    act(() => usePresence.setState({ connection: "waiting" }));
    await pass(90_500);
    expect(count(PRESENCE)).toBe(0);
  });

  it("is requested with the agents before the first snapshot", async () => {
    usePresence.setState({ hasSnapshot: false, connection: "connecting" });
    const { count } = await open(AgentsPage);
    await pass(60_500);
    expect(count("/api/v1/agents")).toBe(2);
    expect(count(PRESENCE)).toBe(0);
  });

  it("ignores a response older than the new connection", async () => {
    await open(Badge);
    act(() => usePresence.setState({ connection: "waiting" }));
    let answer: (response: Response) => void = () => undefined;
    vi.stubGlobal("fetch", () => new Promise<Response>((resolve) => (answer = resolve)));
    await pass(30_500);
    act(() => usePresence.setState({ connection: "live" }));
    answer(Response.json({ presences: presences("agent:daarwizz") }));
    await pass(100);
    expect(usePresence.getState().online).toEqual({});
  });
});

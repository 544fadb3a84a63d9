import { beforeEach, describe, expect, it } from "vitest";
import type { SubjectPresence } from "../api/types";
import { FakeEnvironment } from "../testing/fakeSockets";
import { PresenceConnection } from "./presence";

const BEAT_MS = 20_000;
const OKSANA = { userId: "u_1", token: "t1" };
const somebody = (user_id: string, status: SubjectPresence["status"]): SubjectPresence => ({
  user_id,
  status,
  status_msg: null,
  last_active_ago_ms: 0,
});

let environment: FakeEnvironment;
let told: [string, unknown][];
let presence: PresenceConnection;

beforeEach(() => {
  environment = new FakeEnvironment();
  told = [];
  presence = new PresenceConnection(
    environment,
    {
      onSnapshot: (users) => told.push(["snapshot", users]),
      onUpdates: (users) => told.push(["updates", users]),
      onRooms: (news) => told.push(["rooms", news]),
      onUnreadSnapshot: (rooms) => told.push(["unread snapshot", rooms]),
      onUnread: (rooms) => told.push(["unread", rooms]),
      onConnectionState: () => undefined,
      onTokenRejected: (token) => told.push(["refused", token]),
      onPageLeft: (citizen, session) => told.push(["left", [citizen.token, session]]),
    },
    "tab-1",
  );
});

function arrive(): void {
  presence.signIn(OKSANA);
  presence.start(BEAT_MS);
  environment.last.accept();
}

const beat = (status: string) => ({ event: "presence.heartbeat", user_id: "u_1", session_id: "tab-1", status });

describe("a signed-in client", () => {
  it("authenticates, then sends a heartbeat every 20 seconds", () => {
    arrive();
    expect(environment.last.said).toEqual([{ event: "auth", token: "t1" }, beat("online")]);
    environment.clock.pass(2 * BEAT_MS);
    expect(environment.last.said.slice(2)).toEqual([beat("online"), beat("online")]);
  });

  it("sends changes of activity at once", () => {
    arrive();
    presence.setStatus("away");
    presence.setStatus("away");
    presence.setStatus("online");
    expect(environment.last.said.slice(2)).toEqual([beat("away"), beat("online")]);
  });

  it("sends presence.offline and stops", () => {
    arrive();
    const socket = environment.last;
    presence.stop();
    expect(socket.said.at(-1)).toEqual({ event: "presence.offline", session_id: "tab-1" });
    expect(told).toContainEqual(["left", ["t1", "tab-1"]]);
    expect(socket.isClosed).toBe(true);
    environment.clock.pass(10 * BEAT_MS);
    expect(environment.sockets).toHaveLength(1);
  });

  it("reconnects after signing out", () => {
    arrive();
    const old = environment.last;
    presence.signIn(null);
    expect(old.said.at(-1)).toEqual({ event: "presence.offline", session_id: "tab-1" });
    expect(old.isClosed).toBe(true);
    environment.last.accept();
    environment.clock.pass(BEAT_MS);
    expect(environment.last.said).toEqual([]);
  });

  it("renews the token on the same connection", () => {
    arrive();
    presence.signIn({ ...OKSANA, token: "t2" });
    expect(environment.sockets).toHaveLength(1);
    expect(environment.last.said.at(-2)).toEqual({ event: "auth", token: "t2" });
  });

  it("reports a rejected token", () => {
    arrive();
    environment.last.receive({ event: "error", code: "token_expired", detail: "…" });
    environment.last.receive({ event: "error", code: "too_many_requests", detail: "…" });
    expect(told).toEqual([["refused", "t1"]]);
  });
});

describe("the presence stream", () => {
  it("delivers the snapshot and single or batched changes", () => {
    presence.start(BEAT_MS);
    environment.last.accept();
    environment.last.receive({ event: "presence.snapshot", users: [somebody("u_2", "online")], seq: 5 });
    environment.last.receive({ event: "presence.updates", updates: [somebody("u_2", "away")], seq: 6 });
    environment.last.receive({ event: "presence.update", ...somebody("u_3", "online"), seq: 7 });
    expect(told.map(([what]) => what)).toEqual(["snapshot", "updates", "updates"]);
  });

  it("delivers changed rooms", () => {
    presence.start(BEAT_MS);
    environment.last.accept();
    environment.last.receive({ event: "city.rooms.updated", rooms: [{ id: "city_general" }] });
    environment.last.receive({ event: "city.rooms.resync" });
    expect(told).toEqual([
      ["rooms", [{ id: "city_general" }]],
      ["rooms", null],
    ]);
  });

  it("resumes from the last seq", () => {
    presence.start(BEAT_MS);
    environment.last.accept();
    expect(environment.last.path).toBe("/ws/city/presence?batch=1&rooms=1&unread=1");
    environment.last.receive({ event: "presence.snapshot", users: [], seq: 1795317512345680 });
    environment.last.drop();
    environment.clock.pass(500);
    expect(environment.last.path).toBe("/ws/city/presence?batch=1&rooms=1&unread=1&since=1795317512345680");
  });

  it("reconnects after the machine slept", () => {
    arrive();
    environment.clock.sleep(10 * BEAT_MS);
    environment.clock.pass(1);
    expect(environment.sockets).toHaveLength(2);
    expect(environment.stillOpen).toEqual([environment.last]);
  });
});

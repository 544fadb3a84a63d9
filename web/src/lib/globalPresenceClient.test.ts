import { beforeEach, describe, expect, it } from "vitest";
import type { Status, SubjectPresence } from "../api/types";
import { FakeClock } from "../testing/fakeClock";
import { settled } from "../testing/samples";
import { POLL_EVERY_MS, PresenceClient, type EventStream } from "./globalPresenceClient";

class FakeStream implements EventStream {
  readyState = 1;
  isClosed = false;
  private readonly hearers = new Map<string, (event: { data?: unknown }) => void>();
  addEventListener = (name: string, hear: (event: { data?: unknown }) => void) => void this.hearers.set(name, hear);
  close = () => {
    this.isClosed = true;
  };
  tell(name: string, data?: unknown): void {
    this.hearers.get(name)?.({ data: JSON.stringify(data) });
  }
}

const is = (user_id: string, status: Status): SubjectPresence => ({ user_id, status, status_msg: null, last_active_ago_ms: 0 });

let clock: FakeClock;
let streams: FakeStream[];
let polls: (readonly string[])[];
let client: PresenceClient;
let seen: Status[];

beforeEach(() => {
  clock = new FakeClock();
  streams = [];
  polls = [];
  seen = [];
  client = new PresenceClient({
    open: () => {
      const stream = new FakeStream();
      streams.push(stream);
      return stream;
    },
    poll: (subjects) => {
      polls.push(subjects);
      return Promise.resolve(subjects.map((subject) => is(subject, "away")));
    },
    clock,
  });
});

const watch = (subject = "agent:varta") => client.watch(subject, (status) => seen.push(status));

describe("watching agents", () => {
  it("takes one stream for all of them, and tells each its own", () => {
    watch();
    const others: Status[] = [];
    client.watch("agent:litopys", (status) => others.push(status));
    streams[0]?.tell("snapshot", { users: [is("agent:varta", "online")] });
    streams[0]?.tell("presence", is("agent:varta", "away"));
    expect(streams).toHaveLength(1);
    expect(seen).toEqual(["online", "away"]);
    expect(others).toEqual(["offline"]);
  });

  it("tells those who come later what is known", () => {
    watch();
    streams[0]?.tell("snapshot", { users: [is("agent:varta", "online")] });
    watch();
    expect(seen).toEqual(["online", "online"]);
  });

  it("asks every 30 seconds while the stream is broken, and no longer when it is back", async () => {
    watch();
    streams[0]?.tell("error");
    await settled();
    expect(seen).toEqual(["away"]);
    clock.pass(2 * POLL_EVERY_MS);
    expect(polls).toHaveLength(3);
    streams[0]?.tell("snapshot", { users: [is("agent:varta", "online")] });
    clock.pass(10 * POLL_EVERY_MS);
    await settled();
    expect(polls).toHaveLength(3);
    expect(seen.at(-1)).toBe("online");
  });

  it("opens another stream for one that has given up", () => {
    watch();
    const [first] = streams;
    if (first) first.readyState = 2;
    first?.tell("error");
    expect(streams).toHaveLength(2);
  });

  it("closes the stream when nobody watches, and while the page is hidden", () => {
    const stop = watch();
    client.pause();
    expect(streams[0]?.isClosed).toBe(true);
    client.resume();
    expect(streams).toHaveLength(2);
    stop();
    expect(streams[1]?.isClosed).toBe(true);
    client.resume();
    expect(streams).toHaveLength(2);
  });
});

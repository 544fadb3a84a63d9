import { beforeEach, describe, expect, it } from "vitest";
import type { NewMessage } from "../../../api/city";
import { Problem } from "../../../api/problem";
import type { Message } from "../../../api/types";
import { FakeClock } from "../../../testing/fakeClock";
import { message, settled } from "../../../testing/samples";
import { Outbox } from "./outbox";
import type { Outgoing } from "./timeline";

let clock: FakeClock;
let said: NewMessage[];
let answers: Problem[];
let waiting: readonly Outgoing[];
let delivered: Message[];
let outbox: Outbox;

beforeEach(() => {
  clock = new FakeClock();
  [said, answers, waiting, delivered] = [[], [], [], []];
  let id = 0;
  outbox = new Outbox(
    {
      say: (what) => {
        said.push(what);
        const problem = answers.shift();
        return problem ? Promise.reject(problem) : Promise.resolve(message(said.length, { client_id: what.client_id }));
      },
      clock,
      random: () => 1,
      newId: () => `c${++id}`,
    },
    { changed: (now) => (waiting = now), delivered: (one) => delivered.push(one) },
  );
});

const away = new Problem(0, "unreachable", "…");
const states = () => waiting.map(({ clientId, state }) => `${clientId} ${state}`);

describe("what one says", () => {
  it("is shown at once and gone from here when the city has it", async () => {
    outbox.add("hello", null, null);
    expect(states()).toEqual(["c1 sending"]);
    await settled();
    expect(waiting).toEqual([]);
    expect(delivered.map(({ client_id: id }) => id)).toEqual(["c1"]);
  });

  it("waits while the city is away, and goes in the order said, each under its one name", async () => {
    answers.push(away);
    outbox.add("first", "m7", null);
    outbox.add("second", null, null);
    await settled();
    expect(states()).toEqual(["c1 waiting", "c2 sending"]);
    clock.pass(500);
    await settled();
    expect(said.map(({ client_id: id, body }) => `${id} ${body}`)).toEqual(["c1 first", "c1 first", "c2 second"]);
    expect(said[1]?.reply_to).toBe("m7");
    expect(waiting).toEqual([]);
  });

  it("waits as long as the city asks for", async () => {
    answers.push(new Problem(429, "too_many_requests", "…", 12_000));
    outbox.add("hello", null, null);
    await settled();
    clock.pass(11_999);
    await settled();
    expect(said).toHaveLength(1);
    clock.pass(1);
    await settled();
    expect(said).toHaveLength(2);
  });

  it("fails when the city does not want it, and holds up nobody", async () => {
    answers.push(new Problem(403, "muted", "…"));
    outbox.add("first", null, null);
    outbox.add("second", null, null);
    await settled();
    expect(states()).toEqual(["c1 failed"]);
    expect(delivered).toHaveLength(1);
    outbox.retry("c1");
    await settled();
    expect(waiting).toEqual([]);
  });

  it("waits for its author to sign in again, however long", async () => {
    answers.push(new Problem(401, "token_invalid", "…"));
    outbox.add("hello", null, null);
    await settled();
    clock.pass(3_600_000);
    await settled();
    expect(said).toHaveLength(1);
    expect(states()).toEqual(["c1 waiting"]);
    outbox.deliverNow();
    await settled();
    expect(waiting).toEqual([]);
  });

  it("is not said again when it was heard although its answer was lost", async () => {
    answers.push(away);
    outbox.add("hello", null, null);
    await settled();
    outbox.heard("c1");
    clock.pass(60_000);
    await settled();
    expect(said).toHaveLength(1);
    expect(waiting).toEqual([]);
  });
});

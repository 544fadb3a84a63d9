import { beforeEach, describe, expect, it } from "vitest";
import type { Status, SubjectPresence } from "../api/types";
import { presenceEvents } from "../lib/globalPresenceClient";
import { FakeClock } from "../testing/fakeClock";
import { initPresence, statusOf, usePresence } from "./presence";

const clock = new FakeClock();
initPresence(clock);

function update(subject: `agent:${string}`, status: Status): SubjectPresence {
  return { user_id: subject, status, status_msg: null, last_active_ago_ms: 0 };
}

function shown(): Record<string, Status> {
  const { online } = usePresence.getState();
  return { varta: statusOf(online, "agent:varta"), pysar: statusOf(online, "agent:pysar") };
}

describe("the presence store", () => {
  beforeEach(() => {
    clock.pass(1_000);
    presenceEvents.onSnapshot([]);
  });

  it("shows a lone change at once", () => {
    presenceEvents.onUpdates([update("agent:varta", "online")]);
    expect(shown().varta).toBe("online");
  });

  it("renders a stream of changes five times a second, the last of each subject", () => {
    let renders = 0;
    const stop = usePresence.subscribe(() => (renders += 1));
    for (let frame = 0; frame < 20; frame++) {
      presenceEvents.onUpdates([update("agent:varta", frame % 2 ? "online" : "away"), update("agent:pysar", "online")]);
      clock.pass(50);
    }
    clock.pass(200);
    expect(shown()).toEqual({ varta: "online", pysar: "online" });
    expect(renders).toBeLessThanOrEqual(6);
    stop();
  });

  it("applies a change that is taken back meanwhile", () => {
    presenceEvents.onUpdates([update("agent:varta", "online")]);
    presenceEvents.onUpdates([update("agent:varta", "away")]);
    presenceEvents.onUpdates([update("agent:varta", "online")]);
    clock.pass(200);
    expect(shown().varta).toBe("online");
  });

  it("forgets what waits when a snapshot comes", () => {
    presenceEvents.onUpdates([update("agent:varta", "online")]);
    presenceEvents.onUpdates([update("agent:pysar", "online")]);
    presenceEvents.onSnapshot([update("agent:varta", "away")]);
    clock.pass(200);
    expect(shown()).toEqual({ varta: "away", pysar: "offline" });
  });
});

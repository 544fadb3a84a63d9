import { describe, expect, it } from "vitest";
import type { Clock } from "./clock";
import { Throttle } from "./throttle";

describe("a throttle", () => {
  it("waits no longer than its interval when the clock is set back", () => {
    const delays: number[] = [];
    let now = 3_600_000;
    const clock: Clock = {
      now: () => now,
      after: (ms) => {
        delays.push(ms);
        return () => undefined;
      },
      every: () => () => undefined,
    };
    const throttle = new Throttle(clock, 200, () => undefined);
    throttle.schedule();
    now = 0;
    throttle.schedule();
    expect(delays).toEqual([200]);
  });
});

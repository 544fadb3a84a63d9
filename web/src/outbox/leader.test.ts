import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { FakeClock } from "../testing/fakeClock";
import { electLeader, Lease } from "./leader";

let clock: FakeClock;
let leading: string[];

function compete(tab: string): Lease {
  return new Lease(
    {
      onElected: () => {
        leading = [...leading, tab];
      },
      onLost: () => {
        leading = leading.filter((other) => other !== tab);
      },
    },
    clock,
    tab,
  );
}

beforeEach(() => {
  localStorage.clear();
  clock = new FakeClock();
  leading = [];
});

describe("a lease without locks", () => {
  it("belongs to one tab until it stops", () => {
    const first = compete("a");
    compete("b");
    clock.pass(60_000);
    expect(leading).toEqual(["a"]);
    first.stop();
    clock.pass(2_000);
    expect(leading).toContain("b");
  });

  it("expires with a dead tab", () => {
    localStorage.setItem("city.outbox", `dead ${clock.now() + 6_000}`);
    compete("b");
    clock.pass(5_000);
    expect(leading).toEqual([]);
    clock.pass(2_000);
    expect(leading).toEqual(["b"]);
  });

  it("ignores an expiry in the far future", () => {
    localStorage.setItem("city.outbox", `dead ${clock.now() + 3_600_000}`);
    compete("b");
    expect(leading).toEqual(["b"]);
  });

  it("can be taken from a frozen tab", () => {
    compete("a");
    compete("b").steal();
    clock.pass(2_000);
    expect(leading).toEqual(["b"]);
  });
});

describe("a browser without locks", () => {
  afterEach(() => vi.unstubAllGlobals());

  it("elects a leader by lease after one refusal", async () => {
    const request = vi.fn(() => Promise.reject(new DOMException("third-party storage is blocked", "SecurityError")));
    vi.stubGlobal("navigator", { locks: { request } });
    const election = electLeader({ onElected: () => leading.push("a"), onLost: () => undefined }, clock, "a");
    // The rejections of endless requests would be handled before this timer.
    await new Promise((resolve) => setTimeout(resolve, 0));
    expect(request).toHaveBeenCalledOnce();
    expect(leading).toEqual(["a"]);
    election.steal();
    election.stop();
    expect(request).toHaveBeenCalledOnce();
  });
});

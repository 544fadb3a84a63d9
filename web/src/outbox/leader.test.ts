import { beforeEach, describe, expect, it } from "vitest";
import { FakeClock } from "../testing/fakeClock";
import { Lease } from "./leader";

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
  it("is one tab's, until it stops", () => {
    const first = compete("a");
    compete("b");
    clock.pass(60_000);
    expect(leading).toEqual(["a"]);
    first.stop();
    clock.pass(2_000);
    expect(leading).toContain("b");
  });

  it("passes on from a tab that died", () => {
    localStorage.setItem("city.outbox", `dead ${clock.now() + 6_000}`);
    compete("b");
    clock.pass(5_000);
    expect(leading).toEqual([]);
    clock.pass(2_000);
    expect(leading).toEqual(["b"]);
  });

  it("is not held for ever by a clock that was wrong", () => {
    localStorage.setItem("city.outbox", `dead ${clock.now() + 3_600_000}`);
    compete("b");
    expect(leading).toEqual(["b"]);
  });

  it("can be taken from a tab that gives no sign", () => {
    compete("a");
    compete("b").steal();
    clock.pass(2_000);
    expect(leading).toEqual(["b"]);
  });
});

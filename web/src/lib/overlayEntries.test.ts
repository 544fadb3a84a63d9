import { beforeEach, describe, expect, it, vi } from "vitest";
import { settled } from "../testing/samples";
import { OverlayEntries } from "./overlayEntries";

/** A session history: `arrive` completes the last call of `go`, as the browser does later. */
class FakeHistory {
  entries: { page: string; overlays?: number }[] = [{ page: "rooms" }, { page: "room" }];
  at = 1;
  private delta = 0;

  constructor(private readonly onPopState: () => void) {}

  get state() {
    return this.entries[this.at];
  }
  pushState(state: unknown) {
    this.entries = [...this.entries.slice(0, this.at + 1), state as { page: string }];
    this.at += 1;
  }
  replaceState(state: unknown) {
    this.entries[this.at] = state as { page: string };
  }
  go(delta = 0) {
    this.delta = delta;
  }
  arrive() {
    this.press(this.delta);
    this.delta = 0;
  }
  /** The reader presses Back or Forward. */
  press(delta: number) {
    this.at += delta;
    this.onPopState();
  }
}

let entries: OverlayEntries;
let history: FakeHistory;
const now = () => [history.state?.page, history.state?.overlays ?? 0];

beforeEach(() => {
  entries = new OverlayEntries();
  history = new FakeHistory(() => entries.onPopState());
  entries.start(history);
});

describe("the history entries of overlays", () => {
  it("close the topmost overlay first", () => {
    const [card, ban] = [vi.fn(), vi.fn()];
    entries.add(card);
    entries.add(ban);
    expect(now()).toEqual(["room", 2]);
    history.press(-1);
    expect([card, ban].map(({ mock }) => mock.calls.length)).toEqual([0, 1]);
    history.press(-1);
    expect(card).toHaveBeenCalledOnce();
    history.press(-1);
    expect(now()).toEqual(["rooms", 0]);
  });

  it("close every overlay when the reader goes back several steps", () => {
    const order: string[] = [];
    entries.add(() => void order.push("card"));
    entries.add(() => void order.push("ban"));
    history.press(-3);
    expect(order).toEqual(["ban", "card"]);
    expect(now()).toEqual(["rooms", 0]);
  });

  it("are left when an overlay closes by itself", async () => {
    const remove = entries.add(() => undefined);
    remove();
    await settled();
    history.arrive();
    expect(now()).toEqual(["room", 0]);
  });

  it("stay when another overlay takes the place of one", async () => {
    const go = vi.spyOn(history, "go");
    const remove = entries.add(() => undefined);
    remove();
    entries.add(() => undefined);
    await settled();
    expect(go).not.toHaveBeenCalled();
    expect(now()).toEqual(["room", 1]);
  });

  it("are left before a navigation, which follows in the order of its calls", async () => {
    const removeCard = entries.add(() => undefined);
    const removeBan = entries.add(() => undefined);
    entries.navigate(() => history.pushState({ page: "agent" }));
    entries.navigate(() => history.replaceState({ page: "agent 2" }));
    removeBan();
    removeCard();
    await settled();
    history.arrive();
    expect(history.entries.map(({ page }) => page)).toEqual(["rooms", "room", "agent 2"]);
  });

  it("wait for a traversal that has begun", async () => {
    const remove = entries.add(() => undefined);
    remove();
    await settled();
    entries.navigate(() => history.pushState({ page: "agent" }));
    expect(now()).toEqual(["room", 1]);
    history.arrive();
    expect(now()).toEqual(["agent", 0]);
    expect(history.entries.map(({ page }) => page)).toEqual(["rooms", "room", "agent"]);
  });

  it("return at once from the entry of an overlay that has closed", () => {
    entries.add(() => undefined);
    history.press(-1);
    history.press(1);
    history.arrive();
    expect(now()).toEqual(["room", 0]);
  });

  it("are left after a reload", () => {
    history.pushState({ page: "room", overlays: 1 });
    const reloaded = new OverlayEntries();
    history = Object.assign(new FakeHistory(() => reloaded.onPopState()), { entries: history.entries, at: history.at });
    reloaded.start(history);
    history.arrive();
    expect(now()).toEqual(["room", 0]);
  });

  it("end in a tab whose history was cut", () => {
    vi.useFakeTimers();
    history.pushState({ page: "room", overlays: 1 });
    entries.start(history);
    vi.advanceTimersByTime(10_000);
    vi.useRealTimers();
    expect(now()).toEqual(["room", 0]);
  });

  it("do not exist in a frame", () => {
    const framed = new OverlayEntries();
    const before = history.entries.length;
    framed.add(() => undefined);
    const navigate = vi.fn();
    framed.navigate(navigate);
    expect(history.entries).toHaveLength(before);
    expect(navigate).toHaveBeenCalledOnce();
  });
});

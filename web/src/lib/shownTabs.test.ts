import { afterEach, describe, expect, it, vi } from "vitest";
import { isAnyTabShown, reportShown } from "./shownTabs";

let visibility: DocumentVisibilityState = "visible";
Object.defineProperty(document, "visibilityState", { get: () => visibility, configurable: true });

function become(state: DocumentVisibilityState): void {
  visibility = state;
  document.dispatchEvent(new Event("visibilitychange"));
}

/** The locks of a browser, which all tabs share. */
function stubLocks(): Set<object> {
  const held = new Set<{ name: string }>();
  const request = async (name: string, _options: object, whileHeld: () => Promise<void>) => {
    const lock = { name };
    held.add(lock);
    await whileHeld();
    held.delete(lock);
  };
  vi.stubGlobal("navigator", { locks: { request, query: () => Promise.resolve({ held: [...held] }) } });
  return held;
}

afterEach(() => vi.unstubAllGlobals());

describe("a hidden tab", () => {
  it("knows of visible ones", async () => {
    const held = stubLocks();
    reportShown();
    expect(await isAnyTabShown()).toBe(true);
    for (const state of ["visible", "hidden", "visible", "visible"] as const) become(state);
    await Promise.resolve();
    expect(held.size).toBe(1);
    become("hidden");
    await Promise.resolve();
    expect(await isAnyTabShown()).toBe(false);
    void navigator.locks.request("city.shown", { mode: "shared" }, () => new Promise(() => undefined));
    expect(await isAnyTabShown()).toBe(true);
  });

  it("knows only of itself without locks", async () => {
    vi.stubGlobal("navigator", {});
    reportShown();
    for (const state of ["visible", "hidden"] as const) {
      visibility = state;
      expect(await isAnyTabShown()).toBe(state === "visible");
    }
  });
});

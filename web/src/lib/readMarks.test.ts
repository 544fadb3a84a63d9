import { afterEach, expect, it, vi } from "vitest";
import { markRead, subscribeToReadMarks, readMarksVersion, readUpTo } from "./readMarks";

afterEach(() => localStorage.clear());

it("notifies listeners of reads in this and other tabs", () => {
  const listener = vi.fn();
  const stop = subscribeToReadMarks(listener);
  const before = readMarksVersion();
  markRead("u_1", "r", 4);
  expect(readUpTo("u_1", "r")).toBe(4);
  expect(readMarksVersion()).toBeGreaterThan(before);
  markRead("u_1", "r", 3);
  expect(listener).toHaveBeenCalledTimes(1);
  window.dispatchEvent(new StorageEvent("storage", { key: "city.read.u_1.r" }));
  window.dispatchEvent(new StorageEvent("storage", { key: "city.theme" }));
  expect(listener).toHaveBeenCalledTimes(2);
  stop();
  markRead("u_1", "r", 9);
  expect(listener).toHaveBeenCalledTimes(2);
});

import { act, renderHook } from "@testing-library/react";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { message } from "../../../testing/samples";
import type { Row } from "./rows";
import { useAutoScroll } from "./useAutoScroll";

const WINDOW_PX = 400;
const row = (seq: number): Row => ({ kind: "message", key: `m${seq}`, message: message(seq), isFirst: true });

/** A list at its end, with the measures of a browser: `scrollTop` never exceeds the scrollable height. */
function following() {
  let [top, height, viewport] = [600, 1_000, WINDOW_PX];
  const list = document.createElement("div");
  Object.defineProperties(list, {
    clientHeight: { get: () => viewport },
    scrollHeight: { get: () => height },
    scrollTop: { get: () => top, set: (value: number) => (top = Math.max(0, Math.min(value, height - viewport))) },
  });
  const { result, rerender } = renderHook(({ rows }) => useAutoScroll({ current: list }, rows, 0, false), {
    initialProps: { rows: [row(1), row(2)] },
  });
  const scroll = (to: { top: number; height: number; viewport?: number }) =>
    act(() => {
      ({ top, height, viewport = WINDOW_PX } = to);
      result.current.look();
    });
  scroll({ top: 600, height: 1_000 });
  vi.advanceTimersByTime(1_000);
  const grow = (to: number) => (height = to);
  return { list, result, scroll, grow, arrive: (seq: number) => rerender({ rows: [row(1), row(2), row(seq)] }) };
}

const isAtEnd = (list: HTMLElement) => list.scrollTop + list.clientHeight === list.scrollHeight;

beforeEach(() => void vi.useFakeTimers({ toFake: ["performance", "setTimeout", "clearTimeout"] }));
afterEach(() => void vi.useRealTimers());

describe("useAutoScroll", () => {
  it("distinguishes a resize from a person's scrolling", () => {
    const { list, result, scroll } = following();
    scroll({ top: 660, height: 1_000, viewport: 340 });
    scroll({ top: 0, height: 1_000, viewport: 340 });
    expect(isAtEnd(list)).toBe(true);
    vi.advanceTimersByTime(1_000);
    scroll({ top: 300, height: 1_000, viewport: 340 });
    expect(list.scrollTop).toBe(300);
    expect(result.current.isAtBottom).toBe(false);
  });

  it.each([
    ["shrink", { top: 400, height: 900 }],
    ["shrink by less than new ones add", { top: 400, height: 1_100 }],
    ["grow", { top: 600, height: 1_300 }],
    ["stay while the composer loses files and gets others", { top: 500, height: 1_000, viewport: 390 }],
  ])("continues when rows %s", (_, moved) => {
    const { list, result, scroll, arrive } = following();
    scroll(moved);
    arrive(3);
    expect(isAtEnd(list)).toBe(true);
    expect(result.current).toMatchObject({ isAtBottom: true, newBelow: 0 });
  });

  it("stops when a person scrolls up", () => {
    const { list, result, scroll, arrive } = following();
    scroll({ top: 400, height: 1_000 });
    arrive(3);
    expect(list.scrollTop).toBe(400);
    expect(result.current).toMatchObject({ isAtBottom: false, newBelow: 1 });
  });

  it("stops when a person scrolls up after a resize of rows", () => {
    const { list, result, scroll } = following();
    scroll({ top: 400, height: 900 });
    scroll({ top: 300, height: 900 });
    expect(list.scrollTop).toBe(300);
    expect(result.current.isAtBottom).toBe(false);
  });

  it("stops with a jump to a row", () => {
    const { list, result, scroll, grow } = following();
    grow(5_000);
    result.current.beforeJump();
    scroll({ top: 2_000, height: 5_000 });
    expect(list.scrollTop).toBe(2_000);
    expect(result.current.isAtBottom).toBe(false);
  });

  it("does not begin near the end of rows that are not measured yet", () => {
    const { list, result, scroll, grow } = following();
    result.current.beforeJump();
    scroll({ top: 590, height: 1_000 });
    grow(3_000);
    scroll({ top: 700, height: 3_000 });
    act(() => void vi.advanceTimersByTime(150));
    scroll({ top: 500, height: 2_500 });
    expect(list.scrollTop).toBe(500);
    act(() => void vi.advanceTimersByTime(1_000));
    expect(list.scrollTop).toBe(500);
    expect(result.current.isAtBottom).toBe(false);
  });

  it("begins at the end that a jump reaches, once the list has settled", () => {
    const { list, result, scroll, arrive, grow } = following();
    result.current.beforeJump();
    scroll({ top: 590, height: 1_000 });
    act(() => void vi.advanceTimersByTime(1_000));
    expect(result.current.isAtBottom).toBe(true);
    grow(1_200);
    arrive(3);
    scroll({ top: 590, height: 1_200 });
    expect(isAtEnd(list)).toBe(true);
  });

  it("begins at once when the reader scrolls to the end", () => {
    const { result, scroll } = following();
    result.current.beforeJump();
    scroll({ top: 100, height: 1_000 });
    expect(result.current.isAtBottom).toBe(false);
    result.current.endSettling();
    scroll({ top: 600, height: 1_000 });
    expect(result.current.isAtBottom).toBe(true);
  });
});

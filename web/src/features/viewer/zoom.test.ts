import { describe, expect, it } from "vitest";
import { MAX_SCALE, movedBy, WHOLE, zoomedAt } from "./zoom";

const SIZE = { width: 400, height: 300 };

describe("the zoom of a picture", () => {
  it("keeps the point under the pointer in place", () => {
    expect(zoomedAt(WHOLE, 2, { x: 100, y: -50 }, SIZE)).toEqual({ scale: 2, x: -100, y: 50 });
    const back = zoomedAt(zoomedAt(WHOLE, 2, { x: 100, y: -50 }, SIZE), 0.5, { x: 100, y: -50 }, SIZE);
    expect(back).toEqual(WHOLE);
  });

  it("stays between the whole picture and its maximum", () => {
    expect(zoomedAt(WHOLE, 0.1, { x: 0, y: 0 }, SIZE)).toEqual(WHOLE);
    expect(zoomedAt(WHOLE, 100, { x: 0, y: 0 }, SIZE).scale).toBe(MAX_SCALE);
  });

  it("does not move the picture out of sight", () => {
    expect(movedBy(WHOLE, { x: 50, y: 50 }, SIZE)).toEqual(WHOLE);
    expect(movedBy({ scale: 2, x: 0, y: 0 }, { x: 999, y: -999 }, SIZE)).toEqual({ scale: 2, x: 200, y: -150 });
  });
});

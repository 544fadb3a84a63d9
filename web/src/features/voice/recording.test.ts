import { describe, expect, it, vi } from "vitest";
import { city } from "../../api/city";
import type { Media } from "../../api/types";
import { deliver } from "../../outbox/delivery";
import type { Entry } from "../../outbox/entry";
import { message } from "../../testing/samples";
import { loudnessOf, waveformOf } from "./recording";

describe("the waveform of a recording", () => {
  it("has values from 0 (silent) to 1024 (loud)", () => {
    expect(loudnessOf(new Float32Array(8))).toBe(0);
    expect(loudnessOf(new Float32Array(8).fill(-0.125))).toBe(512);
    expect(loudnessOf(new Float32Array(8).fill(1))).toBe(1024);
  });

  it("has the loudest of neighbouring values, and no more values than Element draws", () => {
    expect(waveformOf([1, 2, 3])).toEqual([1, 2, 3]);
    const long = Array.from({ length: 640 }, (_, index) => index);
    expect(waveformOf(long)).toHaveLength(64);
    expect(waveformOf(long).slice(0, 2)).toEqual([9, 19]);
    expect(waveformOf([])).toEqual([]);
  });
});

describe("the delivery of a voice message", () => {
  it("sends duration and waveform with the file", async () => {
    const send = vi.spyOn(city, "sendMessage").mockResolvedValue(message(1));
    const voice = { duration_ms: 4_200, waveform: [1, 2] };
    const media = { mxc: "mxc://city/voice" } as Media;
    const action = { kind: "message", body: "", replyTo: null, file: null, media, voice } as const;
    await deliver({ id: "e1", room: { id: "r" }, action } as unknown as Entry, "t1", () => Promise.resolve());
    expect(send).toHaveBeenCalledWith("r", expect.objectContaining({ voice, media: media.mxc }), "t1");
  });
});

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { city } from "../api/city";
import type { Agent } from "../api/types";
import { usePeople } from "../stores/people";
import { wantAgentFace } from "./agentFaces";

const agent = (slug: string) => ({ slug, display_name: `Agent ${slug}`, avatar_url: null, color: null }) as Agent;
const nameOf = (slug: string) => usePeople.getState().faces[`agent:${slug}`]?.name;

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe("an agent's name", () => {
  it("is asked for again after a failure, also when nobody else comes to show it", async () => {
    const ask = vi
      .spyOn(city, "agentsOf")
      .mockRejectedValueOnce(new Error("away"))
      .mockResolvedValue([agent("varta")]);
    wantAgentFace("varta");
    await vi.advanceTimersByTimeAsync(1_000);
    expect(nameOf("varta")).toBeUndefined();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(nameOf("varta")).toBe("Agent varta");
    expect(ask).toHaveBeenCalledTimes(2);
  });

  it("is asked for again by the next who shows an agent that was not known yet", async () => {
    const ask = vi
      .spyOn(city, "agentsOf")
      .mockResolvedValueOnce([])
      .mockResolvedValue([agent("new")]);
    wantAgentFace("new");
    await vi.advanceTimersByTimeAsync(1_000);
    wantAgentFace("new");
    await vi.advanceTimersByTimeAsync(1_000);
    expect(nameOf("new")).toBe("Agent new");
    wantAgentFace("new");
    await vi.advanceTimersByTimeAsync(1_000);
    expect(ask).toHaveBeenCalledTimes(2);
  });
});

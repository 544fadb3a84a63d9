import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { city } from "../api/city";
import type { Agent } from "../api/types";
import { useProfiles } from "./profiles";
import { requestAgentProfile } from "./agentProfiles";

const agent = (slug: string) => ({ slug, display_name: `Agent ${slug}`, avatar_url: null, color: null }) as Agent;
const nameOf = (slug: string) => useProfiles.getState().profiles[`agent:${slug}`]?.name;

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
    requestAgentProfile("varta");
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
    requestAgentProfile("new");
    await vi.advanceTimersByTimeAsync(1_000);
    requestAgentProfile("new");
    await vi.advanceTimersByTimeAsync(1_000);
    expect(nameOf("new")).toBe("Agent new");
    requestAgentProfile("new");
    await vi.advanceTimersByTimeAsync(1_000);
    expect(ask).toHaveBeenCalledTimes(2);
  });
});

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

describe("agentProfiles", () => {
  it("requests a profile again after a failure", async () => {
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

  it("requests an unknown agent again for the next component", async () => {
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

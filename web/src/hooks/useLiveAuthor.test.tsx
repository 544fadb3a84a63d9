import { renderHook, waitFor } from "@testing-library/react";
import { expect, it, vi } from "vitest";
import { city } from "../api/city";
import type { Agent, Author } from "../api/types";
import { useLiveAuthor } from "./useLiveAuthor";

it("loads the colour of an agent, which messages do not carry", async () => {
  const agent = { slug: "scribe", display_name: "Scribe", avatar_url: null, color: "#7c3aed" } as Agent;
  vi.spyOn(city, "agentsOf").mockResolvedValue([agent]);
  const author: Author = {
    kind: "agent",
    id: "scribe",
    display_name: "Scribe",
    avatar_url: null,
    matrix_user_id: "@agent_scribe:city.localhost",
  };
  const { result } = renderHook(() => useLiveAuthor(author));
  expect(result.current).toEqual({ name: "Scribe", avatarUrl: null, color: null });
  await waitFor(() => expect(result.current.color).toBe("#7c3aed"));
});

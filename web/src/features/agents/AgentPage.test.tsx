import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { render, screen } from "@testing-library/react";
import { MemoryRouter, Route, Routes } from "react-router";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { city } from "../../api/city";
import type { Agent } from "../../api/types";
import { initI18n, setLanguage } from "../../lib/i18n";
import AgentPage from "./AgentPage";

const VARTA = { slug: "varta", display_name: "Varta", role: "guardian", rooms: [], district: null } as unknown as Agent;

beforeAll(async () => {
  await initI18n();
});

async function open(language: "en" | "uk", changes: Partial<Agent>) {
  await setLanguage(language);
  vi.spyOn(city, "agent").mockResolvedValue({ ...VARTA, ...changes });
  render(
    <QueryClientProvider client={new QueryClient()}>
      <MemoryRouter initialEntries={["/agents/varta"]}>
        <Routes>
          <Route path="/agents/:id" element={<AgentPage />} />
        </Routes>
      </MemoryRouter>
    </QueryClientProvider>,
  );
  await screen.findByRole("heading", { name: "Varta" });
}

describe("the role of an agent", () => {
  it.each([
    ["uk", "Вартовий вузла node-1", "Вартовий"],
    ["en", "Guardian of node-1", "Guardian"],
    ["en", "guardian", "guardian"],
  ] as const)("is shown once if the title has it (%s, %s)", async (language, title, role) => {
    await open(language, { title });
    expect(screen.getAllByText(new RegExp(role, "i"))).toHaveLength(1);
  });

  it.each([null, "Вартовий вузла node-1"])("is a fact if the title has it not (%s)", async (title) => {
    await open("en", { title });
    expect(screen.getByText("Guardian").tagName).toBe("DD");
  });
});

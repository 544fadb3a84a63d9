import { render, screen } from "@testing-library/react";
import { MemoryRouter } from "react-router";
import { beforeAll, expect, it, vi } from "vitest";
import { initI18n, setLanguage } from "../../../lib/i18n";
import { DirectChats } from "./DirectChats";

const chat = (name: string) => ({
  id: `direct_${name}`,
  subject: `u_${name}`,
  citizen: { kind: "citizen", id: `u_${name}`, display_name: name, avatar_url: null, matrix_user_id: `@${name}:city.localhost` },
  unread: 0,
  last_message: null,
});

vi.mock("../../../hooks/useDirectChat", () => ({ useDirectChats: () => [chat("Olena"), chat("Taras")] }));

beforeAll(async () => {
  await initI18n();
  await setLanguage("en");
});

function show(sought: string): string[] {
  render(
    <MemoryRouter>
      <DirectChats sought={sought} />
    </MemoryRouter>,
  );
  return screen.queryAllByRole("link").map((link) => link.getAttribute("href") ?? "");
}

it("shows only the chats with the name", () => {
  expect(show(" tar ")).toEqual(["/city/direct_Taras"]);
});

it("shows all chats without a search", () => {
  expect(show("")).toEqual(["/city/direct_Olena", "/city/direct_Taras"]);
});

import { render, screen } from "@testing-library/react";
import { MemoryRouter } from "react-router";
import { beforeAll, expect, it, vi } from "vitest";
import { initI18n, setLanguage } from "../../../lib/i18n";
import { DirectChats } from "./DirectChats";

const chat = (name: string, more: object = {}) => ({
  id: `direct_${name}`,
  subject: `u_${name}`,
  citizen: { kind: "citizen", id: `u_${name}`, display_name: name, avatar_url: null, matrix_user_id: `@${name}:city.localhost` },
  unread: 0,
  last_message: null,
  opened_on_matrix: false,
  read_only: null,
  ...more,
});

const onMatrix = chat("Scribe", { opened_on_matrix: true, read_only: "encrypted" });

vi.mock("../../../hooks/useDirectChat", () => ({ useDirectChats: () => [chat("Olena"), chat("Taras"), onMatrix] }));

beforeAll(async () => {
  await initI18n();
  await setLanguage("en");
});

function show(searchText: string): string[] {
  render(
    <MemoryRouter>
      <DirectChats searchText={searchText} />
    </MemoryRouter>,
  );
  return screen.queryAllByRole("link").map((link) => link.getAttribute("href") ?? "");
}

it("shows only the chats with the name", () => {
  expect(show(" tar ")).toEqual(["/city/direct_Taras"]);
});

it("shows all chats without a search", () => {
  expect(show("")).toEqual(["/city/direct_Olena", "/city/direct_Taras", "/city/direct_Scribe"]);
});

it("marks an encrypted chat on Matrix, and shows nothing of it", () => {
  show("scribe");
  const link = screen.getByRole("link");
  expect(link.textContent).toContain("on Matrix");
  expect(link.textContent).toContain("Encrypted: open it in your Matrix client");
});

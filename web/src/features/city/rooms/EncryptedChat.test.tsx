import { render, screen } from "@testing-library/react";
import { MemoryRouter } from "react-router";
import { beforeAll, expect, it, vi } from "vitest";
import type { DirectChat } from "../../../api/types";
import { initI18n, setLanguage } from "../../../lib/i18n";
import EncryptedChat from "./EncryptedChat";

vi.mock("../../../hooks/useSite", () => ({ useSite: () => ({ matrix: { client_url: "https://app.element.io" } }) }));

const chat = {
  id: "direct_1",
  subject: "agent:scribe",
  citizen: {
    kind: "agent",
    id: "scribe",
    display_name: "Scribe",
    avatar_url: null,
    matrix_user_id: "@agent_scribe:city.localhost",
  },
  matrix_room_id: "!chat:city.localhost",
  read_only: "encrypted",
} as DirectChat;

beforeAll(async () => {
  await initI18n();
});

it.each([
  ["en", "This chat is encrypted", "Open in a Matrix client"],
  ["uk", "Ця розмова зашифрована", "Відкрити в клієнті Matrix"],
] as const)("says why and leads to the Matrix client in %s", async (language, words, link) => {
  await setLanguage(language);
  render(
    <MemoryRouter>
      <EncryptedChat chat={chat} />
    </MemoryRouter>,
  );
  expect(screen.getByText(new RegExp(words))).toBeDefined();
  expect(screen.getByRole("link", { name: link }).getAttribute("href")).toBe(
    "https://app.element.io/#/room/!chat:city.localhost",
  );
});

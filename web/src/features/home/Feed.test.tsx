import { render, screen } from "@testing-library/react";
import { MemoryRouter } from "react-router";
import { beforeAll, expect, it } from "vitest";
import type { FeedEntry } from "../../api/types";
import { initI18n, setLanguage } from "../../lib/i18n";
import { Feed } from "./Feed";

beforeAll(() => initI18n());

const actor = {
  kind: "citizen",
  id: "u_1",
  display_name: "Olena",
  avatar_url: null,
  matrix_user_id: "@citizen_u_1:city.localhost",
} as const;

it.each([
  ["en", null, "A new room opens: Builders"],
  ["uk", null, "Відчиняється нова кімната: Builders"],
  ["en", actor, "Olena opens the room Builders"],
  ["uk", actor, "Olena відкриває кімнату Builders"],
] as const)("names who opened a room if it is known (%s)", async (language, by, text) => {
  await setLanguage(language);
  const entry: FeedEntry = {
    id: "1",
    kind: "room_created",
    room_id: "city_builders",
    room: { slug: "builders", name: "Builders" },
    actor: by,
    payload: {},
    created_at: "2026-11-30T10:00:00.000Z",
  };
  render(
    <MemoryRouter>
      <Feed entries={[entry]} />
    </MemoryRouter>,
  );
  expect(screen.getByRole("listitem").textContent).toContain(text);
});

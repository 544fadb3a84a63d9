import { render } from "@testing-library/react";
import { describe, expect, it } from "vitest";
import en from "../../../i18n/en";
import uk from "../../../i18n/uk";
import { TARAS } from "../../../testing/samples";
import type { RoomEvent } from "../../../lib/roomStream";
import { createTranslator, setTranslator, type Language } from "../../../lib/i18n";
import { MembershipNotice } from "./MembershipNotice";
import { EMPTY_TIMELINE, withEvent } from "./timeline";

const OLENA = { ...TARAS, display_name: "Олена" };

type Leave = Pick<Extract<RoomEvent, { event: "city.room.leave" }>, "cause" | "by" | "reason">;

function noticeText(leave: Partial<Leave>, language: Language): string {
  setTranslator(createTranslator(language, { en, uk }[language]));
  const event = {
    seq: 2,
    member: TARAS,
    created_at: "2026-11-22T12:00:02Z",
    members_online: 1,
    by: null,
    reason: null,
    ...leave,
  };
  const { membershipEvents: notes } = withEvent(EMPTY_TIMELINE, { event: "city.room.leave", ...event });
  const { container } = render(
    <>
      {notes.map((note) => (
        <MembershipNotice key={note.seq} note={note} />
      ))}
    </>,
  );
  return container.textContent;
}

describe("the notice about a removed member", () => {
  it.each([
    [{ cause: "left" }, "Taras leaves", "Taras виходить"],
    [{}, "Taras leaves", "Taras виходить"],
    [{ cause: "kicked", by: OLENA }, "Taras was removed by Олена", "Олена вилучає з кімнати: Taras"],
    [
      { cause: "kicked", by: OLENA, reason: "галас" },
      "Taras was removed by Олена. Reason: галас",
      "Олена вилучає з кімнати: Taras. Причина: галас",
    ],
    [{ cause: "kicked" }, "Taras was removed", "З кімнати вилучено: Taras"],
    [{ cause: "banned", by: OLENA }, "Taras was banned by Олена", "Олена блокує в кімнаті: Taras"],
    [{ cause: "banned", reason: "spam" }, "Taras was banned. Reason: spam", "У кімнаті заблоковано: Taras. Причина: spam"],
  ] satisfies [Partial<Leave>, string, string][])("reads for %o: %s / %s", (leave, inEnglish, inUkrainian) => {
    const name = TARAS.display_name;
    expect(noticeText(leave, "en")).toBe(inEnglish.replace("Taras", name));
    expect(noticeText(leave, "uk")).toBe(inUkrainian.replace("Taras", name));
  });
});

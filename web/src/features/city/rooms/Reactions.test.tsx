import { fireEvent, render, screen } from "@testing-library/react";
import { beforeAll, describe, expect, it } from "vitest";
import type { ReactionCount } from "../../../api/types";
import { initI18n, setLanguage } from "../../../lib/i18n";
import { visitorEnvironment } from "../../../testing/roomEnvironment";
import { message } from "../../../testing/samples";
import { RoomModel } from "./roomModel";
import { Reactions } from "./Reactions";
import { RoomContext } from "./useRoom";

const CAT: ReactionCount = {
  emoji: "mxc://far.example/cat",
  count: 2,
  by: ["u_2"],
  url: "/city/media/far.example/cat",
  shortcode: "party cat",
};

beforeAll(async () => {
  await initI18n();
  await setLanguage("en");
});

function show(reaction: ReactionCount): HTMLElement {
  const model = new RoomModel("general", visitorEnvironment());
  render(
    <RoomContext value={model}>
      <Reactions message={message(1, { reactions: [reaction] })} />
    </RoomContext>,
  );
  return screen.getByRole("button");
}

describe("a picture reaction", () => {
  it("shows the picture with its name as label", () => {
    const button = show(CAT);
    expect(button.querySelector("img")?.getAttribute("src")).toBe(CAT.url);
    expect(button.getAttribute("aria-label")).toBe("party cat: 2 people");
    expect(button.outerHTML).not.toContain("mxc:");
  });

  it("shows its name without the picture", () => {
    const button = show(CAT);
    const picture = button.querySelector("img");
    if (picture) fireEvent.error(picture);
    expect(button.textContent).toBe("party cat 2");
    expect(button.querySelector("img")).toBeNull();
  });

  it("never shows the URI", () => {
    for (const shortcode of [null, "", " \u202e"]) {
      const button = show({ ...CAT, url: null, shortcode });
      expect(button.textContent).toBe("picture 2");
      expect(button.outerHTML).not.toContain("mxc:");
      document.body.replaceChildren();
    }
  });

  it("shows an emoji unchanged", () => {
    expect(show({ ...CAT, emoji: "🌻", url: null, shortcode: null }).textContent).toBe("🌻 2");
  });
});

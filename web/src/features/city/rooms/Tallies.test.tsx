import { fireEvent, render, screen } from "@testing-library/react";
import { beforeAll, describe, expect, it } from "vitest";
import type { ReactionCount } from "../../../api/types";
import { beginSpeaking, choose } from "../../../lib/i18n";
import { FakeWorld } from "../../../testing/fakeSockets";
import { message } from "../../../testing/samples";
import { outbox } from "../../../stores/outbox";
import { RoomModel } from "./roomModel";
import { Tallies } from "./Tallies";
import { RoomContext } from "./useRoom";

const CAT: ReactionCount = {
  emoji: "mxc://far.example/cat",
  count: 2,
  by: ["u_2"],
  url: "/city/media/far.example/cat",
  shortcode: "party cat",
};

beforeAll(async () => {
  await beginSpeaking();
  await choose("en");
});

function show(tally: ReactionCount): HTMLElement {
  const { clock, open, random } = new FakeWorld();
  const nobody = {
    token: () => null,
    refused: () => undefined,
    me: () => null,
    addAuthors: () => undefined,
    isShown: () => true,
  };
  const model = new RoomModel("general", { clock, open, random, outbox, ...nobody });
  render(
    <RoomContext value={model}>
      <Tallies message={message(1, { reactions: [tally] })} />
    </RoomContext>,
  );
  return screen.getByRole("button");
}

describe("a reaction that is a picture", () => {
  it("shows the picture, and says its name", () => {
    const button = show(CAT);
    expect(button.querySelector("img")?.getAttribute("src")).toBe(CAT.url);
    expect(button.getAttribute("aria-label")).toBe("party cat: 2 people");
    expect(button.outerHTML).not.toContain("mxc:");
  });

  it("shows its name when the picture is damaged, or not given out", () => {
    const button = show(CAT);
    const picture = button.querySelector("img");
    if (picture) fireEvent.error(picture);
    expect(button.textContent).toBe("party cat 2");
    expect(button.querySelector("img")).toBeNull();
  });

  it("is called a picture when nobody named it, and never by its address", () => {
    for (const shortcode of [null, "", " \u202e"]) {
      const button = show({ ...CAT, url: null, shortcode });
      expect(button.textContent).toBe("picture 2");
      expect(button.outerHTML).not.toContain("mxc:");
      document.body.replaceChildren();
    }
  });

  it("leaves an emoji as it is", () => {
    expect(show({ ...CAT, emoji: "🌻", url: null, shortcode: null }).textContent).toBe("🌻 2");
  });
});

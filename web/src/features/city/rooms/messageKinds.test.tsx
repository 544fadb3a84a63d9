import { fireEvent, render, screen } from "@testing-library/react";
import { beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { city } from "../../../api/city";
import type { Media, Message, Poll } from "../../../api/types";
import { initI18n, setLanguage } from "../../../lib/i18n";
import { useSession } from "../../../stores/session";
import { visitorEnvironment } from "../../../testing/roomEnvironment";
import { message, OKSANA, settled } from "../../../testing/samples";
import { parseCommand } from "./commands";
import { mapUrl } from "./LocationView";
import { MessageRow } from "./MessageRow";
import { toggleSelection } from "./PollView";
import { RoomModel } from "./roomModel";
import { RoomContext } from "./useRoom";
import { barHeights, formatDuration } from "./VoiceMessage";

const POLL: Poll = {
  question: "Where to?",
  kind: "disclosed",
  max_selections: 1,
  options: [
    { id: "1", text: "Podil", votes: 3 },
    { id: "2", text: "Obolon", votes: 1 },
  ],
  voters: 4,
  ended_at: null,
};

const FILE: Media = {
  mxc: "mxc://city.localhost/f",
  url: "/city/media/city.localhost/f",
  thumbnail_url: null,
  mimetype: "audio/ogg",
  filename: "Voice.ogg",
  size: 1,
  width: null,
  height: null,
  duration_ms: 65_000,
  voice: true,
  waveform: [0, 1024],
  sticker: false,
};

beforeAll(async () => {
  await initI18n();
  await setLanguage("en");
});

beforeEach(() => {
  useSession.setState({ session: { userId: OKSANA.id, token: "t1", displayName: OKSANA.display_name, expiresAt: Infinity } });
  vi.spyOn(city, "ownVote").mockResolvedValue({ selections: ["1"] });
});

function show(changes: Partial<Message>): HTMLElement {
  const model = new RoomModel("general", visitorEnvironment());
  const { container } = render(
    <RoomContext value={model}>
      <MessageRow message={message(1, changes)} isFirst={false} isActive={false} isFlashed={false} onJump={() => undefined} />
    </RoomContext>,
  );
  return container;
}

describe("a poll", () => {
  it("keeps a selection made before the own vote was loaded", async () => {
    const responses: (() => void)[] = [];
    vi.spyOn(city, "ownVote").mockImplementation(
      (_room, _message, signal) =>
        new Promise((resolve, reject) => {
          signal?.addEventListener("abort", () => reject(new Error("aborted")));
          responses.push(() => resolve({ selections: [] }));
        }),
    );
    vi.spyOn(city, "vote").mockResolvedValue(message(1, { poll: POLL }));
    show({ poll: POLL });
    fireEvent.click(await screen.findByRole("radio", { name: /Obolon/ }));
    for (const respond of responses) respond();
    await settled();
    expect(screen.getByRole("radio", { name: /Obolon/, checked: true })).toBeTruthy();
  });

  it("shows results and own vote, and accepts another vote", async () => {
    const vote = vi.spyOn(city, "vote").mockResolvedValue(message(1, { poll: POLL }));
    const shown = show({ poll: POLL, body: "Where to?\n1. Podil\n2. Obolon" });
    expect(await screen.findByRole("radio", { name: /Podil/, checked: true })).toBeTruthy();
    expect(shown.textContent).toContain("3 votes");
    expect(shown.textContent).not.toContain("1. Podil");
    fireEvent.click(screen.getByRole("radio", { name: /Obolon/ }));
    expect(vote).toHaveBeenCalledWith("general", "m1", ["2"]);
    await settled();
  });

  it("cannot be voted in after its end, or without signing in", () => {
    show({ poll: { ...POLL, ended_at: "2026-11-22T12:00:00Z" } });
    expect(screen.getByRole("group").matches(":disabled")).toBe(true);
    document.body.replaceChildren();
    useSession.setState({ session: null });
    show({ poll: POLL });
    expect(screen.getByRole("group").matches(":disabled")).toBe(true);
  });

  it("shows no results if the response has none", () => {
    const options = POLL.options.map((option) => ({ ...option, votes: null }));
    expect(show({ poll: { ...POLL, kind: "undisclosed", options } }).textContent).toContain("Results after the end");
    expect(screen.queryByText(/3 votes/)).toBeNull();
  });

  it("limits the number of selections", () => {
    expect(toggleSelection(["1"], "2", 1)).toEqual(["2"]);
    expect(toggleSelection(["1"], "2", 2)).toEqual(["1", "2"]);
    expect(toggleSelection(["1", "2"], "1", 2)).toEqual(["2"]);
    expect(toggleSelection(["1", "2"], "3", 2)).toEqual(["2", "3"]);
  });
});

describe("other kinds of messages", () => {
  it("shows a voice message with its length and loudness", () => {
    const shown = show({ media: FILE, body: FILE.filename, msgtype: "m.audio" });
    expect(screen.getByRole("group", { name: "Voice message" })).toBeTruthy();
    expect(shown.querySelector("time:last-of-type")).toBeTruthy();
    expect(shown.textContent).toContain("1:05");
    expect(barHeights([0, 1024], 4)).toEqual([0, 0, 1, 1]);
    expect(barHeights([], 2)).toEqual([0, 0]);
    expect(barHeights([5_000, -3], 2)).toEqual([1, 0]);
    expect(formatDuration(59.6)).toBe("1:00");
  });

  it("links a location to a map without loading it", () => {
    const location = { latitude: 50.45, longitude: -30.52, accuracy_m: 35, description: null };
    const shown = show({ location, msgtype: "m.location", body: "here" });
    expect(screen.getByRole("link").getAttribute("href")).toBe(mapUrl(location));
    expect(mapUrl(location)).toBe("https://www.openstreetmap.org/?mlat=50.450000&mlon=-30.520000#map=16/50.450000/-30.520000");
    expect(shown.querySelector("img, iframe")).toBeNull();
    expect(shown.textContent).toContain("here");
  });

  it.each([
    ["m.image", "image/png", 1, 1, "1px"],
    ["m.image", "image/png", 1_000_000_000, 1, "352px"],
    ["m.image", "image/png", 900, 1600, "180px"],
    ["m.video", "video/mp4", 1, 1, "1px"],
    ["m.sticker", "image/png", 1, 1, "1px"],
  ])("shows a %s of %s that is announced as %i × %i larger than a speck", (kind, mimetype, width, height, shownWidth) => {
    const sticker = kind === "m.sticker";
    const media = { ...FILE, mimetype, filename: "speck", voice: false, sticker, width, height };
    const container = show({ msgtype: sticker ? "m.image" : kind, body: "", media });
    const style = container.querySelector<HTMLElement>("article img, article video")?.style;
    expect([style?.width, style?.minWidth, style?.minHeight]).toEqual([shownWidth, "32px", "32px"]);
  });

  it("shows a sticker at its size, without its name", () => {
    const media = { ...FILE, mimetype: "image/png", filename: "wave", voice: false, sticker: true, width: 512, height: 256 };
    const shown = show({ media, msgtype: "m.image", body: "wave" });
    const picture = screen.getByRole("img", { name: "wave" });
    expect(picture.style.width).toBe("192px");
    expect(shown.textContent).not.toContain("wave");
    expect(screen.queryByRole("button")).toBeNull();
  });

  it("marks a mention of the room", () => {
    const row = (mentionsRoom: boolean) => show({ mentions_room: mentionsRoom }).querySelector("article")?.className;
    expect(row(true)).not.toBe(row(false));
  });

  it("shows emotes with a star, and names unsupported kinds", () => {
    expect(show({ msgtype: "m.emote", body: "waves" }).textContent).toContain(`* ${OKSANA.display_name} waves`);
    expect(show({ unsupported: true, original_type: "org.x" }).textContent).toContain("sent from another app");
  });

  it("sends /me as an emote, and other text unchanged", () => {
    expect(parseCommand("/me waves")).toEqual({ body: "waves", isEmote: true });
    for (const text of ["/me", "/me  ", "/mean", " /me waves", "say /me", "/shrug"]) {
      expect(parseCommand(text)).toEqual({ body: text, isEmote: false });
    }
  });
});

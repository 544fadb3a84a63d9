import { cleanup, render } from "@testing-library/react";
import { afterEach, expect, it } from "vitest";
import type { Media } from "../../../api/types";
import { FakeEnvironment } from "../../../testing/fakeSockets";
import { roomEnvironment } from "../../../testing/roomEnvironment";
import { OutgoingRow } from "./OutgoingRow";
import { RoomModel } from "./roomModel";
import { RoomContext } from "./useRoom";

afterEach(cleanup);

const MEDIA = {
  mxc: "mxc://hs/picture",
  url: "/city/media/hs/picture",
  thumbnail_url: "/city/media/hs/picture/thumbnail",
  filename: "picture.png",
  mimetype: "image/png",
  size: 3,
  width: 40,
  height: 30,
} as Media;

it("shows an uploaded picture from the device, and requests none from the city", () => {
  const outgoing = {
    clientId: "c1",
    body: "",
    replyTo: null,
    threadRoot: null,
    media: MEDIA,
    file: new File(["png"], "picture.png", { type: "image/png" }),
    createdAt: "2026-11-22T18:07:12.310Z",
    state: "sending" as const,
    problem: null,
    isSlowed: false,
  };
  const { container } = render(
    <RoomContext value={new RoomModel("general", roomEnvironment(new FakeEnvironment()))}>
      <OutgoingRow outgoing={outgoing} isFirst />
    </RoomContext>,
  );
  expect(container.querySelector("img")?.src).toMatch(/^blob:/);
});

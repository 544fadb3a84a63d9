import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { act, render } from "@testing-library/react";
import { Profiler } from "react";
import { MemoryRouter } from "react-router";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { city } from "../../../api/city";
import { FakeEnvironment } from "../../../testing/fakeSockets";
import { message, OKSANA, room, settled } from "../../../testing/samples";
import { outbox } from "../../../stores/outbox";
import { CityRoomMessageList } from "./CityRoomMessageList";
import { TimelineStart } from "./TimelineStart";
import { RoomModel } from "./roomModel";
import { RoomContext } from "./useRoom";

const drawn = vi.fn();
let sockets: FakeEnvironment;
let model: RoomModel;

async function show(opened: ReturnType<typeof room>) {
  sockets = new FakeEnvironment();
  vi.spyOn(city, "room").mockResolvedValue(opened);
  vi.spyOn(city, "receipts").mockResolvedValue([]);
  model = new RoomModel("general", {
    clock: sockets.clock,
    open: sockets.open,
    random: sockets.random,
    token: () => null,
    onTokenRejected: () => undefined,
    me: () => null,
    subject: () => null,
    addAuthors: () => undefined,
    isShown: () => true,
    outbox,
  });
  model.start();
  await settled();
  render(
    <MemoryRouter>
      <RoomContext value={model}>
        <Profiler id="list" onRender={drawn}>
          <CityRoomMessageList roomName="General" />
        </Profiler>
      </RoomContext>
    </MemoryRouter>,
  );
  drawn.mockClear();
}

const fifty = () => Array.from({ length: 50 }, (_, index) => message(index + 1));

describe("the message list", () => {
  beforeEach(async () => {
    await show(room(50, fifty()));
    act(() => sockets.last.accept());
    drawn.mockClear();
  });

  it("is not rendered for typing and presence", () => {
    act(() => {
      sockets.last.receive({ event: "city.room.typing", typing: ["u_2"] });
      sockets.last.receive({ event: "city.room.typing", typing: [] });
      sockets.last.receive({ event: "city.room.presence", user_id: "u_2", status: "online", members_online: 2 });
    });
    expect(drawn).not.toHaveBeenCalled();
  });

  it("is rendered for a message", () => {
    act(() => sockets.last.receive({ event: "city.room.message", seq: 51, message: message(51, { author: OKSANA }) }));
    expect(drawn).toHaveBeenCalled();
  });
});

describe("the line above the oldest message", () => {
  // The list renders no rows here, as the DOM of the tests has no layout.
  it.each([
    { may_read: true, has_older: false, text: "room.beginning" },
    { may_read: false, has_older: false, text: "\u00a0" },
    { may_read: true, has_older: true, text: "\u00a0" },
  ])("reads $text with may_read: $may_read and has_older: $has_older", async ({ may_read, has_older, text }) => {
    await show({ ...room(50, fifty()), has_older, may_read });
    const top = render(
      <QueryClientProvider client={new QueryClient()}>
        <RoomContext value={model}>
          <TimelineStart roomName="General" hasOlder={has_older} isLoadingOlder={false} />
        </RoomContext>
      </QueryClientProvider>,
    );
    expect(top.container.textContent).toBe(text);
  });
});

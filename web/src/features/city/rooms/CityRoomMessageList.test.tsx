import { act, render } from "@testing-library/react";
import { Profiler } from "react";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { city } from "../../../api/city";
import { FakeWorld } from "../../../testing/fakeSockets";
import { message, OKSANA, room, settled } from "../../../testing/samples";
import { outbox } from "../../../stores/outbox";
import { CityRoomMessageList } from "./CityRoomMessageList";
import { RoomModel } from "./roomModel";
import { RoomContext } from "./useRoom";

const drawn = vi.fn();
let sockets: FakeWorld;
let model: RoomModel;
let list: ReturnType<typeof render>;

async function show(opened: ReturnType<typeof room>) {
  sockets = new FakeWorld();
  vi.spyOn(city, "room").mockResolvedValue(opened);
  model = new RoomModel("general", {
    clock: sockets.clock,
    open: sockets.open,
    random: sockets.random,
    token: () => null,
    refused: () => undefined,
    me: () => null,
    meet: () => undefined,
    isShown: () => true,
    outbox,
  });
  model.start();
  await settled();
  list = render(
    <RoomContext value={model}>
      <Profiler id="list" onRender={drawn}>
        <CityRoomMessageList roomName="General" />
      </Profiler>
    </RoomContext>,
  );
  drawn.mockClear();
}

const fifty = () => Array.from({ length: 50 }, (_, index) => message(index + 1));

describe("the conversation", () => {
  beforeEach(async () => {
    await show(room(50, fifty()));
    act(() => sockets.last.accept());
    drawn.mockClear();
  });

  it("is not drawn for somebody who types, comes or goes", () => {
    act(() => {
      sockets.last.tell({ event: "city.room.typing", typing: ["u_2"] });
      sockets.last.tell({ event: "city.room.typing", typing: [] });
      sockets.last.tell({ event: "city.room.presence", user_id: "u_2", status: "online", members_online: 2 });
    });
    expect(drawn).not.toHaveBeenCalled();
  });

  it("is drawn for what is said", () => {
    act(() => sockets.last.tell({ event: "city.room.message", seq: 51, message: message(51, { author: OKSANA }) }));
    expect(drawn).toHaveBeenCalled();
  });
});

describe("the beginning of the conversation", () => {
  it.each([
    [true, true],
    [false, false],
  ])("is named only to a reader of the room (may_read: %s)", async (may_read, isNamed) => {
    await show({ ...room(50, fifty()), has_older: false, may_read });
    expect(list.container.textContent.includes("room.beginning")).toBe(isNamed);
  });
});

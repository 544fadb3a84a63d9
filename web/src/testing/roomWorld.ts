import type { RoomWorld } from "../features/city/rooms/conversation";
import { newId } from "../lib/ids";
import { deliver } from "../outbox/delivery";
import { Outbox } from "../outbox/outbox";
import type { FakeWorld } from "./fakeSockets";
import { FakeBrowser } from "./fakeTabs";
import { OKSANA } from "./samples";

/** What a room's model needs from outside: Oksana's outbox in the only tab, and the fake sockets. */
export function roomWorld(sockets: FakeWorld, changes: Partial<RoomWorld> = {}): RoomWorld {
  const outbox = new Outbox({
    storage: new FakeBrowser().storage,
    channel: { tell: () => undefined, listen: () => undefined },
    compete: (candidate) => {
      candidate.leads();
      return { take: () => undefined, stop: () => undefined };
    },
    deliver,
    person: () => ({ userId: OKSANA.id, token: "t1" }),
    clock: sockets.clock,
    random: sockets.random,
    newId,
  });
  outbox.start();
  return {
    clock: sockets.clock,
    open: sockets.open,
    random: sockets.random,
    token: () => "t1",
    refused: () => undefined,
    me: () => OKSANA.id,
    isShown: () => true,
    outbox,
    addAuthors: () => undefined,
    ...changes,
  };
}

import type { RoomEnvironment } from "../features/city/rooms/conversation";
import { newId } from "../lib/ids";
import { deliver } from "../outbox/delivery";
import { Outbox } from "../outbox/outbox";
import { FakeEnvironment } from "./fakeSockets";
import { FakeBrowser } from "./fakeTabs";
import { OKSANA } from "./samples";

/** The environment of a room's model: Oksana's outbox in the only tab, and the fake sockets. */
export function roomEnvironment(sockets: FakeEnvironment, changes: Partial<RoomEnvironment> = {}): RoomEnvironment {
  const outbox = new Outbox({
    storage: new FakeBrowser().storage,
    channel: { post: () => undefined, subscribe: () => undefined },
    electLeader: (candidate) => {
      candidate.onElected();
      return { steal: () => undefined, stop: () => undefined };
    },
    deliver,
    sender: () => ({ userId: OKSANA.id, token: "t1" }),
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
    onTokenRejected: () => undefined,
    me: () => OKSANA.id,
    subject: () => OKSANA.id,
    isShown: () => true,
    outbox,
    addAuthors: () => undefined,
    ...changes,
  };
}

/** The environment of a visitor, who is not signed in. */
export function visitorEnvironment(): RoomEnvironment {
  return roomEnvironment(new FakeEnvironment(), { token: () => null, me: () => null, subject: () => null });
}

import { useEffect, useMemo, useState } from "react";
import { city } from "../../../api/city";
import type { Message, Receipt, SubjectId } from "../../../api/types";
import { subjectOf } from "../../../lib/subjects";
import type { RoomEvent } from "../../../lib/roomStream";
import { useSession } from "../../../stores/session";
import { readersByMessage } from "./receipts";
import type { RoomModel } from "./roomModel";
import { useConversation, useRoom } from "./useRoom";

type Receipts = ReadonlyMap<SubjectId, Receipt>;

const NONE: Receipts = new Map();

/** The readers of the conversation by the last message that each has read, without the reader at the page. */
export function useReaders(messages: readonly Message[]): ReadonlyMap<string, Receipt[]> {
  const room = useRoom();
  const { threadRoot } = useConversation();
  const me = useSession((state) => state.subject);
  const [receipts, setReceipts] = useState(NONE);
  useEffect(() => followReceipts(room, threadRoot, setReceipts), [room, threadRoot]);
  return useMemo(() => readersByMessage(receipts.values(), messages, me), [receipts, messages, me]);
}

/**
 * Load the receipts of a timeline whenever the room is loaded, and follow their changes. Returns a function that stops it.
 *
 * Events that arrive during a load may be newer than the response, so they are applied after it.
 */
export function followReceipts(room: RoomModel, threadRoot: string | null, show: (receipts: Receipts) => void): () => void {
  let receipts: Receipts = NONE;
  let arrived: RoomEvent[] | null = null;
  let loads = 0;

  const apply = (events: readonly RoomEvent[]) => {
    receipts = events.reduce((now, event) => changed(now, event, threadRoot), receipts);
    show(receipts);
  };
  const load = async () => {
    const number = ++loads;
    const waiting: RoomEvent[] = (arrived = []);
    try {
      const loaded = await city.receipts(room.name, threadRoot);
      if (number !== loads) return;
      room.environment.addAuthors(loaded.map(({ reader }) => reader));
      receipts = new Map(loaded.map((receipt) => [receipt.user_id, receipt]));
    } catch {
      // The room's page shows that the city is unreachable; the room is loaded again when it is reachable.
      if (number !== loads) return;
    }
    arrived = null;
    apply(waiting);
  };

  const leave = room.subscribe({
    onMessage: () => undefined,
    onLoaded: () => void load(),
    onEvent: (event) => {
      if (arrived) arrived.push(event);
      else if (changed(receipts, event, threadRoot) !== receipts) apply([event]);
    },
  });
  if (room.store.getState().room) void load();
  return () => {
    loads += 1;
    leave();
  };
}

function changed(receipts: Receipts, event: RoomEvent, threadRoot: string | null): Receipts {
  switch (event.event) {
    case "city.room.read":
      if (event.thread_root !== threadRoot) return receipts;
      return new Map(receipts).set(event.user_id, event);
    case "city.room.leave": {
      const subject = subjectOf(event.member);
      if (!receipts.has(subject)) return receipts;
      return new Map([...receipts].filter(([reader]) => reader !== subject));
    }
    default:
      return receipts;
  }
}

// Messages and other events of a room: sending them, and what the timeline shows.
import { contains, describe } from "./describe.js";

/** Returns the loaded events of a room: of its live timeline, then of its threads. */
function loaded(room) {
  const threaded = room.getThreads().flatMap((thread) => thread.events);
  return [...new Set([...room.getLiveTimeline().getEvents(), ...threaded])];
}

/** Waits for the echo of a sent event by the sync, so that it can be replied to. */
async function sent(current, roomId, { event_id }, timeoutMs) {
  const isThere = () => current.room(roomId).findEventById(event_id)?.status === null;
  await current.until(isThere, timeoutMs, `echo of ${event_id}`);
  return { event_id };
}

export const events = {
  /** Sends an event of any type; `content` is sent as it is. */
  async send(current, { room_id, type, content, timeout_ms }) {
    return sent(current, room_id, await current.client.sendEvent(room_id, null, type, content), timeout_ms);
  },

  /** Sends a reply as Element Web does: in the thread of the event, but to the root of a thread in the room's timeline. */
  async send_reply(current, { room_id, event_id, body, timeout_ms }) {
    const target = current.event(room_id, event_id);
    const content = {
      msgtype: "m.text",
      body,
      "m.mentions": target.getSender() === current.client.getUserId() ? {} : { user_ids: [target.getSender()] },
      "m.relates_to": { "m.in_reply_to": { event_id } },
    };
    const thread = target.isThreadRoot ? null : (target.threadRootId ?? null);
    return sent(current, room_id, await current.client.sendMessage(room_id, thread, content), timeout_ms);
  },

  /**
   * Sends a message in a thread; the SDK adds the relation and the fallback for clients without threads. A new thread is
   * created before, as Element Web does when its panel opens.
   */
  async send_in_thread(current, { room_id, root_id, content, timeout_ms }) {
    const room = current.room(room_id);
    const root = current.event(room_id, root_id);
    const thread = room.getThread(root_id) ?? room.createThread(root_id, root, [root], true);
    await current.until(() => thread.initialEventsFetched, timeout_ms, `events of thread ${root_id}`);
    return sent(current, room_id, await current.client.sendMessage(room_id, root_id, content), timeout_ms);
  },

  async redact(current, { room_id, event_id, reason }) {
    return current.client.redactEvent(room_id, event_id, undefined, { reason });
  },

  /** Returns the last `limit` events of the live timeline, oldest first. */
  async timeline(current, { room_id, limit = 50 }) {
    return current.room(room_id).getLiveTimeline().getEvents().slice(-limit).map(describe);
  },

  /** Loads up to `limit` older events into the live timeline; returns whether there are more. */
  async load_older(current, { room_id, limit = 50 }) {
    const timeline = current.room(room_id).getLiveTimeline();
    return current.client.paginateEventTimeline(timeline, { backwards: true, limit });
  },

  /** Waits for an event of which `fields` is a part, as `describe` shows it; returns the first that is loaded or comes. */
  async wait_for(current, { fields, room_id, timeout_ms }) {
    const search = () => {
      const searched = room_id ? [current.client.getRoom(room_id)].filter(Boolean) : current.client.getRooms();
      return searched
        .flatMap(loaded)
        .map(describe)
        .find((event) => contains(event, fields));
    };
    return current.until(search, timeout_ms, `an event with ${JSON.stringify(fields)}`);
  },
};

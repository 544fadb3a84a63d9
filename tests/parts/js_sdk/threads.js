// The SDK's model of threads, loaded as Element Web loads it.
import { describe } from "./describe.js";

const summary = (thread) => ({
  root_id: thread.id,
  length: thread.length,
  reply_to_event: thread.replyToEvent ? describe(thread.replyToEvent) : null,
  participated: thread.hasCurrentUserParticipated,
});

/** Loads the room's list of threads, as the panel with all threads does. */
async function loadList(room) {
  await room.createThreadsTimelineSets();
  await room.fetchRoomThreads();
}

export const threads = {
  /**
   * Returns a thread with its events, root first, or null where the room has none with this root. The thread is found in
   * what was synced, else in the list of threads; its events are loaded to the beginning, as scrolling up does.
   */
  async thread(current, { room_id, root_id, timeout_ms }) {
    const room = current.room(room_id);
    if (!room.getThread(root_id)) await loadList(room);
    const thread = room.getThread(root_id);
    if (!thread) return null;
    await current.until(() => thread.initialEventsFetched, timeout_ms, `events of thread ${root_id}`);
    while (await current.client.paginateEventTimeline(thread.liveTimeline, { backwards: true }));
    return { ...summary(thread), events: thread.events.map(describe) };
  },

  /** Returns all threads of the room, in the order of the room's list of threads: oldest reply first. */
  async threads(current, { room_id }) {
    const room = current.room(room_id);
    await loadList(room);
    return room.getThreads().map(summary);
  },
};

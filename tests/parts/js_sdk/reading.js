// Read receipts, unread counts, and what push rules say of an event.
import { EventType, NotificationCountType, ReceiptType } from "matrix-js-sdk";

const { Highlight, Total } = NotificationCountType;

export const reading = {
  /** Sends a read receipt. The SDK adds the thread of the event (or "main") unless `unthreaded`. */
  async receipt(current, { room_id, event_id, unthreaded = false, hidden = false }) {
    const type = hidden ? ReceiptType.ReadPrivate : ReceiptType.Read;
    await current.client.sendReadReceipt(current.event(room_id, event_id), type, unthreaded);
  },

  /** Returns the last event that a user has read: in the room, or in the thread `root_id`. */
  async read_up_to(current, { room_id, user_id, root_id }) {
    const room = current.room(room_id);
    const readable = root_id ? room.getThread(root_id) : room;
    return readable?.getEventReadUpTo(user_id) ?? null;
  },

  /** Returns the unread counts as Element shows them: of the room without threads, of one thread, and of everything. */
  async notifications(current, { room_id, root_id }) {
    const room = current.room(room_id);
    const counts = {
      total: room.getUnreadNotificationCount(Total),
      highlight: room.getUnreadNotificationCount(Highlight),
    };
    const main = {
      total: room.getRoomUnreadNotificationCount(Total),
      highlight: room.getRoomUnreadNotificationCount(Highlight),
    };
    const thread = root_id
      ? {
          total: room.getThreadUnreadNotificationCount(root_id, Total),
          highlight: room.getThreadUnreadNotificationCount(root_id, Highlight),
        }
      : null;
    return { ...counts, main, thread };
  },

  /** Returns what the push rules of this user make of an event: `{notify, highlight, rule_id}`. */
  async push_actions(current, { room_id, event_id }) {
    const { actions, rule } = current.client.getPushDetailsForEvent(current.event(room_id, event_id), true);
    return { notify: !!actions?.notify, highlight: !!actions?.tweaks?.highlight, rule_id: rule?.rule_id ?? null };
  },

  /** Returns the fully-read marker of the room. */
  async fully_read(current, { room_id }) {
    return current.room(room_id).getAccountData(EventType.FullyRead)?.getContent().event_id ?? null;
  },
};

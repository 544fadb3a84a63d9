// Events as the SDK shows them, as JSON.

/** Returns what a reader of the room sees of an event: edits and redactions are applied, `original_content` is as sent. */
export function describe(event) {
  return {
    event_id: event.getId() ?? null,
    room_id: event.getRoomId() ?? null,
    type: event.getType(),
    state_key: event.getStateKey() ?? null,
    sender: event.getSender() ?? null,
    sender_name: event.sender?.name ?? null,
    timestamp_ms: event.getTs(),
    content: event.getContent(),
    original_content: event.getOriginalContent(),
    relates_to: event.getWireContent()["m.relates_to"] ?? null,
    reply_to: event.replyEventId ?? null,
    thread_root: event.threadRootId ?? null,
    is_thread_root: event.isThreadRoot,
    redacted: event.isRedacted(),
    replaced: event.replacingEventId() !== undefined,
    encrypted: event.isEncrypted(),
    decryption_failure: event.isDecryptionFailure() ? (event.decryptionFailureReason ?? "unknown") : null,
    status: event.status ?? null,
  };
}

/** Whether `pattern` is a part of `value`: each key of an object, and each item of an array at its place. */
export function contains(value, pattern) {
  if (typeof pattern !== "object" || pattern === null) return value === pattern;
  if (typeof value !== "object" || value === null) return false;
  return Object.entries(pattern).every(([key, part]) => contains(value[key], part));
}

/** The codes of problems and failed deliveries that mean that the author may not write in the room. */
const WRITE_FORBIDDEN = new Set([
  "banned",
  "chat_over",
  "invite_only",
  "kicked",
  "members_only",
  "no_such_room",
  "not_private",
  "not_yours",
  "room_encrypted",
]);

/** The codes that mean that the message, its file or the message that it changes cannot be sent as it is. */
const MESSAGE_REJECTED = new Set([
  "deleted",
  "media_empty",
  "media_too_large",
  "media_type_not_allowed",
  "media_type_mismatch",
  "message_deleted",
  "message_too_long",
  "no_such_message",
  "too_large",
]);

/** Whether the same message would be refused again, so a retry is useless. */
export function isPermanentError(code: string): boolean {
  return WRITE_FORBIDDEN.has(code) || MESSAGE_REJECTED.has(code);
}

/** Whether another text or file would be refused, too. */
export function isWriteForbidden(code: string): boolean {
  return WRITE_FORBIDDEN.has(code);
}

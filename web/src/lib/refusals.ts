/** Problem codes and causes of a failed delivery that say that the author may not write in that room. */
const BARRED = new Set([
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

/** Those that say that the message, its file or the message that it changes cannot be sent as it is. */
const UNFIT = new Set([
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

/** Whether the same message would be refused again, so that there is no use in sending it once more. */
export function isFinal(code: string): boolean {
  return BARRED.has(code) || UNFIT.has(code);
}

/** Whether another text or file would be refused, too. */
export function isBarred(code: string): boolean {
  return BARRED.has(code);
}

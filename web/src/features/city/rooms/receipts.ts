import type { Message, Receipt, SubjectId } from "../../../api/types";
import { subjectOf } from "../../../lib/subjects";

/**
 * The readers of each message that is the last one they have read, by message id; the latest reader first.
 *
 * A reader who has written a later message is left out: the avatar of its author is beside that message.
 *
 * @param receipts - the receipts of the timeline
 * @param messages - the loaded messages of the timeline, oldest first; receipts at other messages are left out
 * @param me - the subject of the reader at the page, whose receipt is left out
 */
export function readersByMessage(
  receipts: Iterable<Receipt>,
  messages: readonly Message[],
  me: SubjectId | null,
): Map<string, Receipt[]> {
  const positions = new Map(messages.map(({ id }, index) => [id, index]));
  const lastWritten = new Map(messages.map(({ author }, index) => [subjectOf(author), index]));
  const readers = new Map<string, Receipt[]>();
  for (const receipt of [...receipts].sort(latestFirst)) {
    const position = positions.get(receipt.message_id);
    if (receipt.user_id === me || position === undefined) continue;
    if (position <= (lastWritten.get(receipt.user_id) ?? -1)) continue;
    readers.set(receipt.message_id, [...(readers.get(receipt.message_id) ?? []), receipt]);
  }
  return readers;
}

function latestFirst(one: Receipt, other: Receipt): number {
  return other.read_at.localeCompare(one.read_at) || one.user_id.localeCompare(other.user_id);
}

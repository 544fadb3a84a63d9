import { useMemo } from "react";
import { useTranslation } from "../../../lib/i18n";
import { reactionName } from "../../../lib/emoji";
import { excerptOf } from "../../../lib/excerpt";
import { outbox } from "../../../stores/outbox";
import { draftActions, useDraftKey } from "./drafts";
import { messageOf } from "./conversation";
import { OutgoingStatus } from "./OutgoingRow";
import styles from "./PendingChanges.module.css";
import { outgoingChanges, outgoingMessages, type OutgoingMessage, type OutgoingChange } from "./timeline";
import { useConversation, useConversationState, useRoomOutbox } from "./useRoom";

/** Edits, deletions and reactions that were not sent at once: the messages that they change may be out of view. */
export function PendingChanges() {
  const entries = useRoomOutbox();
  const late = useMemo(() => outgoingChanges(entries).filter(({ state }) => state !== "sending"), [entries]);
  const conversation = useConversation();
  const isThread = conversation.threadRoot !== null;
  const shown = isThread ? late.filter(({ action }) => conversation.loadedMessage(action.messageId)) : late;
  const replies = useMemo(() => outgoingMessages(entries).filter(isLateReply), [entries]);
  if (!shown.length && (isThread || !replies.length)) return null;
  return (
    <ul className={styles.changes}>
      {!isThread && replies.map((reply) => <Reply key={reply.clientId} reply={reply} />)}
      {shown.map((change) => (
        <Change key={change.clientId} change={change} />
      ))}
    </ul>
  );
}

/** Whether a reply is delayed: its thread may be closed, and the root out of view. */
function isLateReply({ threadRoot, state }: OutgoingMessage): boolean {
  return threadRoot !== null && state !== "sending";
}

function Reply({ reply }: { reply: OutgoingMessage }) {
  const { t } = useTranslation();
  return (
    <li>
      <p dir="auto">{t("outbox.threadReply", { text: reply.body || (reply.file?.name ?? reply.media?.filename ?? "") })}</p>
      <OutgoingStatus outgoing={reply} text={reply.body} />
    </li>
  );
}

function Change({ change }: { change: OutgoingChange }) {
  const { t } = useTranslation();
  const { action } = change;
  const message = useConversationState((state) => messageOf(state, action.messageId));
  const key = useDraftKey();
  const nameOf = (emoji: string) => {
    const shortcode = message?.reactions.find((reaction) => reaction.emoji === emoji)?.shortcode ?? null;
    return reactionName({ emoji, shortcode }, t("room.reactionPicture"));
  };
  const words = {
    edit: () => t("outbox.edit", { text: action.kind === "edit" ? action.body : "" }),
    removal: () => t("outbox.removal", { text: message ? excerptOf(message) : "" }),
    reaction: () =>
      t("outbox.reaction", {
        emoji: action.kind === "reaction" ? nameOf(action.emoji) : "",
        text: message ? excerptOf(message) : "",
      }),
  }[action.kind]();
  /** Edit the message again. If it is not loaded, the composer gets the new text, so that it is not lost. */
  const takeUp = (body: string) => {
    if (message && !message.deleted) draftActions(key).edit(message, body);
    else draftActions(key).putBack(body);
    outbox.discard(change.clientId);
  };
  return (
    <li>
      <p dir="auto">{words}</p>
      <OutgoingStatus
        outgoing={change}
        text={action.kind === "edit" ? action.body : ""}
        onEdit={action.kind === "edit" ? () => takeUp(action.body) : undefined}
      />
    </li>
  );
}

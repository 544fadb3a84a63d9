import { useState } from "react";
import { useTranslation } from "../../../lib/i18n";
import type { Message } from "../../../api/types";
import { IconButton } from "../../../components/ui/Button";
import { ConfirmDialog } from "../../../components/ui/Dialog";
import { Menu } from "../../../components/ui/Menu";
import { useSession } from "../../../stores/session";
import { draftActions, useDraftKey } from "./drafts";
import styles from "./MessageRow.module.css";
import { useConversation } from "./useRoom";
import { useThreadPanel } from "./useThreadPanel";

const SIGNS = "👍 ❤️ 😂 🎉 🌻 🔥 👏 🙏 😍 🤔 😮 😢 ✅ ❌ 👀 🚀 💡 🏡 ☀️ 🌳 ☕ 🥟 💙 💛".split(" ");

/** What one can do with a message. */
export function MessageActions({ message, isMine }: { message: Message; isMine: boolean }) {
  const { t } = useTranslation();
  const room = useConversation();
  const [isAsking, setAsking] = useState(false);
  const isSignedIn = useSession((state) => state.session !== null);
  const { reply, edit } = draftActions(useDraftKey());
  const { open } = useThreadPanel();
  if (!isSignedIn) return null;
  return (
    <div className={styles.actions} role="group" aria-label={t("room.actions")}>
      <Menu label={t("room.react")} button={(open) => <IconButton icon="smile" label={t("room.react")} {...open} />}>
        {(close) => (
          <div className={styles.picker}>
            {SIGNS.map((emoji) => (
              <button
                key={emoji}
                type="button"
                className={styles.emoji}
                aria-label={t("room.reactWith", { emoji })}
                onClick={() => {
                  close();
                  room.react(message, emoji);
                }}
              >
                {emoji}
              </button>
            ))}
          </div>
        )}
      </Menu>
      <IconButton icon="reply" label={t("room.reply")} onClick={() => reply(message)} />
      {room.threadRoot === null && <IconButton icon="thread" label={t("room.replyInThread")} onClick={() => open(message.id)} />}
      {isMine && !message.poll && <IconButton icon="pencil" label={t("room.edit")} onClick={() => edit(message)} />}
      {isMine && <IconButton icon="bin" label={t("room.remove")} onClick={() => setAsking(true)} />}
      {isAsking && <RemoveDialog message={message} onClose={() => setAsking(false)} />}
    </div>
  );
}

/** Asks before a message is deleted. */
export function RemoveDialog({ message, onClose }: { message: Message; onClose: () => void }) {
  const { t } = useTranslation();
  const room = useConversation();
  return (
    <ConfirmDialog
      title={t("room.removeAsk")}
      text={t("room.removeText")}
      action={t("room.remove")}
      onConfirm={() => room.remove(message)}
      onClose={onClose}
    />
  );
}

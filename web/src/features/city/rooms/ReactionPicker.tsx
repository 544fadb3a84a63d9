import type { Message } from "../../../api/types";
import { useTranslation } from "../../../lib/i18n";
import styles from "./MessageRow.module.css";
import { useConversation } from "./useRoom";

const SIGNS = "👍 ❤️ 😂 🎉 🌻 🔥 👏 🙏 😍 🤔 😮 😢 ✅ ❌ 👀 🚀 💡 🏡 ☀️ 🌳 ☕ 🥟 💙 💛".split(" ");

/** Emojis to react with, the first with the focus; `onDone` is called after one was chosen. */
export function ReactionPicker({ message, onDone }: { message: Message; onDone: () => void }) {
  const { t } = useTranslation();
  const conversation = useConversation();
  return (
    <div className={styles.picker}>
      {SIGNS.map((emoji, index) => (
        <button
          key={emoji}
          type="button"
          className={styles.emoji}
          // It opens by a button or a key, and the focus follows.
          // eslint-disable-next-line jsx-a11y/no-autofocus
          autoFocus={index === 0}
          aria-label={t("room.reactWith", { emoji })}
          onClick={() => {
            onDone();
            conversation.react(message, emoji);
          }}
        >
          {emoji}
        </button>
      ))}
    </div>
  );
}

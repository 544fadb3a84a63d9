import { useState } from "react";
import type { Message } from "../../../api/types";
import { Icon } from "../../../components/ui/Icon";
import { useTranslation } from "../../../lib/i18n";
import { useSession } from "../../../stores/session";
import { AllEmojis } from "../../emoji/parts";
import { addRecentEmoji, recentEmojis } from "../../emoji/recentEmojis";
import styles from "./MessageRow.module.css";
import { useConversation } from "./useRoom";

const COMMON = "👍 ❤️ 😂 🎉 🌻 🔥 👏 🙏 😍 🤔 😮 😢 ✅ 👀 🚀 🏡 💙".split(" ");
/** The number of emojis that keep their places; recently used ones follow. */
const FIXED = 6;

/** Emojis to react with, the first of which has the focus, and a button for all others; `onDone` is called after the choice. */
export function ReactionPicker({ message, onDone }: { message: Message; onDone: () => void }) {
  const { t } = useTranslation();
  const conversation = useConversation();
  const me = useSession((state) => state.session?.userId ?? null);
  const [showsAll, setShowsAll] = useState(false);
  const react = (emoji: string) => {
    onDone();
    addRecentEmoji(me, emoji);
    conversation.react(message, emoji);
  };
  if (showsAll) return <AllEmojis onChoose={react} />;
  const quick = [...new Set([...COMMON.slice(0, FIXED), ...recentEmojis(me), ...COMMON])].slice(0, COMMON.length);
  return (
    <div className={styles.picker}>
      {quick.map((emoji, index) => (
        <button
          key={emoji}
          type="button"
          className={styles.emoji}
          // A button or a key opens the picker, and the focus follows.
          // eslint-disable-next-line jsx-a11y/no-autofocus
          autoFocus={index === 0}
          aria-label={t("room.reactWith", { emoji })}
          onClick={() => react(emoji)}
        >
          {emoji}
        </button>
      ))}
      <button
        type="button"
        className={styles.emoji}
        aria-label={t("emoji.all")}
        title={t("emoji.all")}
        onClick={() => setShowsAll(true)}
      >
        <Icon name="plus" />
      </button>
    </div>
  );
}

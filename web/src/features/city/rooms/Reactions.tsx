import { useMemo, useState } from "react";
import { useTranslation } from "../../../lib/i18n";
import type { Message, ReactionCount } from "../../../api/types";
import { reactionName } from "../../../lib/emoji";
import { useSession } from "../../../stores/session";
import { useNames } from "../../../hooks/useNames";
import styles from "./MessageRow.module.css";
import { useConversation } from "./useRoom";

/** The reactions to a message. A click adds the reader's own reaction, or removes it. */
export function Reactions({ message }: { message: Message }) {
  const { t } = useTranslation();
  const room = useConversation();
  const me = useSession((state) => state.subject);
  const by = useMemo(() => message.reactions.flatMap((reaction) => reaction.by), [message.reactions]);
  const names = useNames(by);
  const nameOf = new Map(by.map((subject, at) => [subject, names[at]]));
  return (
    <div className={styles.reactions}>
      {message.reactions.map((reaction) => (
        <button
          key={reaction.emoji}
          type="button"
          className={styles.reaction}
          disabled={me === null}
          aria-pressed={me !== null && reaction.by.includes(me)}
          aria-label={t("room.reactionLabel", {
            emoji: reactionName(reaction, t("room.reactionPicture")),
            count: reaction.count,
          })}
          title={reaction.by.map((subject) => nameOf.get(subject)).join(", ")}
          onClick={() => void room.react(message, reaction.emoji)}
        >
          <ReactionSymbol reaction={reaction} /> {reaction.count}
        </button>
      ))}
    </div>
  );
}

/** An emoji, or the picture that a Matrix client sent as one; its name if the picture cannot be shown. */
function ReactionSymbol({ reaction }: { reaction: ReactionCount }) {
  const { t } = useTranslation();
  const [brokenUrl, setBrokenUrl] = useState<string | null>(null);
  if (reaction.url === null || reaction.url === brokenUrl) return <bdi>{reactionName(reaction, t("room.reactionPicture"))}</bdi>;
  return (
    <img className={styles.emojiPicture} src={reaction.url} alt="" loading="lazy" onError={() => setBrokenUrl(reaction.url)} />
  );
}

import { useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import type { Message, ReactionCount } from "../../../api/types";
import { reactionName } from "../../../lib/emoji";
import { useSession } from "../../../stores/session";
import { useNames } from "../../../hooks/useNames";
import styles from "./MessageRow.module.css";
import { useConversation } from "./useRoom";

/** The reactions to a message. A click adds one's own, or removes it. */
export function Tallies({ message }: { message: Message }) {
  const { t } = useTranslation();
  const room = useConversation();
  const me = useSession((state) => state.session?.userId ?? null);
  const by = useMemo(() => message.reactions.flatMap((tally) => tally.by), [message.reactions]);
  const names = useNames(by);
  const nameOf = new Map(by.map((subject, at) => [subject, names[at]]));
  return (
    <div className={styles.tallies}>
      {message.reactions.map((tally) => (
        <button
          key={tally.emoji}
          type="button"
          className={styles.tally}
          disabled={me === null}
          aria-pressed={me !== null && tally.by.includes(me)}
          aria-label={t("room.reactionLabel", { emoji: reactionName(tally, t("room.reactionPicture")), count: tally.count })}
          title={tally.by.map((subject) => nameOf.get(subject)).join(", ")}
          onClick={() => void room.react(message, tally.emoji)}
        >
          <Sign tally={tally} /> {tally.count}
        </button>
      ))}
    </div>
  );
}

/** An emoji, or the picture that a Matrix client sent as one; its name where the picture cannot be shown. */
function Sign({ tally }: { tally: ReactionCount }) {
  const { t } = useTranslation();
  const [brokenUrl, setBrokenUrl] = useState<string | null>(null);
  if (tally.url === null || tally.url === brokenUrl) return <bdi>{reactionName(tally, t("room.reactionPicture"))}</bdi>;
  return <img className={styles.emojiPicture} src={tally.url} alt="" loading="lazy" onError={() => setBrokenUrl(tally.url)} />;
}

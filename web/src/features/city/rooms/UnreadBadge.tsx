import { useTranslation } from "../../../lib/i18n";
import styles from "./RoomsPane.module.css";

/** The highest number on a badge. */
const MANY = 99;

interface Props {
  unread: number;
  mentions: number;
  isMuted?: boolean;
}

/** The number of unread messages of a room, with an @ if the reader is mentioned. */
export function UnreadBadge({ unread, mentions, isMuted = false }: Props) {
  const { t } = useTranslation();
  const count = Math.max(unread, mentions);
  const words = [
    mentions > 0 && t("pane.mentions", { count: mentions }),
    unread > MANY ? t("rooms.unreadMany") : t("rooms.unread", { count }),
  ];
  return (
    <span className={`${styles.badge} ${isMuted ? styles.muted : ""}`}>
      <span aria-hidden="true">
        {mentions > 0 && "@ "}
        {count > MANY ? `${MANY}+` : count}
      </span>
      <span className="quiet">{words.filter(Boolean).join(", ")}</span>
    </span>
  );
}

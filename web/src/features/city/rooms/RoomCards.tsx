import { memo } from "react";
import { useTranslation, type Translator } from "../../../lib/i18n";
import { Link } from "react-router";
import type { Room } from "../../../api/types";
import { PresenceDot } from "../../../components/ui/PresenceDot";
import { Name } from "../../../components/ui/Name";
import { useNow } from "../../../hooks/useNow";
import { relativeTime } from "../../../lib/formatTime";
import { RoomIcon } from "./RoomIcon";
import card from "../../../components/ui/Card.module.css";
import styles from "./RoomCards.module.css";

/** The city counts unread messages up to this number. */
const MANY = 100;

interface RoomCardsProps {
  rooms: readonly Room[];
  /** The number of unread messages, by room id. */
  unread: ReadonlyMap<string, number>;
}

/** A list item for each room. The list subscribes to the time and the language once, not once for each card. */
export function RoomCards({ rooms, unread }: RoomCardsProps) {
  const { t, language } = useTranslation();
  const now = useNow();
  return rooms.map((room) => (
    <RoomCard key={room.id} room={room} unread={unread.get(room.id) ?? 0} now={now} t={t} language={language} />
  ));
}

interface RoomCardProps {
  room: Room;
  unread: number;
  /** Milliseconds since the epoch. */
  now: number;
  t: Translator["t"];
  language: string;
}

const RoomCard = memo(function RoomCard({ room, unread, now, t, language }: RoomCardProps) {
  return (
    <li className={`${card.card} ${styles.card}`}>
      <RoomIcon slug={room.slug} url={room.avatar_url} isLit={room.members_online > 0} />
      <div>
        <Link className={card.link} to={`/city/${room.slug}`}>
          <Name>{room.name}</Name>
        </Link>
        {unread > 0 && (
          <span className={styles.unread}>{unread < MANY ? t("rooms.unread", { count: unread }) : t("rooms.unreadMany")}</span>
        )}
        <p className={styles.about} dir="auto">
          {room.description}
        </p>
      </div>
      <p className={styles.live}>
        <span>
          <PresenceDot state={room.members_online ? "online" : "offline"} isSilent />
          {t("rooms.online", { count: room.members_online })}
        </span>
        {room.last_event ? (
          <time dateTime={room.last_event}>{relativeTime(room.last_event, now, language)}</time>
        ) : (
          <span>{t("rooms.quiet")}</span>
        )}
      </p>
    </li>
  );
});

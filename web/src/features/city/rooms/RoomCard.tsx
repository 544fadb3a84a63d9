import { memo } from "react";
import { useTranslation } from "react-i18next";
import { Link } from "react-router";
import type { Room } from "../../../api/types";
import { PresenceDot } from "../../../components/ui/PresenceDot";
import { Name } from "../../../components/ui/Name";
import { useNow } from "../../../hooks/useNow";
import { ago } from "../../../lib/times";
import { RoomHouse } from "./RoomHouse";
import styles from "./RoomCard.module.css";

/** The city counts up to here. */
const MANY = 100;

export const RoomCard = memo(function RoomCard({ room, unread }: { room: Room; unread: number }) {
  const { t, i18n } = useTranslation();
  const now = useNow();
  return (
    <li className={styles.card}>
      <RoomHouse slug={room.slug} isLit={room.members_online > 0} />
      <div>
        <Link className={styles.name} to={`/city/${room.slug}`}>
          <Name>{room.name}</Name>
        </Link>
        {unread > 0 && (
          <span className={styles.unread}>{unread < MANY ? t("rooms.unread", { count: unread }) : t("rooms.unreadMany")}</span>
        )}
        <p className={styles.description} dir="auto">{room.description}</p>
      </div>
      <p className={styles.live}>
        <span>
          <PresenceDot state={room.members_online ? "online" : "offline"} isSilent />
          {t("rooms.online", { count: room.members_online })}
        </span>
        <span>{room.last_event ? ago(room.last_event, now, i18n.language) : t("rooms.quiet")}</span>
      </p>
    </li>
  );
});

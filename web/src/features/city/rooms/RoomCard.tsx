import { memo } from "react";
import { useTranslation } from "react-i18next";
import { Link } from "react-router";
import type { Room } from "../../../api/types";
import { PresenceDot } from "../../../components/ui/PresenceDot";
import { Name } from "../../../components/ui/Name";
import { useNow } from "../../../hooks/useNow";
import { isUnread } from "../../../lib/readMarks";
import { ago } from "../../../lib/times";
import { useSession } from "../../../stores/session";
import { RoomHouse } from "./RoomHouse";
import styles from "./RoomCard.module.css";

export const RoomCard = memo(function RoomCard({ room }: { room: Room }) {
  const { t, i18n } = useTranslation();
  const now = useNow();
  const me = useSession((state) => state.session?.userId ?? null);
  return (
    <li className={styles.card}>
      <RoomHouse slug={room.slug} isLit={room.members_online > 0} />
      <div>
        <Link className={styles.name} to={`/city/${room.slug}`}>
          <Name>{room.name}</Name>
        </Link>
        {isUnread(me, room) && <span className={styles.unread}>{t("rooms.unread")}</span>}
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

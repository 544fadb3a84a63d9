import { NavLink } from "react-router";
import { Avatar } from "../../../components/ui/Avatar";
import { Name } from "../../../components/ui/Name";
import { useDirectChats } from "../../../hooks/useDirectChat";
import { useLiveAuthor } from "../../../hooks/useLiveAuthor";
import { useNow } from "../../../hooks/useNow";
import type { DirectChat } from "../../../api/types";
import { shortTime } from "../../../lib/formatTime";
import { useTranslation } from "../../../lib/i18n";
import { roomPath } from "../../../lib/paths";
import { useStatus } from "../../../stores/presence";
import { useProfiles } from "../../../stores/profiles";
import { useUnreadRooms } from "../../../stores/unread";
import { LastLine } from "./LastLine";
import styles from "./RoomsPane.module.css";
import { UnreadBadge } from "./UnreadBadge";

/** The reader's direct chats whose names contain `searchText`; nothing if there are none. */
export function DirectChats({ searchText }: { searchText: string }) {
  const { t } = useTranslation();
  const chats = useDirectChats();
  const profiles = useProfiles((state) => state.profiles);
  const words = searchText.trim().toLocaleLowerCase();
  const nameOf = ({ subject, citizen }: DirectChat) =>
    profiles[subject]?.isLive ? profiles[subject].name : citizen.display_name;
  const found = chats?.filter((chat) => nameOf(chat).toLocaleLowerCase().includes(words));
  if (!found?.length) return null;
  return (
    <ul className={styles.rooms} aria-label={t("pane.direct")}>
      {found.map((chat) => (
        <Chat key={chat.id} chat={chat} />
      ))}
    </ul>
  );
}

function Chat({ chat }: { chat: DirectChat }) {
  const { t, language } = useTranslation();
  const { subject } = chat;
  const isEncrypted = chat.read_only === "encrypted";
  const now = useNow();
  const profile = useLiveAuthor(chat.citizen);
  const status = useStatus(subject);
  const live = useUnreadRooms((state) => state.rooms[chat.id]);
  const unread = live?.unread ?? chat.unread;
  const last = live?.last_message ?? chat.last_message;
  return (
    <li>
      <NavLink className={`${styles.room} ${unread > 0 ? styles.isUnread : ""}`} to={roomPath(chat.id)}>
        <Avatar subject={subject} profile={profile} size={36} status={status} />
        <span className={styles.name}>
          <Name>{profile.name}</Name>
          {chat.opened_on_matrix && <small className={styles.origin}>{t("pane.onMatrix")}</small>}
        </span>
        <small className={styles.time}>
          {last && <time dateTime={last.created_at}>{shortTime(last.created_at, now, language)}</time>}
        </small>
        <small className={styles.last} dir="auto">
          {isEncrypted ? t("pane.encrypted") : last && <LastLine last={last} />}
        </small>
        {unread > 0 && <UnreadBadge unread={unread} mentions={0} />}
      </NavLink>
    </li>
  );
}

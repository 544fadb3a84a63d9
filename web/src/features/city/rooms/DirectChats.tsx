import { NavLink } from "react-router";
import { Avatar } from "../../../components/ui/Avatar";
import { Name } from "../../../components/ui/Name";
import { useDirectChats } from "../../../hooks/useDirectChat";
import { useLiveAuthor } from "../../../hooks/useLiveAuthor";
import type { DirectChat } from "../../../api/types";
import { useTranslation } from "../../../lib/i18n";
import { roomPath } from "../../../lib/paths";
import { useStatus } from "../../../stores/presence";
import { useUnreadRooms } from "../../../stores/unread";
import { LastLine } from "./LastLine";
import styles from "./RoomsPane.module.css";
import { UnreadBadge } from "./UnreadBadge";

/** The reader's chats with one person each; nothing where there are none. */
export function DirectChats() {
  const { t } = useTranslation();
  const chats = useDirectChats();
  if (!chats?.length) return null;
  return (
    <ul className={styles.rooms} aria-label={t("pane.direct")}>
      {chats.map((chat) => (
        <Chat key={chat.id} chat={chat} />
      ))}
    </ul>
  );
}

function Chat({ chat }: { chat: DirectChat }) {
  const { subject } = chat;
  const profile = useLiveAuthor(chat.citizen);
  const status = useStatus(subject);
  const told = useUnreadRooms((state) => state.rooms[chat.id]);
  const unread = told?.unread ?? chat.unread;
  const last = told?.last_message ?? chat.last_message;
  return (
    <li>
      <NavLink className={`${styles.room} ${unread > 0 ? styles.isUnread : ""}`} to={roomPath(chat.id)}>
        <Avatar subject={subject} profile={profile} size={36} status={status} />
        <span className={styles.name}>
          <Name>{profile.name}</Name>
        </span>
        <span />
        <small className={styles.last} dir="auto">
          {last && <LastLine last={last} />}
        </small>
        {unread > 0 && <UnreadBadge unread={unread} mentions={0} />}
      </NavLink>
    </li>
  );
}

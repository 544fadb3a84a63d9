import { useTranslation } from "../../../lib/i18n";
import type { DirectChat, Room } from "../../../api/types";
import { lazyDialog } from "../../../components/lazyDialog";
import { Button, ButtonLink, IconButton } from "../../../components/ui/Button";
import { Icon } from "../../../components/ui/Icon";
import { Name } from "../../../components/ui/Name";
import { mayModerate, useOpenRoom } from "../../../stores/openRoom";
import styles from "./CityRoomView.module.css";
import { NotificationMenu } from "./NotificationMenu";
import { RoomIcon } from "./RoomIcon";
import { RoomMenu } from "./RoomMenu";
import { ThreadsButton } from "./ThreadsButton";
import { useMembership, useRoom, useRoomState } from "./useRoom";

interface Props {
  room: Room;
  /** The direct chat that the room is: it has no alias on Matrix, and nobody leaves it. */
  chat: DirectChat | undefined;
  showsMembers: boolean;
  onMembers: () => void;
}

export function RoomHeader({ room, chat, showsMembers, onMembers }: Props) {
  const isDirect = chat !== undefined;
  const mayRead = useRoomState((state) => state.mayRead);
  const { t } = useTranslation();
  return (
    <header className={styles.head}>
      <ButtonLink look="bare" className={styles.onlyNarrow ?? ""} to="/city" aria-label={t("rooms.title")}>
        <Icon name="back" />
      </ButtonLink>
      <span className={styles.house}>
        <RoomIcon slug={room.slug} url={room.avatar_url} isLit={room.members_online > 0} size={32} />
      </span>
      <div className={styles.title}>
        <h1 id="room-title">
          <Name>{room.name}</Name>
        </h1>
        <p>
          {mayRead && (chat?.opened_on_matrix ? t("room.chatOnMatrix") : t("rooms.online", { count: room.members_online }))}
          {room.description && (
            <>
              {mayRead && " · "}
              <bdi>{room.description}</bdi>
            </>
          )}
        </p>
      </div>
      {!isDirect && <JoinButton />}
      <NotificationMenu room={room} />
      <ThreadsButton />
      <IconButton icon="people" label={t("room.members")} aria-expanded={showsMembers} onClick={onMembers} />
      {!isDirect && <RoomMenu alias={room.matrix_room_alias} />}
      {!isDirect && <OpenedSettings />}
    </header>
  );
}

const RoomSettings = lazyDialog(() => import("./RoomSettings"));

/** The settings dialog that the menu opens: outside of the menu, so that it stays when the menu closes. */
function OpenedSettings() {
  const rights = useRoomState((state) => state.rights);
  const isOpen = useOpenRoom((state) => state.showsSettings);
  return mayModerate(rights) && isOpen && <RoomSettings onClose={() => useOpenRoom.setState({ showsSettings: false })} />;
}

/**
 * A button to join the room; in a narrow window the room's menu has it, and the name has its space.
 *
 * It is optional: sending a message joins the room, too.
 */
function JoinButton() {
  const { t } = useTranslation();
  const room = useRoom();
  if (useMembership() !== "joinable") return null;
  return (
    <Button className={styles.join ?? ""} onClick={() => void room.join()}>
      {t("room.join")}
    </Button>
  );
}

import { Suspense } from "react";
import { useTranslation } from "../../../lib/i18n";
import type { Room } from "../../../api/types";
import { lazyPage } from "../../../components/lazyPage";
import { Button, ButtonLink, buttonClass, IconButton } from "../../../components/ui/Button";
import { Icon } from "../../../components/ui/Icon";
import { Name } from "../../../components/ui/Name";
import { useSite } from "../../../hooks/useSite";
import { roomLink } from "../../../lib/matrixLinks";
import { mayModerate, useOpenRoom } from "../../../stores/openRoom";
import { useSession } from "../../../stores/session";
import styles from "./CityRoomView.module.css";
import { NotificationMenu } from "./NotificationMenu";
import { RoomIcon } from "./RoomIcon";
import { ThreadsButton } from "./ThreadsButton";
import { useRoom, useRoomState } from "./useRoom";

interface Props {
  room: Room;
  /** A direct chat: it has no address on Matrix, and nobody leaves it. */
  isDirect: boolean;
  showsMembers: boolean;
  onMembers: () => void;
}

export function RoomHeader({ room, isDirect, showsMembers, onMembers }: Props) {
  const mayRead = useRoomState((state) => state.mayRead);
  const { t } = useTranslation();
  const { matrix } = useSite();
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
          {mayRead && t("rooms.online", { count: room.members_online })}
          {room.description && (
            <>
              {mayRead && " · "}
              <bdi>{room.description}</bdi>
            </>
          )}
        </p>
      </div>
      {!isDirect && <Membership />}
      {!isDirect && (
        <a
          className={buttonClass("bare", `${styles.onlyWide} ${styles.sign}`)}
          href={roomLink(matrix.client_url, room.matrix_room_alias)}
          target="_blank"
          rel="noopener noreferrer"
          aria-label={t("common.openInElement")}
          title={t("common.openInElement")}
        >
          <Icon name="elsewhere" />
        </a>
      )}
      {!isDirect && <RoomSettingsButton />}
      <NotificationMenu room={room} />
      <ThreadsButton />
      <IconButton icon="people" label={t("room.members")} aria-expanded={showsMembers} onClick={onMembers} />
    </header>
  );
}

const RoomSettings = lazyPage(() => import("./RoomSettings"));

/** For those who may change something of the room. */
function RoomSettingsButton() {
  const { t } = useTranslation();
  const rights = useRoomState((state) => state.rights);
  const isOpen = useOpenRoom((state) => state.showsSettings);
  if (!mayModerate(rights)) return null;
  return (
    <>
      <IconButton
        icon="gear"
        className={styles.onlyWide ?? ""}
        label={t("moderation.settings")}
        onClick={() => useOpenRoom.setState({ showsSettings: true })}
      />
      {isOpen && (
        <Suspense>
          <RoomSettings />
        </Suspense>
      )}
    </>
  );
}

/** Nobody needs to join before writing: who writes, comes in. */
function Membership() {
  const { t } = useTranslation();
  const room = useRoom();
  const me = useSession((state) => state.subject);
  const isMember = useRoomState(({ members }) => me !== null && members.has(me));
  if (me === null) return null;
  if (isMember) return <IconButton icon="out" label={t("room.leave")} onClick={() => void room.leave()} />;
  return (
    <Button className={styles.join ?? ""} onClick={() => void room.join()}>
      {t("room.join")}
    </Button>
  );
}

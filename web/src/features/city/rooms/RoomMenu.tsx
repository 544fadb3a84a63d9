import { buttonClass, Button, IconButton } from "../../../components/ui/Button";
import { Icon } from "../../../components/ui/Icon";
import { Menu } from "../../../components/ui/Menu";
import { useSite } from "../../../hooks/useSite";
import { useTranslation } from "../../../lib/i18n";
import { roomLink } from "../../../lib/matrixLinks";
import { mayModerate, useOpenRoom } from "../../../stores/openRoom";
import { useSession } from "../../../stores/session";
import styles from "./RoomMenu.module.css";
import { useRoom, useRoomState } from "./useRoom";

/** The rare actions of a room: its settings for moderators, the room on Matrix, and joining or leaving it. */
export function RoomMenu({ alias }: { alias: string }) {
  const { t } = useTranslation();
  const room = useRoom();
  const { matrix } = useSite();
  const me = useSession((state) => state.subject);
  const isMember = useRoomState(({ members }) => me !== null && members.has(me));
  const rights = useRoomState((state) => state.rights);
  const label = t("room.more");
  return (
    <Menu label={label} button={(open) => <IconButton icon="more" label={label} {...open} />}>
      {(close) => (
        <div className={styles.entries}>
          {mayModerate(rights) && (
            <Button
              variant="bare"
              onClick={() => {
                close();
                useOpenRoom.setState({ showsSettings: true });
              }}
            >
              <Icon name="gear" /> {t("moderation.settings")}
            </Button>
          )}
          <a
            className={buttonClass("bare")}
            href={roomLink(matrix.client_url, alias)}
            target="_blank"
            rel="noopener noreferrer"
            onClick={close}
          >
            <Icon name="elsewhere" /> {t("common.openInElement")}
          </a>
          {me !== null && (
            <Button
              variant="bare"
              onClick={() => {
                close();
                void (isMember ? room.leave() : room.join());
              }}
            >
              <Icon name={isMember ? "out" : "plus"} /> {t(isMember ? "room.leave" : "room.join")}
            </Button>
          )}
        </div>
      )}
    </Menu>
  );
}

import { buttonClass, Button, IconButton } from "../../../components/ui/Button";
import { Icon } from "../../../components/ui/Icon";
import { Menu } from "../../../components/ui/Menu";
import { useSite } from "../../../hooks/useSite";
import { useTranslation } from "../../../lib/i18n";
import { roomLink } from "../../../lib/matrixLinks";
import { mayModerate, useOpenRoom } from "../../../stores/openRoom";
import styles from "./RoomMenu.module.css";
import { useMembership, useRoom, useRoomState } from "./useRoom";

/** The rare actions of a room: its settings for moderators, the room on Matrix, and joining or leaving it. */
export function RoomMenu({ alias }: { alias: string }) {
  const { t } = useTranslation();
  const room = useRoom();
  const { matrix } = useSite();
  const membership = useMembership();
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
          {membership === "member" && (
            <Button
              variant="bare"
              onClick={() => {
                close();
                void room.leave();
              }}
            >
              <Icon name="out" /> {t("room.leave")}
            </Button>
          )}
          {membership === "joinable" && (
            <Button
              variant="bare"
              className={styles.join ?? ""}
              onClick={() => {
                close();
                void room.join();
              }}
            >
              <Icon name="plus" /> {t("room.join")}
            </Button>
          )}
        </div>
      )}
    </Menu>
  );
}

import { useTranslation } from "../../../lib/i18n";
import styles from "./CityRoomView.module.css";
import { useRoomState } from "./useRoom";

/** The line about a restriction or error of the room itself. */
export function RoomStatus() {
  const { t } = useTranslation();
  const room = useRoomState((state) => state.room);
  const mayRead = useRoomState((state) => state.mayRead);
  const words = !room
    ? null
    : !mayRead
      ? t("rooms.membersOnly")
      : room.encrypted
        ? t("rooms.encrypted")
        : room.archived
          ? t("rooms.archived")
          : room.matrix_status === "pending"
            ? t("rooms.pending")
            : room.matrix_status === "failed"
              ? t("rooms.failed", { error: room.matrix_error ?? "" })
              : null;
  return <div role="status">{words && <p className={styles.state}>{words}</p>}</div>;
}

import { useDirectChat } from "../../../hooks/useDirectChat";
import { useTranslation } from "../../../lib/i18n";
import styles from "./CityRoomMessageList.module.css";
import { useConversation, useRoomState } from "./useRoom";

interface ListTopProps {
  roomName: string;
  hasOlder: boolean;
  isLoadingOlder: boolean;
}

/** The line above the oldest loaded message: older messages are being loaded, or the room begins here. */
export function TimelineStart({ roomName, hasOlder, isLoadingOlder }: ListTopProps) {
  const { t } = useTranslation();
  const mayRead = useRoomState((state) => state.mayRead);
  // A reader who is not a member gets `has_older: false` even if members can read older messages: show no beginning.
  const isBeginning = !hasOlder && mayRead;
  const { threadRoot } = useConversation();
  const isDirect = useDirectChat(useRoomState((state) => state.room?.id)) !== undefined;
  const text =
    isBeginning && threadRoot === null
      ? isDirect
        ? t("room.directBeginning")
        : t("room.beginning", { room: roomName })
      : hasOlder && isLoadingOlder
        ? t("room.loadingOlder")
        : "\u00a0";
  return <p className={styles.top}>{text}</p>;
}

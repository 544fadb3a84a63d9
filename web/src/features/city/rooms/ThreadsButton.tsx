import { useEffect } from "react";
import { useTranslation } from "../../../lib/i18n";
import { useStore } from "zustand";
import { IconButton } from "../../../components/ui/Button";
import styles from "./CityRoomView.module.css";
import { UnreadDot, useIsUnread } from "./ThreadSummaryButton";
import { useRoom } from "./useRoom";
import { useThreadPanel } from "./useThreadPanel";

/** Opens the list of the room's threads; there is no button in a room without threads. */
export function ThreadsButton() {
  const { t } = useTranslation();
  const { threads } = useRoom();
  const { isOpen, openList, close } = useThreadPanel();
  const roots = useStore(threads.store, (state) => state.roots);
  const isUnread = useIsUnread();
  useEffect(() => threads.start(), [threads]);
  if (!roots.length) return null;
  return (
    <span className={styles.threads}>
      <IconButton icon="thread" label={t("thread.list")} aria-expanded={isOpen} onClick={isOpen ? close : openList} />
      {roots.some((root) => root.thread && isUnread(root.id, root.thread)) && <UnreadDot words={t("thread.unread")} />}
    </span>
  );
}

import { useEffect, useEffectEvent, useState } from "react";
import { createPortal } from "react-dom";
import { Icon } from "../../../components/ui/Icon";
import { listenForDrags, listenForDrops } from "../../../lib/dragAndDrop";
import { useTranslation } from "../../../lib/i18n";
import styles from "./DropTarget.module.css";

interface Props {
  /** Whether to take the drops in an open thread, or all others. */
  isThread: boolean;
  onFiles: (files: FileList) => void;
  onText: (text: string) => void;
}

/** Takes files and text that are dropped over the conversation, and shows an overlay while files are dragged over it. */
export function DropTarget({ isThread, onFiles, onText }: Props) {
  const { t } = useTranslation();
  const [over, setOver] = useState<Element | null>(null);
  const takeFiles = useEffectEvent(onFiles);
  const takeText = useEffectEvent(onText);
  useEffect(() => {
    const isFor = (target: Element | null) => (target?.closest("[data-thread]") != null) === isThread;
    const stopDrops = listenForDrops(
      (files) => takeFiles(files),
      (text) => takeText(text),
      isFor,
    );
    const stopDrags = listenForDrags((target) => {
      const place = isThread ? "thread" : "room";
      setOver(target && isFor(target) ? document.querySelector(`[data-drop=${place}]`) : null);
    });
    return () => {
      stopDrops();
      stopDrags();
    };
  }, [isThread]);
  if (!over) return null;
  return createPortal(
    <div className={styles.over} role="status">
      <p>
        <Icon name="clip" size={32} /> {t("room.dropHere")}
      </p>
    </div>,
    over,
  );
}

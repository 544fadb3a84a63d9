import type { Message } from "../../../api/types";
import { IconButton } from "../../../components/ui/Button";
import { FilePicture } from "../../../components/ui/FilePicture";
import { Name } from "../../../components/ui/Name";
import { excerptOf } from "../../../lib/excerpt";
import { formatBytes } from "../../../lib/formatBytes";
import { useTranslation } from "../../../lib/i18n";
import styles from "./CityRoomInput.module.css";
import type { Attachment } from "./useAttachments";

/** The line about the message that is replied to or edited. */
export function About({ replyTo, onClose }: { replyTo: Message | null; onClose: () => void }) {
  const { t } = useTranslation();
  return (
    <div className={styles.about}>
      <p dir="auto">
        <strong>{replyTo ? t("room.replyTo", { name: replyTo.author.display_name }) : t("room.editing")}</strong>{" "}
        <bdi>{replyTo && excerptOf(replyTo)}</bdi>
      </p>
      <IconButton icon="close" label={t("common.cancel")} onClick={onClose} />
    </div>
  );
}

/** The files of the next message with the progress of their uploads, until they are sent or removed. */
export function Files({ chosen, onRemove }: { chosen: readonly Attachment[]; onRemove: (id: string) => void }) {
  const { t, language } = useTranslation();
  if (!chosen.length) return null;
  return (
    <ul className={styles.files} aria-label={t("room.files")}>
      {chosen.map(({ id, file, progress: part, media }) => (
        <li key={id} className={styles.file}>
          <FilePicture file={file} />
          <span>
            <Name>{file.name}</Name>
            <small>{formatBytes(file.size, language)}</small>
          </span>
          <IconButton icon="close" label={t("room.removeFile", { name: file.name })} onClick={() => onRemove(id)} />
          {!media && part === null && <small>{t("room.fileWaits")}</small>}
          {!media && part !== null && (
            <progress value={part} aria-label={t("room.uploading", { name: file.name, percent: Math.round(part * 100) })} />
          )}
        </li>
      ))}
    </ul>
  );
}

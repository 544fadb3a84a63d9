import { useTranslation } from "../../../lib/i18n";
import { useStore } from "zustand";
import type { Media } from "../../../api/types";
import { Avatar } from "../../../components/ui/Avatar";
import { FilePicture } from "../../../components/ui/FilePicture";
import { Icon } from "../../../components/ui/Icon";
import { Name } from "../../../components/ui/Name";
import { useObjectUrl } from "../../../hooks/useObjectUrl";
import { useProblemText } from "../../../hooks/useProblemText";
import { useProfile } from "../../../hooks/useProfile";
import { isWriteForbidden, isPermanentError } from "../../../lib/deliveryErrors";
import { withNames } from "../../../lib/mentions";
import { useProfiles } from "../../../stores/profiles";
import { outbox } from "../../../stores/outbox";
import { useSession } from "../../../stores/session";
import { draftActions, useDraftKey } from "./drafts";
import { CopyText } from "./CopyText";
import { MediaView } from "./MediaView";
import styles from "./MessageRow.module.css";
import type { OutgoingMessage } from "./timeline";
import { useConversation } from "./useRoom";

/** A message of the reader that the city does not have yet. */
export function OutgoingRow({ outgoing, isFirst }: { outgoing: OutgoingMessage; isFirst: boolean }) {
  const { t } = useTranslation();
  const session = useSession((state) => state.session);
  const subject = useSession((state) => state.subject) ?? "";
  const profile = useProfile(subject, session?.displayName ?? t("common.you"));
  const profiles = useProfiles((state) => state.profiles);
  const putBack = usePutBack(outgoing);
  const { media, file } = outgoing;
  return (
    <article className={`${styles.row} ${isFirst ? styles.first : ""}`} aria-label={t("common.you")}>
      {isFirst ? <Avatar subject={subject} profile={profile} size={40} /> : <span />}
      <div className={styles.body}>
        {isFirst && (
          <p className={styles.name}>
            <Name>{profile.name}</Name>
          </p>
        )}
        {media && <UploadedMedia media={media} file={file} />}
        {!media && file && (
          <p className={styles.waitingFile}>
            <FilePicture file={file} /> <Name>{file.name}</Name>
          </p>
        )}
        <div className={styles.text} dir="auto">
          {withNames(outgoing.body, profiles).text}
        </div>
        <OutgoingStatus outgoing={outgoing} text={outgoing.body} onEdit={putBack} />
      </div>
    </article>
  );
}

/** An uploaded file, from this device: the city refuses it to an `<img>` without a token until a message shows it. */
function UploadedMedia({ media, file }: { media: Media; file: File | null }) {
  const localUrl = useObjectUrl(file);
  if (file && !localUrl) return null;
  const shown = file && localUrl ? { ...media, url: localUrl, thumbnail_url: null, file } : media;
  return <MediaView media={shown} msgtype={media.mimetype.startsWith("image/") ? "m.image" : "m.file"} />;
}

/** Put the text, the file and the reply back into the composer. */
function usePutBack({ clientId, body, file, replyTo }: OutgoingMessage): () => void {
  const key = useDraftKey();
  const room = useConversation();
  return () => {
    const { reply, putBack } = draftActions(key);
    const answered = replyTo === null ? null : room.loadedMessage(replyTo);
    if (answered) reply(answered);
    putBack(body);
    if (file) room.restoreFile(file);
    outbox.discard(clientId);
  };
}

interface StateProps {
  outgoing: Pick<OutgoingMessage, "clientId" | "state" | "problem"> & { isSlowed?: boolean };
  /** The text of the message, to be copied if it cannot be sent. */
  text: string;
  onEdit?: (() => void) | undefined;
}

/** The state of an outbox entry, the reason of a failure, and the buttons to retry, edit or discard it. */
export function OutgoingStatus({ outgoing: { clientId, state, problem, isSlowed = false }, text, onEdit }: StateProps) {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const isUnstored = useStore(outbox.store, ({ unstored }) => unstored.has(clientId));
  const isFailed = state === "failed";
  const isOver = isFailed && isPermanentError(problem?.code ?? "");
  const words = isFailed
    ? `${t("room.failed")}. ${problemText(problem)}`
    : t(state !== "waiting" ? "room.sending" : isSlowed ? "room.slowed" : "room.waiting");
  return (
    <span className={`${styles.delivery} ${isFailed ? styles.failed : ""}`} role={isFailed ? "alert" : undefined}>
      <Icon name={isFailed ? "alert" : "clock"} size={14} /> {words}
      {isUnstored && ` ${t("outbox.unstored")}`}
      {state !== "sending" && !isOver && (
        <button type="button" onClick={() => outbox.retry(clientId)}>
          {t("room.retry")}
        </button>
      )}
      {isOver && <CopyText text={text} />}
      {isFailed && !isWriteForbidden(problem?.code ?? "") && onEdit && (
        <button type="button" onClick={onEdit}>
          {t("room.edit")}
        </button>
      )}
      {state !== "sending" && (
        <button type="button" onClick={() => outbox.discard(clientId)}>
          {t("room.discard")}
        </button>
      )}
    </span>
  );
}

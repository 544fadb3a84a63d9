import { memo, useId, useState } from "react";
import { useTranslation } from "../../../lib/i18n";
import type { Author, Message, Receipt } from "../../../api/types";
import { Avatar } from "../../../components/ui/Avatar";
import { Icon } from "../../../components/ui/Icon";
import { AuthorName } from "../../../components/ui/AuthorName";
import { isEmojiOnly } from "../../../lib/emoji";
import { excerptOf } from "../../../lib/excerpt";
import { isPermanentError } from "../../../lib/deliveryErrors";
import { linkToPreview } from "../../../lib/linkToPreview";
import { subjectOf } from "../../../lib/subjects";
import { formatTime, formatDateTime } from "../../../lib/formatTime";
import { useLiveAuthor } from "../../../hooks/useLiveAuthor";
import { useProfileCard } from "../../../stores/profileCard";
import { useSession } from "../../../stores/session";
import { messageOf } from "./conversation";
import { CopyText } from "./CopyText";
import { Folded, isLong } from "./Folded";
import { LinkPreview } from "./LinkPreview";
import { LocationView } from "./LocationView";
import { MediaView } from "./MediaView";
import { MessageActions, RemoveDialog } from "./MessageActions";
import styles from "./MessageRow.module.css";
import { PollView } from "./PollView";
import { ReaderFaces } from "./ReaderFaces";
import { Reactions } from "./Reactions";
import { RichText } from "./RichText";
import { ThreadSummaryButton } from "./ThreadSummaryButton";
import { useConversation, useConversationState } from "./useRoom";

interface Props {
  message: Message;
  isFirst: boolean;
  /** Whether the message has just arrived. */
  isNew?: boolean;
  /** Whether the message has the focus or the mouse pointer: then its actions are shown. */
  isActive: boolean;
  isFlashed: boolean;
  onJump: (messageId: string) => void;
  /** The receipts of readers whose last read message it is. */
  readers?: readonly Receipt[] | undefined;
}

export const MessageRow = memo(function MessageRow({
  message,
  isFirst,
  isNew = false,
  isActive,
  isFlashed,
  onJump,
  readers,
}: Props) {
  const me = useSession((state) => state.subject);
  const isMine = subjectOf(message.author) === me;
  const userId = useSession((state) => state.session?.userId);
  const mentionsMe = !isMine && message.mentions.some((subject) => subject === me || subject === userId);
  const isInRoom = useConversation().threadRoot === null;
  // The delivery state and the readers use the same corner. Readers imply that the message was sent.
  const shownReaders = isMine && message.delivery === "pending" ? undefined : readers;
  const nameId = useId();
  const bodyId = useId();
  const look = [
    styles.row,
    isFirst && styles.first,
    (message.mentions_room || mentionsMe) && styles.mentionsMe,
    isActive && styles.active,
    isFlashed && styles.flash,
    isNew && styles.arrives,
  ];
  return (
    <article
      className={look.filter(Boolean).join(" ")}
      data-message={message.id}
      tabIndex={-1}
      aria-labelledby={nameId}
      aria-describedby={bodyId}
    >
      {isFirst ? <AuthorAvatar author={message.author} /> : <Time message={message} isAside />}
      <span id={nameId} className="quiet">
        <AuthorName author={message.author} />
      </span>
      <div className={styles.body} id={bodyId}>
        {isFirst && <MessageHeader message={message} />}
        {message.deleted ? <Deleted /> : <Content message={message} isMine={isMine} onJump={onJump} />}
        {isMine && !message.deleted && !(shownReaders && message.delivery === "sent") && <Delivery message={message} />}
        {isInRoom && message.thread && <ThreadSummaryButton rootId={message.id} thread={message.thread} />}
      </div>
      {shownReaders && <ReaderFaces readers={shownReaders} />}
      {isActive && !message.deleted && <MessageActions message={message} isMine={isMine} />}
    </article>
  );
});

function AuthorAvatar({ author }: { author: Author }) {
  const subject = subjectOf(author);
  const profile = useLiveAuthor(author);
  const show = useProfileCard((state) => state.show);
  return (
    // The name beside it opens the same card, also by keyboard.
    <button type="button" className={styles.face} tabIndex={-1} aria-hidden="true" onClick={() => show(subject)}>
      <Avatar subject={subject} profile={profile} size={40} />
    </button>
  );
}

function MessageHeader({ message }: { message: Message }) {
  const { t } = useTranslation();
  const { author } = message;
  const show = useProfileCard((state) => state.show);
  return (
    <p className={styles.head}>
      <button type="button" className={styles.name} onClick={() => show(subjectOf(author))}>
        <AuthorName author={author} />
      </button>
      {author.kind !== "citizen" && <span className={styles.badge}>{t(`kind.${author.kind}`)}</span>}
      <Time message={message} />
    </p>
  );
}

/** The time of a message. Beside the row there is space for five characters, so "PM" does not fit. */
function Time({ message, isAside = false }: { message: Message; isAside?: boolean }) {
  const { language } = useTranslation();
  return (
    <time
      className={isAside ? styles.side : styles.time}
      dateTime={message.created_at}
      title={formatDateTime(message.created_at, language)}
    >
      {formatTime(message.created_at, isAside ? `${language}-u-hc-h23` : language)}
    </time>
  );
}

function Deleted() {
  const { t } = useTranslation();
  return <p className={styles.deleted}>{t("room.deleted")}</p>;
}

interface ContentProps {
  message: Message;
  isMine: boolean;
  onJump: Props["onJump"];
}

function Content({ message, isMine, onJump }: ContentProps) {
  const { t } = useTranslation();
  const link = linkToPreview(message);
  return (
    <>
      {message.reply_to && <Quote messageId={message.reply_to} onJump={onJump} />}
      {message.media && <MediaView media={message.media} msgtype={message.msgtype} />}
      {message.location && <LocationView location={message.location} />}
      {message.poll && <PollView message={message} poll={message.poll} isMine={isMine} />}
      {hasText(message) && <MessageText message={message} />}
      {message.unsupported && (
        <span className={styles.edited} title={message.original_type ?? ""}>
          {t("room.fromAnotherApp")}
        </span>
      )}
      {message.edited_at && <span className={styles.edited}>{t("room.edited")}</span>}
      {link && <LinkPreview url={link} />}
      {message.reactions.length > 0 && <Reactions message={message} />}
    </>
  );
}

/** Whether the body is shown as text: not the name of a file, nor the text of a poll, sticker or location. */
function hasText({ body, media, poll, location }: Message): boolean {
  const isSticker = media?.sticker ?? false;
  const isShown = poll !== null || isSticker || (location !== null && body === location.description);
  return body !== "" && body !== media?.filename && !isShown;
}

function MessageText({ message }: { message: Message }) {
  const { id, body, formatted_body: html, msgtype, author } = message;
  const kinds = [
    isEmojiOnly(body) && styles.large,
    msgtype === "m.notice" && styles.notice,
    msgtype === "m.emote" && styles.emote,
  ];
  const text = (
    <RichText body={body} html={html} className={kinds.filter(Boolean).join(" ")}>
      {msgtype === "m.emote" && (
        <>
          * <AuthorName author={author} />{" "}
        </>
      )}
    </RichText>
  );
  return isLong(body) ? <Folded id={id}>{text}</Folded> : text;
}

/** The message that this one replies to, in one line. */
function Quote({ messageId, onJump }: { messageId: string; onJump: Props["onJump"] }) {
  const { t } = useTranslation();
  const quoted = useConversationState((state) => messageOf(state, messageId));
  const words = quoted?.deleted ? t("room.deleted") : quoted ? excerptOf(quoted) : t("room.earlier");
  return (
    <button type="button" className={styles.quote} title={t("room.jump")} onClick={() => onJump(messageId)}>
      <span className="quiet">{t("room.jump")}: </span>
      <span dir="auto">
        {quoted && (
          <strong>
            <AuthorName author={quoted.author} />{" "}
          </strong>
        )}
        <bdi>{words}</bdi>
      </span>
    </button>
  );
}

/** The delivery state of the reader's own message. */
function Delivery({ message }: { message: Message }) {
  const { t } = useTranslation();
  if (message.delivery === "sent") return <DeliveryIcon icon="check" words={t("room.sent")} />;
  if (message.delivery === "pending") return <DeliveryIcon icon="clock" words={t("room.pending")} />;
  return <FailedDelivery message={message} />;
}

/** A message that the homeserver refused. The city still shows it, so discarding it deletes it. */
function FailedDelivery({ message }: { message: Message }) {
  const { t } = useTranslation();
  const room = useConversation();
  const [isAsking, setAsking] = useState(false);
  const cause = message.delivery_error ?? "refused";
  return (
    <>
      <span className={`${styles.delivery} ${styles.failed}`}>
        <Icon name="alert" size={14} /> {t(`room.failedBecause.${cause}`)}
        {isPermanentError(cause) ? (
          <>
            <CopyText text={message.body} />
            <button type="button" onClick={() => setAsking(true)}>
              {t("room.discard")}
            </button>
          </>
        ) : (
          <button type="button" onClick={() => void room.retryDelivery(message)}>
            {t("room.retry")}
          </button>
        )}
      </span>
      {isAsking && <RemoveDialog message={message} onClose={() => setAsking(false)} />}
    </>
  );
}

function DeliveryIcon({ icon, words }: { icon: "check" | "clock"; words: string }) {
  return (
    <span className={`${styles.delivery} ${styles.sign}`} title={words} role="img" aria-label={words}>
      <Icon name={icon} size={14} />
    </span>
  );
}

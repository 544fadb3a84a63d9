import { useMemo, useSyncExternalStore } from "react";
import { useTranslation } from "../../../lib/i18n";
import type { Author, ThreadSummary } from "../../../api/types";
import { Avatar } from "../../../components/ui/Avatar";
import { Icon } from "../../../components/ui/Icon";
import { useNow } from "../../../hooks/useNow";
import { useLiveAuthor } from "../../../hooks/useLiveAuthor";
import { subscribeToReadMarks, readMarksVersion, threadReadUpTo } from "../../../lib/readMarks";
import { subjectOf } from "../../../lib/subjects";
import { relativeTime, formatDateTime } from "../../../lib/formatTime";
import { useSession } from "../../../stores/session";
import styles from "./ThreadSummaryButton.module.css";
import { useRoomState } from "./useRoom";
import { useThreadPanel } from "./useThreadPanel";

const FACES = 3;

/** The line below the root of a thread: the number of its replies, their authors and the time. A click opens the thread. */
export function ThreadSummaryButton({ rootId, thread }: { rootId: string; thread: ThreadSummary }) {
  const { t } = useTranslation();
  const { rootId: openId, open } = useThreadPanel();
  const isUnread = useThreadUnread(rootId, thread);
  return (
    <button type="button" className={styles.line} aria-expanded={openId === rootId} onClick={() => open(rootId)}>
      <ThreadReplyCount thread={thread} />
      {isUnread && <UnreadDot words={t("thread.unread")} />}
    </button>
  );
}

/** The authors of the newest replies, the number of replies and the time of the last one. */
export function ThreadReplyCount({ thread }: { thread: ThreadSummary }) {
  const { t, language } = useTranslation();
  const now = useNow();
  const shown = thread.authors.slice(0, FACES);
  return (
    <>
      {shown.length ? (
        <span className={styles.faces} aria-hidden="true">
          {shown.map((author) => (
            <Face key={subjectOf(author)} author={author} />
          ))}
        </span>
      ) : (
        <Icon name="thread" size={16} />
      )}
      <span className={styles.count}>{t("thread.replies", { count: thread.count })}</span>
      <time className={styles.time} dateTime={thread.last_reply_at} title={formatDateTime(thread.last_reply_at, language)}>
        {relativeTime(thread.last_reply_at, now, language)}
      </time>
    </>
  );
}

function Face({ author }: { author: Author }) {
  const subject = subjectOf(author);
  const profile = useLiveAuthor(author);
  return <Avatar subject={subject} profile={profile} size={22} />;
}

export function UnreadDot({ words }: { words: string }) {
  return <span className={styles.dot} role="img" aria-label={words} title={words} />;
}

/** Whether a thread has replies of others since it was last open in this browser. */
function useThreadUnread(rootId: string, thread: ThreadSummary): boolean {
  const isUnread = useIsUnread();
  return isUnread(rootId, thread);
}

export function useIsUnread(): (rootId: string, thread: ThreadSummary) => boolean {
  const me = useSession((state) => state.session?.userId ?? null);
  const subject = useSession((state) => state.subject);
  const roomId = useRoomState((state) => state.room?.id ?? "");
  const marks = useSyncExternalStore(subscribeToReadMarks, readMarksVersion);
  return useMemo(
    () =>
      (rootId, { authors: [newest], last_seq: last }) =>
        !(newest && subjectOf(newest) === subject) && last > threadReadUpTo(me, roomId, rootId),
    // The marks are in the browser's storage; `marks` is their version.
    // eslint-disable-next-line react-hooks/exhaustive-deps
    [me, subject, roomId, marks],
  );
}

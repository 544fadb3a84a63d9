import { useTranslation } from "../../../lib/i18n";
import { useStore } from "zustand";
import type { Message, ThreadSummary } from "../../../api/types";
import { Avatar } from "../../../components/ui/Avatar";
import { Button } from "../../../components/ui/Button";
import { AuthorName } from "../../../components/ui/AuthorName";
import { Notice, ProblemNotice, Skeleton } from "../../../components/ui/Notice";
import { useLiveAuthor } from "../../../hooks/useLiveAuthor";
import { excerptOf } from "../../../lib/excerpt";
import { subjectOf } from "../../../lib/subjects";
import { ThreadReplyCount, UnreadDot, useIsUnread } from "./ThreadSummaryButton";
import styles from "./ThreadPanel.module.css";
import { useRoom } from "./useRoom";
import { useThreadPanel } from "./useThreadPanel";

/** The threads of a room, the one with the newest reply first. */
export function ThreadListView() {
  const { t } = useTranslation();
  const { threads } = useRoom();
  const { roots, hasMore, isLoading, error } = useStore(threads.store);
  const isUnread = useIsUnread();
  if (!roots.length) {
    if (error) return <ProblemNotice error={error} onRetry={() => void threads.load()} />;
    return isLoading ? <Skeleton heights={[4, 4, 4]} /> : <Notice icon="thread" title={t("thread.none")} />;
  }
  return (
    <div className={styles.scroll}>
      <ul className={styles.threads}>
        {roots.map(
          (root) =>
            root.thread && (
              <li key={root.id}>
                <ThreadEntry root={root} thread={root.thread} isUnread={isUnread(root.id, root.thread)} />
              </li>
            ),
        )}
      </ul>
      {hasMore && (
        <Button disabled={isLoading} onClick={() => void threads.loadMore()}>
          {t("thread.more")}
        </Button>
      )}
    </div>
  );
}

function ThreadEntry({ root, thread, isUnread }: { root: Message; thread: ThreadSummary; isUnread: boolean }) {
  const { t } = useTranslation();
  const { open } = useThreadPanel();
  const { author } = root;
  const subject = subjectOf(author);
  const profile = useLiveAuthor(author);
  return (
    <button type="button" className={styles.entry} onClick={() => open(root.id)}>
      <Avatar subject={subject} profile={profile} size={36} />
      <span className={styles.words}>
        <strong>
          <AuthorName author={author} />
        </strong>
        <bdi className={styles.excerpt}>{root.deleted ? t("room.deleted") : excerptOf(root)}</bdi>
        <span className={styles.figures}>
          <ThreadReplyCount thread={thread} />
          {isUnread && <UnreadDot words={t("thread.unread")} />}
        </span>
      </span>
    </button>
  );
}

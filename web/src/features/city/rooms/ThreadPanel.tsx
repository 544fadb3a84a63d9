import { useEffect, useRef, useState, type KeyboardEvent, type ReactNode } from "react";
import { useTranslation } from "../../../lib/i18n";
import { useStore } from "zustand";
import { IconButton } from "../../../components/ui/Button";
import { Name } from "../../../components/ui/Name";
import { InlineProblem, ProblemNotice, Skeleton } from "../../../components/ui/Notice";
import { excerptOf } from "../../../lib/excerpt";
import { CityRoomInput } from "./CityRoomInput";
import { CityRoomMessageList } from "./CityRoomMessageList";
import { PendingChanges } from "./PendingChanges";
import { ThreadListView } from "./ThreadListView";
import { ThreadModel } from "./threadModel";
import styles from "./ThreadPanel.module.css";
import { ThreadContext, useRoom, useRoomState } from "./useRoom";
import { useThreadPanel } from "./useThreadPanel";

/** The panel beside a room, or over it: a thread, or the list of the room's threads. */
export default function ThreadPanel() {
  const { t } = useTranslation();
  const { rootId, close } = useThreadPanel();
  const panel = useRef<HTMLElement>(null);
  useFocusIn(panel);
  const onKeyDown = (event: KeyboardEvent) => {
    const isOfOther = event.target instanceof Element && event.target.closest("dialog") !== null;
    const hasMenu = panel.current?.querySelector(":popover-open") != null;
    if (event.key !== "Escape" || event.nativeEvent.isComposing || isOfOther || hasMenu) return;
    event.preventDefault();
    close();
  };
  return (
    // Escape closes the panel from any element in it; the button does the same.
    // eslint-disable-next-line jsx-a11y/no-noninteractive-element-interactions
    <aside
      ref={panel}
      className={styles.panel}
      data-thread
      data-drop="thread"
      tabIndex={-1}
      aria-label={t(rootId === null ? "thread.list" : "thread.title")}
      onKeyDown={onKeyDown}
    >
      {rootId === null ? <Threads /> : <Thread key={rootId} rootId={rootId} />}
    </aside>
  );
}

function Threads() {
  const { t } = useTranslation();
  return (
    <>
      <Head title={t("thread.list")} />
      <ThreadListView />
    </>
  );
}

function Thread({ rootId }: { rootId: string }) {
  const { t } = useTranslation();
  const room = useRoom();
  const [model] = useState(() => new ThreadModel(room, rootId));
  const { root, isLoaded, error, problem } = useStore(model.store);
  const { open } = useThreadPanel();
  useEffect(() => {
    model.start();
    return () => model.stop();
  }, [model]);
  // The URL of a reply opens the thread of the reply.
  const realRoot = isLoaded ? root?.thread_root : null;
  useEffect(() => {
    if (realRoot) open(realRoot);
  }, [open, realRoot]);

  const name = root?.author.display_name ?? "";
  return (
    <ThreadContext value={model}>
      <Head title={t("thread.title")}>
        {root && (
          <p>
            <Name>{name}</Name> <bdi>{root.deleted ? t("room.deleted") : excerptOf(root)}</bdi>
          </p>
        )}
      </Head>
      {error ? (
        <ProblemNotice error={error} onRetry={() => model.start()} />
      ) : isLoaded ? (
        <Conversation name={name} problem={problem} />
      ) : (
        <Skeleton heights={[4, 4, 4]} />
      )}
    </ThreadContext>
  );
}

function Conversation({ name, problem }: { name: string; problem: unknown }) {
  const { t } = useTranslation();
  const room = useRoomState((state) => state.room);
  if (!room) return null;
  return (
    <>
      <CityRoomMessageList roomName={room.name} label={t("thread.log", { name })} />
      <div className={styles.foot}>
        <InlineProblem error={problem} />
        <PendingChanges />
        <CityRoomInput room={room} />
      </div>
    </>
  );
}

function Head({ title, children }: { title: string; children?: ReactNode }) {
  const { t } = useTranslation();
  const { rootId, isList, openList, close } = useThreadPanel();
  return (
    <header className={styles.head}>
      {rootId !== null && isList && <IconButton icon="back" label={t("thread.back")} onClick={openList} />}
      <div className={styles.title}>
        <h2>{title}</h2>
        {children}
      </div>
      <IconButton icon="close" label={t("common.close")} onClick={close} />
    </header>
  );
}

/** Move the focus into the panel, and back to its opener when the panel closes. */
function useFocusIn(panel: { current: HTMLElement | null }): void {
  useEffect(() => {
    const opener = document.activeElement;
    if (!panel.current?.contains(opener)) panel.current?.focus({ preventScroll: true });
    return () => {
      // Another element that has the focus by now keeps it.
      if (document.activeElement && document.activeElement !== document.body) return;
      // The list may have unmounted the opener's row by now.
      const isThere = opener instanceof HTMLElement && opener !== document.body && opener.isConnected;
      (isThere ? opener : document.querySelector<HTMLElement>("[role=log]"))?.focus({ preventScroll: true });
    };
  }, [panel]);
}

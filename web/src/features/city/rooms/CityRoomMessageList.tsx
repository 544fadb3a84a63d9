import {
  useCallback,
  useEffect,
  useEffectEvent,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
  type FocusEvent,
  type KeyboardEvent,
  type MouseEvent,
  type RefObject,
} from "react";
import { useTranslation } from "../../../lib/i18n";
import { Virtualizer, type VirtualizerHandle } from "virtua";
import type { Receipt } from "../../../api/types";
import { Button } from "../../../components/ui/Button";
import { Icon } from "../../../components/ui/Icon";
import { Notice } from "../../../components/ui/Notice";
import { excerptOf } from "../../../lib/excerpt";
import { subjectOf } from "../../../lib/subjects";
import { whenRendered } from "../../../lib/whenRendered";
import { useSession } from "../../../stores/session";
import styles from "./CityRoomMessageList.module.css";
import { DayLine } from "./DayLine";
import { TimelineStart } from "./TimelineStart";
import { MembershipNotice } from "./MembershipNotice";
import { MessageRow } from "./MessageRow";
import { OutgoingRow } from "./OutgoingRow";
import { rowsOf, type Row } from "./rows";
import { useAutoScroll } from "./useAutoScroll";
import { outgoingChanges, outgoingMessages, visibleTimeline, withChanges, type Timeline } from "./timeline";
import { useListPlace } from "./useListPlace";
import { useLongPress } from "./useLongPress";
import { useReaders } from "./useReaders";
import { useConversation, useConversationState, useRoomOutbox, useRoomState } from "./useRoom";

/** Messages are fetched when less than this is left above, or below. */
const FETCH_WITHIN_PX = 600;
const FLASH_MS = 2_000;

interface Props {
  roomName: string;
  /** The accessible name of the list; by default that of the conversation in the room. */
  label?: string;
  /** Whether something covers the list, so that nobody reads it. */
  isCovered?: boolean;
  /** The id of a message to show first, from the URL of the page. */
  target?: string | undefined;
  /** The time of the click that asked for `target`, so that a second click shows it again. */
  shownAt?: number | undefined;
}

/** The messages of a conversation. The list grows at both ends; at the bottom it follows new messages, elsewhere it counts. */
export function CityRoomMessageList({ roomName, label, isCovered = false, target, shownAt }: Props) {
  const { t } = useTranslation();
  const model = useConversation();
  const { threadRoot } = model;
  // One selector for each value: changes of typing and members do not render the list.
  const timeline = useShownTimeline();
  const unread = useConversationState((state) => state.unread);
  const mayRead = useRoomState((state) => state.mayRead);
  const isLoadingOlder = useConversationState((state) => state.isLoadingOlder);
  const readers = useReaders(timeline.messages);
  const me = useSession((state) => state.subject);
  const entries = useRoomOutbox();
  const outbox = useMemo(() => outgoingMessages(entries).filter((each) => each.threadRoot === threadRoot), [entries, threadRoot]);
  const rows = useMemo(() => {
    const shown = withChanges(timeline, outgoingChanges(entries), me);
    return rowsOf(shown, outbox, { me, unread });
  }, [timeline, entries, outbox, me, unread]);
  const scroller = useRef<HTMLDivElement>(null);
  const handle = useRef<VirtualizerHandle>(null);
  const newest = useNewestOfOthers(rows);
  const [active, setActive] = useState<string | null>(null);
  const [flashed, setFlashed] = useState<string | null>(null);
  // A reader who comes back to the room sees what they left, instead of the linked or the first unread message.
  const place = useListPlace(scroller, threadRoot);
  const left = place === "end" ? undefined : place;
  const { isAtBottom, newBelow, look, beforeJump, toBottom, endSettling } = useAutoScroll(
    scroller,
    rows,
    outbox.length,
    timeline.hasNewer,
    left !== undefined || (target !== undefined && place === undefined),
  );

  useStartAt(handle, rows, left === undefined, place === undefined ? target : undefined);
  useReading(isAtBottom && !isCovered);
  useFilled(scroller, timeline);

  const onScroll = (offset: number) => {
    look();
    if (offset < FETCH_WITHIN_PX) void model.loadOlder();
    const below = (scroller.current?.scrollHeight ?? 0) - offset - (scroller.current?.clientHeight ?? 0);
    if (below < FETCH_WITHIN_PX) void model.loadNewer();
  };
  const returnsRef = useRef(false);
  /** The message that stays in its place while the pages around it are loaded, until the reader scrolls. */
  const heldRef = useRef<HeldRow | null>(left ?? null);
  const release = () => {
    heldRef.current = null;
    endSettling();
  };
  const toNewest = () => {
    release();
    returnsRef.current = timeline.hasNewer;
    model.showNewest();
    toBottom();
  };
  // The newest rows are not measured yet, so there is no pixel position to scroll to: virtua finds its way by index.
  useLayoutEffect(() => {
    if (timeline.hasNewer || !returnsRef.current) return;
    returnsRef.current = false;
    handle.current?.scrollToIndex(rows.length - 1, { align: "end" });
  }, [timeline.hasNewer, rows]);

  const jump = useCallback(
    async (messageId: string) => {
      if (!(await model.loadAround(messageId))) return;
      heldRef.current = { messageId };
      setFlashed(messageId);
      setTimeout(() => setFlashed(null), FLASH_MS);
    },
    [model],
  );
  const onJump = useCallback((messageId: string) => void jump(messageId), [jump]);
  const shownTarget = useRef(place && { target, shownAt });
  useEffect(() => {
    if (target === undefined || (shownTarget.current?.target === target && shownTarget.current.shownAt === shownAt))
      return undefined;
    const frame = requestAnimationFrame(() => {
      shownTarget.current = { target, shownAt };
      onJump(target);
    });
    return () => cancelAnimationFrame(frame);
  }, [target, shownAt, onJump]);
  // The message may have gone meanwhile, or cannot be loaded now.
  const giveUpPlace = useEffectEvent((isLoaded: boolean) => !isLoaded && toNewest());
  useEffect(() => {
    if (left) void model.loadAround(left.messageId, { isQuiet: true }).then(giveUpPlace);
  }, [model, left]);

  useLayoutEffect(() => {
    const held = heldRef.current;
    const index = held === null ? -1 : indexOf(rows, held.messageId);
    if (index < 0) return;
    beforeJump();
    const top = held?.top;
    // The positions of virtua begin below the padding of the list.
    const padding = scroller.current ? parseFloat(getComputedStyle(scroller.current).paddingTop) || 0 : 0;
    handle.current?.scrollToIndex(index, top === undefined ? { align: "center" } : { align: "start", offset: padding - top });
    // Runs after a jump to a message, and when rows are added before and after the message at once: virtua does not keep the position then.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [flashed, rows]);

  const stopFocusing = useRef<() => void>(() => undefined);
  const move = (event: KeyboardEvent) => {
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    const isRow = event.target instanceof Element && event.target.hasAttribute("data-message");
    if (isRow && !step) pressButton(event, event.target as Element);
    if (!step || event.altKey || !(isRow || event.target === event.currentTarget)) return;
    event.preventDefault();
    const messages = rows.flatMap((row, index) => (row.kind === "message" ? [{ id: row.message.id, index }] : []));
    const now = messages.findIndex(({ id }) => id === active);
    const next = messages[now < 0 ? messages.length - 1 : Math.max(0, Math.min(messages.length - 1, now + step))];
    if (!next) return;
    setActive(next.id);
    handle.current?.scrollToIndex(next.index, { align: "nearest" });
    stopFocusing.current();
    stopFocusing.current = whenRendered(
      () => scroller.current?.querySelector<HTMLElement>(`[data-message="${CSS.escape(next.id)}"]`),
      (shown) => shown.focus({ preventScroll: true }),
    );
  };
  const longPress = useLongPress((target) => {
    const id = target.closest<HTMLElement>("[data-message]")?.dataset.message;
    if (!id) return;
    setActive(id);
    whenRendered(
      () => target.closest("[data-message]")?.querySelector<HTMLElement>("[data-sheet]"),
      (button) => button.click(),
    );
  });
  const point = ({ target }: MouseEvent | FocusEvent) => {
    const id = target instanceof Element ? target.closest<HTMLElement>("[data-message]")?.dataset.message : undefined;
    if (id && !isBusy()) setActive(id);
  };
  /** Whether a menu or dialog of a message is open: the message stays active, wherever the mouse goes on its way there. */
  const isBusy = () => scroller.current?.querySelector(":popover-open, dialog[open]") !== null;

  const isEmpty = !timeline.messages.length && !outbox.length;
  return (
    <div className={styles.frame}>
      {/* The list is one tab stop, in which arrow keys move from message to message. */}
      {}
      {/* eslint-disable jsx-a11y/no-noninteractive-element-interactions, jsx-a11y/no-noninteractive-tabindex */}
      <div
        ref={scroller}
        className={styles.list}
        role="log"
        aria-live="off"
        aria-label={label ?? t("room.log", { room: roomName })}
        tabIndex={0}
        onKeyDown={move}
        onMouseOver={point}
        onFocus={point}
        onMouseLeave={() => !isBusy() && setActive(null)}
        onWheelCapture={release}
        onPointerDownCapture={release}
        onTouchMoveCapture={release}
        onKeyDownCapture={release}
        {...longPress}
      >
        {/* eslint-enable */}
        <div className={styles.spacer} />
        {isEmpty && mayRead && (
          <Notice icon="rooms" title={t("room.empty")}>
            <p>{t("room.emptyHint")}</p>
          </Notice>
        )}
        <Virtualizer
          ref={handle}
          data={rows}
          scrollRef={scroller}
          shift={timeline.grewAt === "older"}
          onScroll={onScroll}
          bufferSize={400}
        >
          {(row) => (
            <Line
              key={row.key}
              row={row}
              readers={row.kind === "message" ? readers.get(row.message.id) : undefined}
              roomName={roomName}
              isLoadingOlder={isLoadingOlder}
              hasOlder={timeline.hasOlder}
              isNew={row.key === newest}
              isActive={row.kind === "message" && row.message.id === active}
              isFlashed={row.kind === "message" && [flashed, target].includes(row.message.id)}
              onJump={onJump}
            />
          )}
        </Virtualizer>
      </div>
      {!isAtBottom && (
        <Button
          variant="main"
          className={styles.below ?? ""}
          onClick={toNewest}
          aria-label={newBelow ? undefined : t("room.toBottom")}
        >
          {newBelow > 0 && t("room.newBelow", { count: newBelow })} <Icon name="down" />
        </Button>
      )}
      <NewAloud />
    </div>
  );
}

/** Click the button of the focused message whose key was pressed. `code` is the place of the key: layouts differ. */
function pressButton(event: KeyboardEvent, row: Element): void {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const button = row.querySelector<HTMLElement>(`[data-code="${CSS.escape(event.code)}"]`);
  if (!button) return;
  event.preventDefault();
  button.click();
}

/** The visible messages of the conversation. */
function useShownTimeline(): Timeline {
  const { threadRoot } = useConversation();
  const timeline = useConversationState((state) => state.timeline);
  const root = useConversationState((state) => state.root);
  return useMemo(() => visibleTimeline(timeline, threadRoot, root), [timeline, threadRoot, root]);
}

interface LineProps {
  row: Row;
  readers: readonly Receipt[] | undefined;
  roomName: string;
  isLoadingOlder: boolean;
  hasOlder: boolean;
  isNew: boolean;
  isActive: boolean;
  isFlashed: boolean;
  onJump: (messageId: string) => void;
}

function Line({ row, roomName, isLoadingOlder, hasOlder, ...rest }: LineProps) {
  const { t } = useTranslation();
  switch (row.kind) {
    case "top":
      return <TimelineStart roomName={roomName} hasOlder={hasOlder} isLoadingOlder={isLoadingOlder} />;
    case "day":
      return <DayLine day={row.day} />;
    case "unread":
      return <p className={`${styles.line} ${styles.unread}`}>{t("room.unread")}</p>;
    case "note":
      return <MembershipNotice note={row.note} />;
    case "message":
      return <MessageRow message={row.message} isFirst={row.isFirst} {...rest} />;
    case "outgoing":
      return <OutgoingRow outgoing={row.outgoing} isFirst={row.isFirst} />;
  }
}

/** The key of the last row, if it is a message of another author that came after the list was first shown. */
function useNewestOfOthers(rows: readonly Row[]): string | null {
  const me = useSession((state) => state.subject);
  const last = rows.at(-1);
  const seq = last?.kind === "message" ? last.message.seq : 0;
  const [firstSeen] = useState(seq);
  const isNews = last?.kind === "message" && firstSeen > 0 && seq > firstSeen && subjectOf(last.message.author) !== me;
  return isNews ? last.key : null;
}

/** A polite live region for new messages. The list has `aria-live="off"`, as it changes while the reader scrolls. */
function NewAloud() {
  const me = useSession((state) => state.subject);
  const { messages } = useShownTimeline();
  const last = messages.at(-1);
  const [firstSeen] = useState(last?.seq ?? 0);
  const isNews = last && last.seq > firstSeen && !last.deleted && subjectOf(last.author) !== me;
  return (
    <p className="quiet" aria-live="polite">
      {isNews && `${last.author.display_name}: ${excerptOf(last)}`}
    </p>
  );
}

/** A message that stays in the middle of the list, or `top` pixels below the top of the list. */
interface HeldRow {
  messageId: string;
  top?: number;
}

/** Start at the linked message, else at the first unread one, else at the end. */
function useStartAt(
  handle: { current: VirtualizerHandle | null },
  rows: Row[],
  starts: boolean,
  target: string | undefined,
): void {
  const isStarted = useRef(false);
  useLayoutEffect(() => {
    if (!starts || isStarted.current || rows.length < 2) return;
    isStarted.current = true;
    const linked = target === undefined ? -1 : indexOf(rows, target);
    const unread = rows.findIndex(({ kind }) => kind === "unread");
    if (linked >= 0) handle.current?.scrollToIndex(linked, { align: "center" });
    else if (unread >= 0) handle.current?.scrollToIndex(unread, { align: "start" });
    else handle.current?.scrollToIndex(rows.length - 1, { align: "end" });
  }, [handle, rows, starts, target]);
}

/** Mark the room as read while the page is visible and the list is at the bottom. */
function useReading(isAtBottom: boolean): void {
  const model = useConversation();
  const lastSeq = useRoomState((state) => state.room?.last_seq ?? 0);
  const last = useConversationState((state) => state.timeline.messages.at(-1)?.id);
  const link = useRoomState((state) => state.connection);
  const me = useSession((state) => state.session?.userId ?? null);
  useEffect(() => {
    if (!isAtBottom) return undefined;
    const read = () => {
      if (document.visibilityState !== "hidden") model.readToEnd();
    };
    read();
    document.addEventListener("visibilitychange", read);
    return () => document.removeEventListener("visibilitychange", read);
  }, [model, lastSeq, last, isAtBottom, link, me]);
}

/** Load older messages while the list is too short to be scrolled: the loaded ones may be hidden replies of threads. */
function useFilled(scroller: RefObject<HTMLDivElement | null>, timeline: Timeline): void {
  const model = useConversation();
  useEffect(() => {
    const list = scroller.current;
    if (list && list.clientHeight > 0 && timeline.hasOlder && list.scrollHeight <= list.clientHeight) void model.loadOlder();
  }, [model, scroller, timeline]);
}

function indexOf(rows: Row[], messageId: string): number {
  return rows.findIndex((row) => row.kind === "message" && row.message.id === messageId);
}

import { Suspense, useEffect, useMemo, useRef, useState } from "react";
import { useTranslation } from "../../../lib/i18n";
import { useLocation, useParams } from "react-router";
import { lazyPage } from "../../../components/lazyPage";
import { lazyPart } from "../../../components/lazyPart";
import { ButtonLink } from "../../../components/ui/Button";
import { Icon } from "../../../components/ui/Icon";
import { InlineProblem, ProblemNotice, Skeleton } from "../../../components/ui/Notice";
import { useDirectChat } from "../../../hooks/useDirectChat";
import { useMediaQuery } from "../../../hooks/useMediaQuery";
import { useShownHeight } from "../../../hooks/useShownHeight";
import { usePageTitle } from "../../../hooks/usePageTitle";
import { Name } from "../../../components/ui/Name";
import { useOpenRoom } from "../../../stores/openRoom";
import { PictureOutlet } from "../../viewer/PictureOutlet";
import { CityRoomInput } from "./CityRoomInput";
import { CityRoomMessageList } from "./CityRoomMessageList";
import styles from "./CityRoomView.module.css";
import { MemberList } from "./MemberList";
import { OutgoingRow } from "./OutgoingRow";
import { PinnedMessages } from "./PinnedMessages";
import { PendingChanges } from "./PendingChanges";
import { outgoingMessages } from "./timeline";
import { RoomHeader } from "./RoomHeader";
import { RoomStatus } from "./RoomStatus";
import { TypingIndicator } from "./TypingIndicator";
import { useThreadPanel } from "./useThreadPanel";
import { RoomContext, useRoom, useRoomModel, useRoomOutbox, useRoomState } from "./useRoom";

const ThreadPanel = lazyPage(() => import("./ThreadPanel"));
const EncryptedChat = lazyPart(() => import("./EncryptedChat"));

/** A room: its messages, its members and the composer. */
export default function CityRoomView() {
  const { slug = "" } = useParams();
  const chat = useDirectChat(slug);
  if (chat?.read_only === "encrypted") return <EncryptedChat chat={chat} />;
  return <OpenRoom key={slug} slug={slug} />;
}

function OpenRoom({ slug }: { slug: string }) {
  const model = useRoomModel(slug);
  return (
    <RoomContext value={model}>
      <RoomLayout />
    </RoomContext>
  );
}

function RoomLayout() {
  const model = useRoom();
  const details = useRoomState((state) => state.room);
  const chat = useDirectChat(details?.id);
  // The room of a direct chat has no name of its own: each of the two sees the name of the other.
  const room = details && chat ? { ...details, name: chat.citizen.display_name } : details;
  const error = useRoomState((state) => state.error);
  const problem = useRoomState((state) => state.problem);
  const isWide = useMediaQuery("(width >= 900px)");
  // In a wide window, the members are beside the conversation from the start; in a narrow one, they cover it on request.
  const [shown, setShown] = useState({ beside: true, over: false });
  const showsMembers = isWide ? shown.beside : shown.over;
  const thread = useThreadPanel();
  const target = useTarget();
  const { state } = useLocation() as { state: { shownAt?: number } | null };
  const shownAt = state?.shownAt;
  const isThreadBeside = useMediaQuery("(width >= 1100px)");
  const isCovered = thread.isOpen && !isThreadBeside;
  const showMembers = (shows: boolean) => setShown(isWide ? { ...shown, beside: shows } : { ...shown, over: shows });
  useOpenRoomRights();
  usePageTitle(room?.name ?? null);
  useShownHeight();

  if (error) return <ProblemNotice isPage error={error} onRetry={() => model.start()} />;
  if (!room) return <RoomLoading />;
  const layout = thread.isOpen ? styles.withThread : showsMembers ? "" : styles.alone;
  const hasMembers = showsMembers && !thread.isOpen;
  const toggleMembers = () => {
    if (thread.isOpen) thread.close();
    showMembers(!hasMembers);
  };
  return (
    <div className={`${styles.view} ${layout}`} data-full-height="room">
      <section className={styles.conversation} data-drop="room" aria-labelledby="room-title" inert={isCovered}>
        <RoomHeader room={room} chat={chat} showsMembers={hasMembers} onMembers={toggleMembers} />
        <div>
          <RoomStatus />
          <PinnedMessages />
        </div>
        <CityRoomMessageList roomName={room.name} isCovered={isCovered} target={target} shownAt={shownAt} />
        <div className={styles.foot}>
          <InlineProblem error={problem} />
          <TypingIndicator />
          <PendingChanges />
          <CityRoomInput room={room} />
        </div>
      </section>
      {thread.isOpen && (
        <div className={isCovered ? styles.over : styles.beside}>
          <Suspense fallback={<Skeleton heights={[3, 10]} />}>
            <ThreadPanel />
          </Suspense>
        </div>
      )}
      {hasMembers && <MemberList roomName={room.name} isOver={!isWide} onClose={() => showMembers(false)} />}
      <PictureOutlet />
    </div>
  );
}

/** Provide the reader's rights in the open room to the profile cards, which open over any page. */
function useOpenRoomRights() {
  const room = useRoomState((state) => state.room);
  const rights = useRoomState((state) => state.rights);
  const { id, slug, name } = room ?? { id: null, slug: "", name: "" };
  useEffect(() => {
    useOpenRoom.setState({ room: id !== null && rights ? { id, slug, name, rights } : null });
  }, [id, slug, name, rights]);
  // A separate effect: when somebody else changes the room, its settings must stay open.
  useEffect(() => () => useOpenRoom.setState({ room: null, showsSettings: false }), [id]);
}

/** The message of the page's URL, in the main timeline; the thread of a reply is opened. */
function useTarget(): string | undefined {
  const { messageId } = useParams();
  const { open } = useThreadPanel();
  const threadRoot = useRoomState(({ timeline }) =>
    messageId === undefined ? null : (timeline.messages.find(({ id }) => id === messageId)?.thread_root ?? null),
  );
  const opened = useRef<string | null>(null);
  useEffect(() => {
    if (messageId === undefined || threadRoot === null || opened.current === messageId) return;
    opened.current = messageId;
    open(threadRoot);
  }, [messageId, threadRoot, open]);
  return threadRoot ?? messageId;
}

function RoomSkeleton() {
  const { t } = useTranslation();
  return (
    <div className={styles.loading} data-full-height="room">
      <ButtonLink look="bare" className={styles.onlyNarrow ?? ""} to="/city" aria-label={t("rooms.title")}>
        <Icon name="back" />
      </ButtonLink>
      <Skeleton heights={[2, 24, 3]} />
    </div>
  );
}

/** The placeholder while the room is loaded. While the city is unreachable, it shows the reader's outbox for the room. */
function RoomLoading() {
  const entries = useRoomOutbox();
  const isAway = useRoomState(({ connection: link }) => link === "waiting");
  const waiting = useMemo(() => outgoingMessages(entries), [entries]);
  if (!isAway || !entries[0]) return <RoomSkeleton />;
  return (
    <section className={styles.waiting} aria-labelledby="room-title" data-full-height>
      <h1 id="room-title">
        <Name>{entries[0].room.name}</Name>
      </h1>
      {waiting.map((outgoing, index) => (
        <OutgoingRow key={outgoing.clientId} outgoing={outgoing} isFirst={index === 0} />
      ))}
      <PendingChanges />
    </section>
  );
}

import { Suspense } from "react";
import { buttonClass, IconButton } from "../../components/ui/Button";
import { Icon } from "../../components/ui/Icon";
import { Name } from "../../components/ui/Name";
import { InlineProblem, ProblemNotice, Skeleton } from "../../components/ui/Notice";
import { lazyPage } from "../../components/lazyPage";
import { useShownHeight } from "../../hooks/useShownHeight";
import { useTranslation } from "../../lib/i18n";
import { roomPath } from "../../lib/paths";
import { PictureOutlet } from "../viewer/PictureOutlet";
import { CityRoomInput } from "../city/rooms/CityRoomInput";
import { CityRoomMessageList } from "../city/rooms/CityRoomMessageList";
import { PendingChanges } from "../city/rooms/PendingChanges";
import { RoomIcon } from "../city/rooms/RoomIcon";
import { RoomStatus } from "../city/rooms/RoomStatus";
import { TypingIndicator } from "../city/rooms/TypingIndicator";
import { RoomContext, useRoom, useRoomModel, useRoomState } from "../city/rooms/useRoom";
import { useThreadPanel } from "../city/rooms/useThreadPanel";
import styles from "./Embed.module.css";

const ThreadPanel = lazyPage(() => import("../city/rooms/ThreadPanel"));

/** The conversation of a room and nothing around it; `onClose` if the page around the frame can close it. */
export function EmbedRoom({ slug, onClose }: { slug: string; onClose: (() => void) | null }) {
  const model = useRoomModel(slug);
  return (
    <RoomContext value={model}>
      <Conversation slug={slug} onClose={onClose} />
    </RoomContext>
  );
}

function Conversation({ slug, onClose }: { slug: string; onClose: (() => void) | null }) {
  const model = useRoom();
  const room = useRoomState((state) => state.room);
  const error = useRoomState((state) => state.error);
  const problem = useRoomState((state) => state.problem);
  const thread = useThreadPanel();
  useShownHeight();
  return (
    <>
      <main className={styles.room} inert={thread.isOpen}>
        <Head slug={slug} onClose={onClose} />
        {error ? (
          <ProblemNotice error={error} onRetry={() => model.start()} />
        ) : !room ? (
          <div className={styles.loading}>
            <Skeleton heights={[4, 4, 4]} />
          </div>
        ) : (
          <>
            <RoomStatus />
            <CityRoomMessageList roomName={room.name} isCovered={thread.isOpen} />
            <div className={styles.foot}>
              <InlineProblem error={problem} />
              <TypingIndicator />
              <PendingChanges />
              <CityRoomInput room={room} />
            </div>
            <PictureOutlet />
          </>
        )}
      </main>
      {thread.isOpen && room && (
        <div className={styles.over}>
          <Suspense fallback={<Skeleton heights={[3, 10]} />}>
            <ThreadPanel />
          </Suspense>
        </div>
      )}
    </>
  );
}

function Head({ slug, onClose }: { slug: string; onClose: (() => void) | null }) {
  const { t } = useTranslation();
  const room = useRoomState((state) => state.room);
  const mayRead = useRoomState((state) => state.mayRead);
  const label = t("embed.openCity");
  return (
    <header className={styles.head}>
      {room && <RoomIcon slug={room.slug} url={room.avatar_url} isLit={room.members_online > 0} size={28} />}
      <div className={styles.title}>
        <h1>
          <Name>{room?.name ?? t("embed.chat")}</Name>
        </h1>
        {room && mayRead && <p>{t("rooms.online", { count: room.members_online })}</p>}
      </div>
      <a
        className={buttonClass("bare", styles.sign ?? "")}
        href={roomPath(slug)}
        target="_blank"
        rel="noopener"
        aria-label={label}
        title={label}
      >
        <Icon name="elsewhere" />
      </a>
      {onClose && <IconButton icon="close" label={t("common.close")} onClick={onClose} />}
    </header>
  );
}

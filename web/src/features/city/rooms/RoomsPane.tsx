import { useQuery } from "@tanstack/react-query";
import { memo, useDeferredValue, useMemo, useRef, useState, type KeyboardEvent } from "react";
import { NavLink, useMatch } from "react-router";
import { queries } from "../../../api/queries";
import type { RoomUnread } from "../../../api/frames";
import type { LastMessage, Room } from "../../../api/types";
import { IconButton } from "../../../components/ui/Button";
import { SearchField } from "../../../components/ui/ListToolbar";
import { MoreButton } from "../../../components/ui/MoreButton";
import { Name } from "../../../components/ui/Name";
import { ProblemNotice, Skeleton } from "../../../components/ui/Notice";
import { useNow } from "../../../hooks/useNow";
import { usePaged } from "../../../hooks/usePaged";
import { useUnread } from "../../../hooks/useUnread";
import { shortTime } from "../../../lib/formatTime";
import { useTranslation, type Translator } from "../../../lib/i18n";
import { useUnreadRooms } from "../../../stores/unread";
import { useSession } from "../../../stores/session";
import { CreateRoomDialog } from "./CreateRoomDialog";
import { DirectChats } from "./DirectChats";
import { LastLine } from "./LastLine";
import { RoomIcon } from "./RoomIcon";
import { filterRooms } from "./roomFilter";
import styles from "./RoomsPane.module.css";
import { UnreadBadge } from "./UnreadBadge";
import { useRoomKeys } from "./useRoomKeys";

/** The number of rooms on a page, so that a filter of hundreds of rooms reacts to each key stroke at once. */
const PAGE = 48;

/** The list of rooms beside each page of a room: it stays mounted when the reader opens another room. */
export default function RoomsPane() {
  const { t } = useTranslation();
  const { session, setSignInOpen: ask } = useSession();
  const [searchText, setSearchText] = useState("");
  const [isCreating, setCreating] = useState(false);
  // The search field shows a key stroke before the matching rooms are rendered.
  const filter = useDeferredValue(searchText);
  const rooms = useQuery(queries.rooms("recent"));
  const pane = useRef<HTMLElement>(null);
  return (
    // Arrow keys move from link to link; each link can be reached by Tab, too.
    // eslint-disable-next-line jsx-a11y/no-noninteractive-element-interactions
    <nav ref={pane} className={styles.pane} aria-label={t("pane.label")} onKeyDown={(event) => moveFocus(event, pane.current)}>
      <div className={styles.head}>
        <SearchField label={t("pane.filter")} value={searchText} onChange={setSearchText} />
        <IconButton
          icon="plus"
          label={t("pane.create")}
          onClick={() => (session ? setCreating(true) : ask(true, () => setCreating(true)))}
        />
      </div>
      <div className={styles.scroll}>
        <DirectChats searchText={filter} />
        {rooms.isPending && <Skeleton heights={[3, 3, 3, 3]} />}
        {rooms.isError && !rooms.data && <ProblemNotice error={rooms.error} onRetry={() => void rooms.refetch()} />}
        {rooms.data && <RoomLinks rooms={rooms.data} searchText={filter} />}
      </div>
      <NavLink className={styles.all ?? ""} to="/city" end>
        {t("home.allRooms")}
      </NavLink>
      {isCreating && session && <CreateRoomDialog onClose={() => setCreating(false)} />}
    </nav>
  );
}

/** Move the focus by ↑ and ↓ from link to link, and from the filter to the first link. */
function moveFocus(event: KeyboardEvent, pane: HTMLElement | null): void {
  const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (!step || event.altKey || !pane || !(event.target instanceof HTMLElement)) return;
  const links = [...pane.querySelectorAll<HTMLElement>("input, li a")];
  const at = links.indexOf(event.target);
  const next = links[at + step];
  if (at < 0 || !next) return;
  event.preventDefault();
  next.focus();
}

const RoomLinks = memo(function RoomLinks({ rooms, searchText }: { rooms: Room[]; searchText: string }) {
  const { t, language } = useTranslation();
  const found = useMemo(() => filterRooms(rooms, searchText), [rooms, searchText]);
  const unread = useUnread(rooms);
  const known = useUnreadRooms((state) => state.rooms);
  const shown = useMatch("/city/:slug/*")?.params.slug;
  const isShown = ({ id, slug }: Room) => slug === shown || id === shown;
  const isUnread = ({ id }: Room) => (unread.get(id) ?? 0) > 0 || (known[id]?.mentions ?? 0) > 0;
  // The first page includes the last room with unread messages, and the room that is open.
  const size = Math.max(PAGE, found.findLastIndex((room) => isShown(room) || isUnread(room)) + 1);
  const { shown: page, hidden, showMore } = usePaged("pane", found, searchText, size);
  const now = useNow();
  useRoomKeys(rooms, unread);
  if (!found.length) return <p className={styles.none}>{t(rooms.length ? "rooms.none" : "rooms.empty")}</p>;
  return (
    <>
      <ul className={styles.rooms}>
        {page.map((room) => (
          <RoomLink
            key={room.id}
            room={room}
            isShown={isShown(room)}
            unread={unread.get(room.id) ?? 0}
            live={known[room.id]}
            now={now}
            t={t}
            language={language}
          />
        ))}
      </ul>
      <MoreButton hidden={hidden} onMore={showMore} />
    </>
  );
});

interface RoomLinkProps {
  room: Room;
  isShown: boolean;
  unread: number;
  /** What the city has sent about its unread messages since the list was loaded. */
  live: RoomUnread | undefined;
  /** Milliseconds since the epoch. */
  now: number;
  t: Translator["t"];
  language: string;
}

const RoomLink = memo(function RoomLink({ room, isShown, unread, live, now, t, language }: RoomLinkProps) {
  const mentions = live?.mentions ?? 0;
  const isMuted = (live?.notifications ?? room.notifications) === "none";
  const isUnread = (unread > 0 || mentions > 0) && !isShown;
  const last = newest(live?.last_message, room.last_message);
  return (
    <li>
      <NavLink className={`${styles.room} ${isUnread && !isMuted ? styles.isUnread : ""}`} to={`/city/${room.slug}`}>
        <RoomIcon slug={room.slug} url={room.avatar_url} isLit={room.members_online > 0} size={36} />
        <span className={styles.name}>
          <Name>{room.name}</Name>
        </span>
        <small className={styles.time}>
          {room.last_event && <time dateTime={room.last_event}>{shortTime(room.last_event, now, language)}</time>}
        </small>
        <small className={styles.last} dir="auto">
          {last ? <LastLine last={last} /> : room.description || t("rooms.online", { count: room.members_online })}
        </small>
        {isUnread && <UnreadBadge unread={unread} mentions={mentions} isMuted={isMuted} />}
      </NavLink>
    </li>
  );
});

function newest(live: LastMessage | null | undefined, listed: LastMessage | null | undefined): LastMessage | null {
  if (!live || !listed) return live ?? listed ?? null;
  return live.seq >= listed.seq ? live : listed;
}

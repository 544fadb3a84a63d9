import { useQuery } from "@tanstack/react-query";
import { memo, useDeferredValue, useMemo, useRef, useState, type KeyboardEvent } from "react";
import { NavLink, useMatch } from "react-router";
import { queries } from "../../../api/queries";
import type { Room } from "../../../api/types";
import { IconButton } from "../../../components/ui/Button";
import { SearchField } from "../../../components/ui/ListToolbar";
import { Name } from "../../../components/ui/Name";
import { ProblemNotice, Skeleton } from "../../../components/ui/Notice";
import { useNow } from "../../../hooks/useNow";
import { useUnread } from "../../../hooks/useUnread";
import { shortTime } from "../../../lib/formatTime";
import { useTranslation, type Translator } from "../../../lib/i18n";
import { useSession } from "../../../stores/session";
import { CreateRoomDialog } from "./CreateRoomDialog";
import { RoomIcon } from "./RoomIcon";
import { filterRooms } from "./roomFilter";
import styles from "./RoomsPane.module.css";
import { useRoomKeys } from "./useRoomKeys";

/** A badge counts up to here. */
const MANY = 99;

/** The list of rooms beside each page of the rooms: it stays while one goes from room to room. */
export default function RoomsPane() {
  const { t } = useTranslation();
  const { session, setSignInOpen: ask } = useSession();
  const [sought, setSought] = useState("");
  const [isCreating, setCreating] = useState(false);
  // A key stroke is shown before the rooms that it finds.
  const filter = useDeferredValue(sought);
  const rooms = useQuery(queries.rooms("recent"));
  const pane = useRef<HTMLElement>(null);
  return (
    // Arrow keys go through the links; each can be reached by Tab, too.
    // eslint-disable-next-line jsx-a11y/no-noninteractive-element-interactions
    <nav ref={pane} className={styles.pane} aria-label={t("pane.label")} onKeyDown={(event) => moveFocus(event, pane.current)}>
      <div className={styles.head}>
        <SearchField label={t("pane.filter")} value={sought} onChange={setSought} />
        <IconButton
          icon="plus"
          label={t("pane.create")}
          onClick={() => (session ? setCreating(true) : ask(true, () => setCreating(true)))}
        />
      </div>
      <div className={styles.scroll}>
        {rooms.isPending && <Skeleton heights={[3, 3, 3, 3]} />}
        {rooms.isError && !rooms.data && <ProblemNotice error={rooms.error} onRetry={() => void rooms.refetch()} />}
        {rooms.data && <RoomLinks rooms={rooms.data} sought={filter} />}
      </div>
      <NavLink className={styles.all ?? ""} to="/city" end>
        {t("home.allRooms")}
      </NavLink>
      {isCreating && session && <CreateRoomDialog onClose={() => setCreating(false)} />}
    </nav>
  );
}

/** ↑ and ↓ go from link to link, from the filter to the first. */
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

const RoomLinks = memo(function RoomLinks({ rooms, sought }: { rooms: Room[]; sought: string }) {
  const { t, language } = useTranslation();
  const found = useMemo(() => filterRooms(rooms, sought), [rooms, sought]);
  const unread = useUnread(rooms);
  const shown = useMatch("/city/:slug/*")?.params.slug;
  const now = useNow();
  useRoomKeys(rooms, unread);
  if (!found.length) return <p className={styles.none}>{t(rooms.length ? "rooms.none" : "rooms.empty")}</p>;
  return (
    <ul className={styles.rooms}>
      {found.map((room) => (
        <RoomLink
          key={room.id}
          room={room}
          isShown={room.slug === shown || room.id === shown}
          unread={unread.get(room.id) ?? 0}
          now={now}
          t={t}
          language={language}
        />
      ))}
    </ul>
  );
});

interface RoomLinkProps {
  room: Room;
  isShown: boolean;
  unread: number;
  /** Milliseconds since the epoch. */
  now: number;
  t: Translator["t"];
  language: string;
}

const RoomLink = memo(function RoomLink({ room, isShown, unread, now, t, language }: RoomLinkProps) {
  const isUnread = unread > 0 && !isShown;
  return (
    <li>
      <NavLink className={`${styles.room} ${isUnread ? styles.isUnread : ""}`} to={`/city/${room.slug}`}>
        <RoomIcon slug={room.slug} isLit={room.members_online > 0} size={36} />
        <span className={styles.name}>
          <Name>{room.name}</Name>
        </span>
        <small className={styles.time}>{room.last_event && shortTime(room.last_event, now, language)}</small>
        <small className={styles.last} dir="auto">
          {room.description || t("rooms.online", { count: room.members_online })}
        </small>
        {isUnread && (
          <span className={styles.badge}>
            <span aria-hidden="true">{unread > MANY ? `${MANY}+` : unread}</span>
            <span className="quiet">{unread > MANY ? t("rooms.unreadMany") : t("rooms.unread", { count: unread })}</span>
          </span>
        )}
      </NavLink>
    </li>
  );
});

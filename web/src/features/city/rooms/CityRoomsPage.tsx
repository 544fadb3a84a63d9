import { useQuery } from "@tanstack/react-query";
import { memo, useDeferredValue, useMemo, useState } from "react";
import { useTranslation } from "../../../lib/i18n";
import { queries } from "../../../api/queries";
import type { Room } from "../../../api/types";
import { Button } from "../../../components/ui/Button";
import { Icon } from "../../../components/ui/Icon";
import { MoreButton } from "../../../components/ui/MoreButton";
import { Notice, ProblemNotice, Skeleton } from "../../../components/ui/Notice";
import { Chips, SearchField, ListToolbar } from "../../../components/ui/ListToolbar";
import { useEntryState } from "../../../hooks/useEntryState";
import { usePaged } from "../../../hooks/usePaged";
import { useUnread } from "../../../hooks/useUnread";
import { usePageTitle } from "../../../hooks/usePageTitle";
import { useSession } from "../../../stores/session";
import { PresenceBar } from "../presence/PresenceBar";
import styles from "./CityRoomsPage.module.css";
import { CreateRoomDialog } from "./CreateRoomDialog";
import { RoomCards } from "./RoomCards";
import { filterRooms } from "./roomFilter";

const SORTS = ["popular", "recent", "name"] as const;

/** The number of cards on a page, so that a search through hundreds of rooms reacts to each key stroke at once. */
const PAGE = 48;

/** The rooms of the city, and a button that creates another. */
export default function CityRoomsPage() {
  const { t } = useTranslation();
  const { session, setSignInOpen: ask } = useSession();
  const [isCreating, setCreating] = useState(false);
  const [sort, setSort] = useEntryState<(typeof SORTS)[number]>("rooms.sort", "popular");
  const [searchText, setSearchText] = useEntryState("rooms.search", "");
  // The search field shows a key stroke before the matching cards are rendered.
  const filter = useDeferredValue(searchText);
  const rooms = useQuery(queries.rooms(sort));
  usePageTitle(t("rooms.title"));
  return (
    <>
      <div className={styles.head}>
        <div>
          <h1>{t("rooms.title")}</h1>
          <p>{t("rooms.lead")}</p>
        </div>
        <Button variant="main" onClick={() => (session ? setCreating(true) : ask(true, () => setCreating(true)))}>
          <Icon name="plus" /> {t("rooms.create")}
        </Button>
      </div>
      <PresenceBar />
      <ListToolbar>
        <SearchField label={t("rooms.search")} value={searchText} onChange={setSearchText} />
        <Chips
          label={t("rooms.sort")}
          choices={SORTS.map((value) => ({ value, words: t(`rooms.${value}`) }))}
          chosen={sort}
          onChoose={setSort}
        />
      </ListToolbar>
      {rooms.isPending && <Skeleton heights={[4.5, 4.5, 4.5]} />}
      {rooms.isError && !rooms.data && <ProblemNotice error={rooms.error} onRetry={() => void rooms.refetch()} />}
      {rooms.data && <Rooms rooms={rooms.data} searchText={filter} />}
      {isCreating && session && <CreateRoomDialog onClose={() => setCreating(false)} />}
    </>
  );
}

/** The cards of the rooms that match the search. Memoized: a key stroke renders the search field without them. */
const Rooms = memo(function Rooms({ rooms, searchText }: { rooms: Room[]; searchText: string }) {
  const { t } = useTranslation();
  const found = useMemo(() => filterRooms(rooms, searchText), [rooms, searchText]);
  const { shown, hidden, showMore } = usePaged("rooms", found, searchText, PAGE);
  const unread = useUnread(rooms);
  if (!found.length) return <Notice icon="rooms" title={t(rooms.length ? "rooms.none" : "rooms.empty")} />;
  return (
    <>
      <ul className={styles.rooms}>
        <RoomCards rooms={shown} unread={unread} />
      </ul>
      <MoreButton hidden={hidden} onMore={showMore} />
    </>
  );
});

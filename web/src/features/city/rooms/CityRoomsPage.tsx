import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { queries } from "../../../api/queries";
import type { Room } from "../../../api/types";
import { Button } from "../../../components/ui/Button";
import { Icon } from "../../../components/ui/Icon";
import { Notice, ProblemNotice, Skeleton } from "../../../components/ui/Notice";
import { Chips, SearchField, Tools } from "../../../components/ui/Tools";
import { usePageTitle } from "../../../hooks/usePageTitle";
import { useSession } from "../../../stores/session";
import { PresenceBar } from "../presence/PresenceBar";
import styles from "./CityRoomsPage.module.css";
import { CreateRoomDialog } from "./CreateRoomDialog";
import { RoomCard } from "./RoomCard";

const SORTS = ["popular", "recent", "name"] as const;

/** The rooms of the city, and opening another. */
export default function CityRoomsPage() {
  const { t } = useTranslation();
  const { session, ask } = useSession();
  const [isCreating, setCreating] = useState(false);
  const [sort, setSort] = useState<(typeof SORTS)[number]>("popular");
  const [sought, setSought] = useState("");
  const rooms = useQuery(queries.rooms(sort));
  usePageTitle(t("rooms.title"));
  return (
    <>
      <div className={styles.head}>
        <div>
          <h1>{t("rooms.title")}</h1>
          <p>{t("rooms.lead")}</p>
        </div>
        <Button look="main" onClick={() => (session ? setCreating(true) : ask(true))}>
          <Icon name="plus" /> {t("rooms.create")}
        </Button>
      </div>
      <PresenceBar />
      <Tools>
        <SearchField label={t("rooms.search")} value={sought} onChange={setSought} />
        <Chips
          label={t("rooms.sort")}
          choices={SORTS.map((value) => ({ value, words: t(`rooms.${value}`) }))}
          chosen={sort}
          onChoose={setSort}
        />
      </Tools>
      {rooms.isPending && <Skeleton heights={[4.5, 4.5, 4.5]} />}
      {rooms.isError && !rooms.data && <ProblemNotice error={rooms.error} onRetry={() => void rooms.refetch()} />}
      {rooms.data && <Rooms rooms={rooms.data} sought={sought} />}
      {isCreating && <CreateRoomDialog onClose={() => setCreating(false)} />}
    </>
  );
}

function Rooms({ rooms, sought }: { rooms: Room[]; sought: string }) {
  const { t } = useTranslation();
  const found = rooms.filter((room) => isLike(room, sought));
  if (!found.length) return <Notice icon="rooms" title={t(rooms.length ? "rooms.none" : "rooms.empty")} />;
  return (
    <ul className={styles.rooms}>
      {found.map((room) => (
        <RoomCard key={room.id} room={room} />
      ))}
    </ul>
  );
}

function isLike({ name, description, slug }: Room, sought: string): boolean {
  return `${name} ${description} ${slug}`.toLocaleLowerCase().includes(sought.trim().toLocaleLowerCase());
}

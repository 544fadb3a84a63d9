import { useQuery } from "@tanstack/react-query";
import { Fragment, useMemo } from "react";
import { Link } from "react-router";
import { queries } from "../../api/queries";
import type { Agent, District } from "../../api/types";
import { ListToolbar, SearchField } from "../../components/ui/ListToolbar";
import { Name } from "../../components/ui/Name";
import { Notice, ProblemNotice, Skeleton } from "../../components/ui/Notice";
import { PresenceDot } from "../../components/ui/PresenceDot";
import { useEntryState } from "../../hooks/useEntryState";
import { usePageTitle } from "../../hooks/usePageTitle";
import { useTranslation } from "../../lib/i18n";
import { microDaoPath, nodePath, roomPath } from "../../lib/paths";
import { agentSubject } from "../../lib/subjects";
import { usePresence } from "../../stores/presence";
import { RoomIcon } from "../city/rooms/RoomIcon";
import card from "../../components/ui/Card.module.css";
import { placesByDistrict, type ListedPlace } from "./placeIndex";
import styles from "./Place.module.css";

/** The nodes and microDAOs of the city by district, with the inhabitants who are online there. */
export default function PlacesPage() {
  const { t, language } = useTranslation();
  const nodes = useQuery(queries.nodes);
  const microDaos = useQuery(queries.microDaos);
  const districts = useQuery(queries.districts);
  const { data: agents } = useQuery(queries.agents);
  const [searchText, setSearchText] = useEntryState("places.search", "");
  usePageTitle(t("places.title"));
  const lists = [nodes, microDaos, districts];
  const groups = useMemo(() => {
    const places = [
      ...(nodes.data ?? []).map((node) => ({ ...node, kind: "node" as const, path: nodePath(node.id) })),
      ...(microDaos.data ?? []).map(({ slug, ...dao }) => ({
        ...dao,
        id: slug,
        kind: "microdao" as const,
        path: microDaoPath(slug),
      })),
    ];
    return placesByDistrict(places, districts.data ?? [], searchText, language);
  }, [nodes.data, microDaos.data, districts.data, searchText, language]);

  const failed = lists.find(({ isError, data }) => isError && !data);
  return (
    <>
      <h1>{t("places.title")}</h1>
      <p className={styles.lead}>{t("places.lead")}</p>
      <ListToolbar>
        <SearchField label={t("places.search")} value={searchText} onChange={setSearchText} />
      </ListToolbar>
      {failed ? (
        <ProblemNotice error={failed.error} onRetry={() => lists.forEach((list) => void list.refetch())} />
      ) : lists.some(({ isPending }) => isPending) ? (
        <Skeleton heights={[4.5, 4.5, 4.5]} />
      ) : groups.length === 0 ? (
        <Notice icon="place" title={t(searchText ? "places.noneFound" : "places.none")} />
      ) : (
        <div className={styles.page}>
          {groups.map(({ district, places }) => (
            <DistrictSection key={district?.id ?? ""} district={district} places={places} agents={agents} />
          ))}
        </div>
      )}
    </>
  );
}

interface SectionProps {
  district: District | null;
  places: readonly ListedPlace[];
  agents: readonly Agent[] | undefined;
}

function DistrictSection({ district, places, agents }: SectionProps) {
  const { t } = useTranslation();
  const id = `district-${district?.id ?? ""}`;
  return (
    <section className={styles.section} aria-labelledby={id}>
      <h2 id={id}>{district ? t("places.district", { district: district.name }) : t("places.noDistrict")}</h2>
      <ul className={styles.places}>
        {places.map((place) => (
          <PlaceCard key={`${place.kind} ${place.id}`} place={place} agents={agents} />
        ))}
      </ul>
    </section>
  );
}

/** The rooms in which agents of the place live, with the members online. `LiveQueries` keeps the numbers up to date. */
function PlaceRooms({ place, agents }: { place: ListedPlace; agents: readonly Agent[] | undefined }) {
  const { t } = useTranslation();
  const { data: rooms = [] } = useQuery(queries.rooms("name"));
  const slugs = new Set((agents ?? []).filter((agent) => livesIn(agent, place)).flatMap((agent) => agent.rooms));
  const found = rooms.filter(({ slug }) => slugs.has(slug));
  if (!found.length) return null;
  return (
    <p className={styles.rooms}>
      {t("places.rooms")}
      {found.map(({ id, slug, name, avatar_url: url, members_online: count }, index) => (
        <Fragment key={id}>
          {" "}
          <span>
            {url && (
              <>
                <RoomIcon slug={slug} url={url} isLit={count > 0} size={18} />{" "}
              </>
            )}
            <Link to={roomPath(slug)}>
              <Name>{name}</Name>
            </Link>{" "}
            ({t("places.here", { count })}){index < found.length - 1 && " ·"}
          </span>
        </Fragment>
      ))}
    </p>
  );
}

function livesIn(agent: Agent, place: ListedPlace): boolean {
  return (place.kind === "node" ? agent.node_id : agent.microdao) === place.id;
}

function PlaceCard({ place, agents }: { place: ListedPlace; agents: readonly Agent[] | undefined }) {
  const { t } = useTranslation();
  const online = useOnlineAgents(place, agents);
  return (
    <li className={`${card.card} ${styles.place}`}>
      <RoomIcon slug={place.id} isLit={online > 0} />
      <div>
        <Link className={card.link} to={place.path}>
          <Name>{place.name}</Name>
        </Link>
        <p>{t(`places.${place.kind}`)}</p>
        {place.description && <p dir="auto">{place.description}</p>}
        <PlaceRooms place={place} agents={agents} />
      </div>
      <p className={styles.live}>
        <PresenceDot state={online > 0 ? "online" : "offline"} isSilent />
        {t("places.agentsOnline", { online, total: place.agents_total })}
      </p>
    </li>
  );
}

/** The number of agents online: live once the agents and the presence are known; that of the list until then. */
function useOnlineAgents(place: ListedPlace, agents: readonly Agent[] | undefined): number {
  return usePresence(({ online, hasSnapshot }) => {
    if (!hasSnapshot || !agents) return place.agents_online;
    return agents.filter((agent) => livesIn(agent, place) && agentSubject(agent.slug) in online).length;
  });
}

import { useQuery } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import { Link } from "react-router";
import { queries } from "../../api/queries";
import type { FeedEntry, Room } from "../../api/types";
import { Avatar } from "../../components/ui/Avatar";
import { Icon } from "../../components/ui/Icon";
import { Name } from "../../components/ui/Name";
import { useNow } from "../../hooks/useNow";
import { ago, fullTime } from "../../lib/times";
import { subjectOf } from "../../lib/subjects";
import { useFace } from "../../stores/people";
import styles from "./HomePage.module.css";

/** What happened last, newest first. */
export function Feed({ entries }: { entries: FeedEntry[] }) {
  const { t } = useTranslation();
  const { data: rooms } = useQuery(queries.rooms("popular"));
  if (!entries.length) return <p>{t("home.feedEmpty")}</p>;
  return (
    <ul className={styles.feed}>
      {entries.map((entry) => (
        <Entry key={entry.id} entry={entry} room={rooms?.find((room) => room.id === entry.room_id)} />
      ))}
    </ul>
  );
}

function Entry({ entry, room }: { entry: FeedEntry; room: Room | undefined }) {
  const { t, i18n } = useTranslation();
  const now = useNow();
  const { actor, payload } = entry;
  const place = { room: room?.name ?? payload.name ?? "", was: payload.was ?? "" };
  const what = entry.kind === "system" ? systemWords(payload.what) : (`feed.${entry.kind}` as const);
  return (
    <li className={styles.entry}>
      <Portrait actor={actor} />
      <div className={styles.what}>
        <p>
          {actor && (
            <strong>
              <Name>{actor.display_name}</Name>{" "}
            </strong>
          )}
          {room ? <Link to={`/city/${room.slug}`}>{t(what, place)}</Link> : t(what, place)}{" "}
          <time dateTime={entry.created_at} title={fullTime(entry.created_at, i18n.language)}>
            {ago(entry.created_at, now, i18n.language)}
          </time>
        </p>
        {payload.body && <p className={styles.quote} dir="auto">{payload.body}</p>}
      </div>
    </li>
  );
}

function Portrait({ actor }: { actor: FeedEntry["actor"] }) {
  const { t } = useTranslation();
  const subject = actor ? subjectOf(actor) : "";
  const face = useFace(subject, actor?.display_name ?? t("feed.city"));
  return actor ? <Avatar subject={subject} face={face} size={36} /> : <Icon name="home" size={36} />;
}

function systemWords(what: string | undefined) {
  if (what === "room_archived") return "feed.room_archived";
  return what === "room_reopened" ? "feed.room_reopened" : "feed.room_renamed";
}

import { useMemo } from "react";
import { useTranslation } from "../../lib/i18n";
import { Link } from "react-router";
import type { FeedEntry } from "../../api/types";
import { Avatar } from "../../components/ui/Avatar";
import { Icon } from "../../components/ui/Icon";
import { AuthorName } from "../../components/ui/AuthorName";
import { useNow } from "../../hooks/useNow";
import { relativeTime, formatDateTime } from "../../lib/formatTime";
import { subjectOf } from "../../lib/subjects";
import { useProfile } from "../../hooks/useProfile";
import { withNames } from "../../lib/mentions";
import { useProfiles } from "../../stores/profiles";
import { feedGroups, type FeedGroup } from "./feedGroups";
import styles from "./HomePage.module.css";

/** The newest events of the city, newest first. */
export function Feed({ entries }: { entries: FeedEntry[] }) {
  const { t } = useTranslation();
  const groups = useMemo(() => feedGroups(entries), [entries]);
  if (!entries.length) return <p>{t("home.feedEmpty")}</p>;
  return (
    <ul className={styles.feed}>
      {groups.map((group) => (
        <Entry key={group.entry.id} group={group} />
      ))}
    </ul>
  );
}

function Entry({ group: { entry, more, joined } }: { group: FeedGroup }) {
  const { t, language } = useTranslation();
  const now = useNow();
  const profiles = useProfiles((state) => state.profiles);
  const { actor: onlyActor, payload, room } = entry;
  // Several joins are one entry with their number.
  const count = Math.max(1, joined);
  const actor = count > 1 ? null : onlyActor;
  const place = { room: room?.name ?? payload.name ?? "", was: payload.was ?? "", count };
  const what = textKey(entry, count);
  return (
    <li className={styles.entry}>
      <Portrait actor={actor} isMany={count > 1} />
      <div className={styles.what}>
        <p>
          {actor && (
            <strong>
              <AuthorName author={actor} />{" "}
            </strong>
          )}
          {room ? <Link to={`/city/${room.slug}`}>{t(what, place)}</Link> : t(what, place)}{" "}
          {more > 0 && joined === 0 && <span className={styles.more}>{t("feed.more", { count: more })} · </span>}
          <time dateTime={entry.created_at} title={formatDateTime(entry.created_at, language)}>
            {relativeTime(entry.created_at, now, language)}
          </time>
        </p>
        {payload.body && (
          <p className={styles.quote} dir="auto">
            {withNames(payload.body, profiles).text}
          </p>
        )}
      </div>
    </li>
  );
}

function Portrait({ actor, isMany }: { actor: FeedEntry["actor"]; isMany: boolean }) {
  const { t } = useTranslation();
  const subject = actor ? subjectOf(actor) : "";
  const profile = useProfile(subject, actor?.display_name ?? t("feed.city"));
  return actor ? <Avatar subject={subject} profile={profile} size={36} /> : <Icon name={isMany ? "people" : "home"} size={36} />;
}

function textKey({ kind, actor, payload: { what } }: FeedEntry, count: number) {
  if (kind === "system") {
    if (what === "room_archived") return "feed.room_archived";
    return what === "room_reopened" ? "feed.room_reopened" : "feed.room_renamed";
  }
  // A room made by the administrator has no actor: the text needs a subject of its own.
  if (kind === "room_created" && !actor) return "feed.room_opened";
  return count > 1 ? "feed.members_joined" : (`feed.${kind}` as const);
}

import { useTranslation } from "../../lib/i18n";
import { Link, useLocation } from "react-router";
import type { Entry, EntryRoom } from "../../outbox/entry";
import { roomPath } from "../../lib/paths";
import { delayed } from "../../outbox/queue";
import { useEntriesOf } from "../../stores/outbox";
import { useSession } from "../../stores/session";
import styles from "./Shell.module.css";

/** The banner for outbox entries in rooms that are not open, and for those of a citizen who has signed out. */
export function OutboxBanner() {
  const { session, lastUserId } = useSession();
  const entries = useEntriesOf(session?.userId ?? lastUserId);
  return <div role="status">{session ? <Elsewhere entries={entries} /> : <ForReturn count={entries.length} />}</div>;
}

function ForReturn({ count }: { count: number }) {
  const { t } = useTranslation();
  return count > 0 ? <p className={styles.banner}>{t("outbox.forReturn", { count })}</p> : null;
}

function Elsewhere({ entries }: { entries: readonly Entry[] }) {
  const { t } = useTranslation();
  const { pathname } = useLocation();
  const delayedIds = delayed(entries);
  const elsewhere = entries.filter(
    ({ id, room, state }) => !isShown(room, pathname) && (delayedIds.has(id) || state === "failed"),
  );
  if (!elsewhere.length) return null;
  const isFailed = elsewhere.some(({ state }) => state === "failed");
  const rooms = new Map(elsewhere.map(({ room }) => [room.id, room]));
  return (
    <p className={styles.banner}>
      {t(isFailed ? "outbox.failedElsewhere" : "outbox.waitsElsewhere", { count: elsewhere.length })}{" "}
      {[...rooms.values()].map(({ id, slug, name }) => (
        <Link key={id} to={roomPath(slug)}>
          {name}
        </Link>
      ))}
    </p>
  );
}

function isShown({ id, slug }: EntryRoom, pathname: string): boolean {
  return [id, slug].some((name) => pathname === roomPath(name) || pathname.startsWith(`${roomPath(name)}/`));
}

import { useTranslation } from "../../../lib/i18n";
import type { Receipt } from "../../../api/types";
import { Avatar } from "../../../components/ui/Avatar";
import { useProfile } from "../../../hooks/useProfile";
import { isolated } from "../../../lib/names";
import styles from "./ReaderFaces.module.css";

/** The number of avatars that fit beside a message; one less if a number stands for the others. */
const PLACES = 3;
/** The number of names in the label; further readers are counted. */
const MAX_NAMED = 20;

/** The avatars of the readers whose last read message this is. They lie over the row, so that rows keep their heights. */
export function ReaderFaces({ readers }: { readers: readonly Receipt[] }) {
  const { t, language } = useTranslation();
  const faces = readers.length > PLACES ? readers.slice(0, PLACES - 1) : readers;
  const names = readers.slice(0, MAX_NAMED).map(({ reader }) => isolated(reader.display_name));
  if (readers.length > MAX_NAMED) names.push(`+${readers.length - MAX_NAMED}`);
  const words = t("room.readBy", { names: new Intl.ListFormat(language, { type: "unit" }).format(names) });
  return (
    <span className={styles.readers} role="img" aria-label={words} title={words} data-readers={readers.length}>
      {faces.map(({ user_id: subject, reader }) => (
        <Face key={subject} subject={subject} name={reader.display_name} avatarUrl={reader.avatar_url} />
      ))}
      {faces.length < readers.length && <span className={styles.more}>+{readers.length - faces.length}</span>}
    </span>
  );
}

function Face({ subject, name, avatarUrl }: { subject: string; name: string; avatarUrl: string | null }) {
  const { color } = useProfile(subject, name);
  return <Avatar subject={subject} profile={{ name, avatarUrl, color }} size={16} />;
}

import { useQuery } from "@tanstack/react-query";
import { Link } from "react-router";
import { queries } from "../../../api/queries";
import { Name } from "../../../components/ui/Name";
import { useSite } from "../../../hooks/useSite";
import { roomLink, userLink } from "../../../lib/matrixLinks";
import { subjectOfUser } from "../../../lib/mentions";
import { agentPath, roomPath } from "../../../lib/paths";
import { slugOf } from "../../../lib/subjects";
import { useProfileCard } from "../../../stores/profileCard";
import { useProfiles } from "../../../stores/profiles";
import { useSession } from "../../../stores/session";
import styles from "./Mention.module.css";

/** A Matrix user id or room alias in a message, as a link to an agent's page, a person's card, a room of the city, or Matrix. */
export function Mention({ id, label }: { id: string; label?: string | undefined }) {
  return id.startsWith("#") ? <RoomMention alias={id} /> : <UserMention userId={id} label={label} />;
}

function UserMention({ userId, label }: { userId: string; label?: string | undefined }) {
  const { matrix } = useSite();
  const me = useSession((state) => state.subject);
  const subject = useProfiles(({ profiles }) => subjectOfUser(profiles, userId));
  const name = useProfiles(({ profiles }) => (subject === null ? undefined : profiles[subject]?.name));
  const show = useProfileCard((state) => state.show);
  const slug = subject === null ? agentSlugOf(userId) : slugOf(subject);
  const words = `@${(name ?? label ?? userId).replace(/^@/, "")}`;
  if (slug !== null) {
    return (
      <Link className={styles.mention} to={agentPath(slug)}>
        <Name>{words}</Name>
      </Link>
    );
  }
  if (subject === null) {
    return (
      <a className={styles.mention} href={userLink(matrix.client_url, userId)} target="_blank" rel="noopener noreferrer">
        <Name>{words}</Name>
      </a>
    );
  }
  return (
    <button type="button" className={`${styles.mention} ${subject === me ? styles.me : ""}`} onClick={() => show(subject)}>
      <Name>{words}</Name>
    </button>
  );
}

/** The slug in the Matrix user id of an agent's ghost, for agents whose profiles are not loaded. */
function agentSlugOf(userId: string): string | null {
  return /^@agent_([^:]+):/.exec(userId)?.[1] ?? null;
}

function RoomMention({ alias }: { alias: string }) {
  const { matrix } = useSite();
  const { data: rooms } = useQuery(queries.rooms("recent"));
  const room = rooms?.find(({ matrix_room_alias: each }) => each === alias);
  if (!room) {
    return (
      <a className={styles.mention} href={roomLink(matrix.client_url, alias)} target="_blank" rel="noopener noreferrer">
        {alias}
      </a>
    );
  }
  return (
    <Link className={styles.mention} to={roomPath(room.slug)}>
      #<Name>{room.name}</Name>
    </Link>
  );
}

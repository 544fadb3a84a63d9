import { memo, useEffect, useMemo, useRef } from "react";
import { useTranslation } from "../../../lib/i18n";
import type { SubjectId } from "../../../api/types";
import { Avatar } from "../../../components/ui/Avatar";
import { IconButton } from "../../../components/ui/Button";
import { Name } from "../../../components/ui/Name";
import { kindOf } from "../../../lib/subjects";
import { useThrottledStore } from "../../../hooks/useThrottledStore";
import { useOverlay } from "../../../hooks/useOverlay";
import { useProfile } from "../../../hooks/useProfile";
import { byKindAndName, useProfiles } from "../../../stores/profiles";
import { onlineSubjects, usePresence } from "../../../stores/presence";
import { useProfileCard } from "../../../stores/profileCard";
import { useSession } from "../../../stores/session";
import styles from "./CityRoomView.module.css";
import { useRoomState } from "./useRoom";

/** The interval of sorting the members; the status of a member changes at once. */
const ORDER_EVERY_MS = 1_000;

interface Props {
  roomName: string;
  onClose: () => void;
}

/** The members beside the conversation, or in a drawer over it, which Escape or a click on its backdrop closes. */
export function MemberList({ isOver, ...props }: Props & { isOver: boolean }) {
  return isOver ? <MemberDrawer {...props} /> : <MemberPanel {...props} />;
}

function MemberDrawer(props: Props) {
  const { t } = useTranslation();
  const drawer = useRef<HTMLDialogElement>(null);
  useOverlay(props.onClose);
  useEffect(() => {
    const shown = drawer.current;
    if (shown && !shown.open) shown.showModal();
    return () => shown?.close();
  }, []);
  return (
    // A click on the backdrop closes the drawer with a mouse; Escape and the button work for everybody.
    // eslint-disable-next-line jsx-a11y/click-events-have-key-events, jsx-a11y/no-noninteractive-element-interactions
    <dialog
      ref={drawer}
      className={styles.drawer}
      aria-label={t("room.membersOf", { room: props.roomName })}
      onClose={props.onClose}
      onClick={(event) => {
        if (event.target === drawer.current) props.onClose();
      }}
    >
      <MemberPanel {...props} />
    </dialog>
  );
}

/** The members who are online, the active ones first, then those who are away. */
function MemberPanel({ roomName, onClose }: Props) {
  const { t } = useTranslation();
  const online = useRoomState((state) => state.room?.members_online ?? 0);
  const members = useRoomState((state) => state.members);
  const mayRead = useRoomState((state) => state.mayRead);
  const here = useThrottledStore(usePresence, onlineSubjects, ORDER_EVERY_MS);
  const profiles = useProfiles((state) => state.profiles);
  const subjects = useMemo(() => {
    const byName = byKindAndName(profiles);
    const isAway = (subject: SubjectId) => Number(here[subject]?.status === "away");
    return [...members].sort((a, b) => isAway(a) - isAway(b) || byName(a, b));
  }, [members, here, profiles]);
  return (
    <aside className={styles.members} aria-label={t("room.membersOf", { room: roomName })}>
      <div className={styles.membersHead}>
        <h2>
          {t("room.members")} · {Math.max(online, subjects.length)}
        </h2>
        <IconButton icon="close" label={t("common.close")} onClick={onClose} />
      </div>
      {!subjects.length && <p>{mayRead ? t("room.membersEmpty") : t("problem.members_only")}</p>}
      <ul className={styles.people}>
        {subjects.map((subject) => (
          <li key={subject}>
            <Person subject={subject} />
          </li>
        ))}
      </ul>
      {mayRead && subjects.length < online && (
        <p className={styles.others}>{t("room.membersShown", { count: subjects.length })}</p>
      )}
    </aside>
  );
}

const Person = memo(function Person({ subject }: { subject: SubjectId }) {
  const { t } = useTranslation();
  const me = useSession((state) => state.subject);
  const show = useProfileCard((state) => state.show);
  const profile = useProfile(subject, t("common.unknownCitizen"));
  const seen = usePresence((state) => state.online[subject]);
  const words = (
    <>
      <Avatar subject={subject} profile={profile} size={36} status={seen?.status ?? "online"} />
      <span>
        <Name>{profile.name}</Name>
        {subject === me && ` (${t("common.you")})`}
        <small dir="auto">{seen?.statusMsg ?? t(`kind.${kindOf(subject)}`)}</small>
      </span>
    </>
  );
  return (
    <button type="button" className={styles.person} onClick={() => show(subject)}>
      {words}
    </button>
  );
});

import { memo, useMemo } from "react";
import { useTranslation } from "../../../lib/i18n";
import { Link } from "react-router";
import type { SubjectId } from "../../../api/types";
import { Avatar } from "../../../components/ui/Avatar";
import { Name } from "../../../components/ui/Name";
import { PresenceDot } from "../../../components/ui/PresenceDot";
import { kindOf } from "../../../lib/subjects";
import { useCitizenNames } from "../../../hooks/useCitizenNames";
import { useSubjectsHere } from "../../../hooks/useSubjectsHere";
import { useProfile } from "../../../hooks/useProfile";
import { byKindAndName, useProfiles } from "../../../stores/profiles";
import { usePresence, useStatus } from "../../../stores/presence";
import { useProfileCard } from "../../../stores/profileCard";
import styles from "./PresenceBar.module.css";

const SHOWN = 24;

/**
 * The subjects who are online, with their avatars. Its height is the same before they are known and when nobody is online: what is
 * below it must not move under the pointer. Memoized for pages that render on each key stroke.
 */
export const PresenceBar = memo(function PresenceBar() {
  const { t } = useTranslation();
  const here = useSubjectsHere();
  const isKnown = usePresence((state) => state.hasSnapshot);
  const profiles = useProfiles((state) => state.profiles);
  const subjects = useMemo(() => [...here].sort(byKindAndName(profiles)), [here, profiles]);
  useCitizenNames(subjects);
  const isAnyoneActive = usePresence(({ online }) => Object.values(online).some(({ status }) => status === "online"));
  return (
    <section className={styles.bar} aria-label={t("presence.label")} aria-busy={!isKnown}>
      <span className={styles.now}>
        {isKnown && (
          <>
            <PresenceDot state={isAnyoneActive ? "online" : subjects.length ? "away" : "offline"} isSilent />
            {subjects.length ? `${t("presence.now")}: ${subjects.length}` : t("presence.nobody")}
          </>
        )}
      </span>
      {/* The list scrolls, so it must be reachable by keyboard. */}
      {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex */}
      <ul className={styles.faces} tabIndex={subjects.length ? 0 : undefined} aria-label={t("presence.label")}>
        {subjects.slice(0, SHOWN).map((subject) => (
          <li key={subject}>
            <Person subject={subject} />
          </li>
        ))}
        {subjects.length > SHOWN && <li className={styles.more}>{t("presence.more", { count: subjects.length - SHOWN })}</li>}
      </ul>
    </section>
  );
});

const Person = memo(function Person({ subject }: { subject: SubjectId }) {
  const { t } = useTranslation();
  const profile = useProfile(subject, t("common.unknownCitizen"));
  const status = useStatus(subject);
  const show = useProfileCard((state) => state.show);
  const portrait = (
    <>
      <Avatar subject={subject} profile={profile} size={36} status={status} />
      <span>
        <Name>{profile.name}</Name>
      </span>
    </>
  );
  if (kindOf(subject) !== "agent") {
    return (
      <button type="button" className={styles.person} onClick={() => show(subject)}>
        {portrait}
      </button>
    );
  }
  return (
    <Link className={styles.person} to={`/agents/${encodeURIComponent(subject.slice("agent:".length))}`}>
      {portrait}
    </Link>
  );
});

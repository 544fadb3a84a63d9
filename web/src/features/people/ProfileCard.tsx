import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useMatch, useNavigate, Link } from "react-router";
import { city } from "../../api/city";
import { queries } from "../../api/queries";
import type { SubjectId } from "../../api/types";
import { Avatar } from "../../components/ui/Avatar";
import { Button, ButtonLink } from "../../components/ui/Button";
import { Dialog } from "../../components/ui/Dialog";
import { Name } from "../../components/ui/Name";
import { InlineProblem } from "../../components/ui/Notice";
import { useOpenDirectChat } from "../../hooks/useDirectChat";
import { useProfile } from "../../hooks/useProfile";
import { formatElapsed } from "../../lib/formatTime";
import { useTranslation } from "../../lib/i18n";
import { agentPath, roomPath } from "../../lib/paths";
import { kindOf, slugOf } from "../../lib/subjects";
import { useOwnProfile } from "../../stores/ownProfile";
import { usePresence, useStatus } from "../../stores/presence";
import { useProfileCard } from "../../stores/profileCard";
import { useSession } from "../../stores/session";
import { Moderation } from "./Moderation";
import styles from "./ProfileCard.module.css";

/** The profile card of a person or agent: the profile, the rooms and the possible actions. */
export default function ProfileCard() {
  const { t } = useTranslation();
  const { subject, hide } = useProfileCard();
  if (subject === null) return null;
  return (
    <Dialog title={t("card.title")} onClose={hide}>
      <Card key={subject} subject={subject} onClose={hide} />
    </Dialog>
  );
}

function Card({ subject, onClose }: { subject: SubjectId; onClose: () => void }) {
  const { t, language } = useTranslation();
  const me = useSession((state) => state.subject);
  const { data: person } = useQuery(queries.person(subject));
  const known = useProfile(subject, t("common.unknownCitizen"));
  const profile = { ...known, ...(person && { name: person.display_name, avatarUrl: person.avatar_url ?? known.avatarUrl }) };
  const status = useStatus(subject);
  const statusText = usePresence((state) => state.online[subject]?.statusMsg) ?? person?.status_msg;
  const ago = status === "offline" ? (person?.last_active_ago_ms ?? null) : null;
  const matrixId = person?.matrix_user_id ?? known.matrixId;
  return (
    <div className={styles.card}>
      <div className={styles.who}>
        <Avatar subject={subject} profile={profile} size={72} status={status} />
        <div>
          <p className={styles.name}>
            <Name>{profile.name}</Name>
          </p>
          <p>
            {t(`kind.${kindOf(subject)}`)} ·{" "}
            {ago === null ? t(`status.${status}`) : t("card.seen", { when: formatElapsed(ago, language) })}
          </p>
          {statusText && <p dir="auto">{statusText}</p>}
        </div>
      </div>
      {person && person.rooms.length > 0 && (
        <div>
          <h3>{t("card.rooms")}</h3>
          <ul className={styles.rooms}>
            {person.rooms.map(({ id, slug, name }) => (
              <li key={id}>
                <Link to={roomPath(slug)} onClick={onClose}>
                  <Name>{name}</Name>
                </Link>
              </li>
            ))}
          </ul>
        </div>
      )}
      {matrixId && <p className={styles.matrix}>{t("card.matrix", { id: matrixId })}</p>}
      {person?.blocked && <p>{t("card.blocked")}</p>}
      <Actions
        subject={subject}
        matrixId={matrixId}
        citizenId={person?.citizen_id ?? null}
        mayMessage={person?.may_message ?? false}
        isBlocked={person?.blocked ?? false}
        onClose={onClose}
      />
      {subject !== me && (
        <Moderation subject={subject} name={profile.name} roomIds={person?.rooms.map(({ id }) => id) ?? []} onClose={onClose} />
      )}
    </div>
  );
}

interface ActionsProps {
  subject: SubjectId;
  matrixId: string | null;
  /** The id for opening chats and for blocking; null for agents, and for Matrix users who are not citizens. */
  citizenId: string | null;
  mayMessage: boolean;
  isBlocked: boolean;
  onClose: () => void;
}

function Actions({ subject, matrixId, citizenId, mayMessage, isBlocked, onClose }: ActionsProps) {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const queryClient = useQueryClient();
  const me = useSession((state) => state.subject);
  const room = useMatch("/city/:slug/*")?.params.slug;
  const slug = slugOf(subject);
  const mention = slug ?? matrixId?.slice(1);
  const chat = useOpenDirectChat(onClose);
  const other = slug !== null ? subject : citizenId !== null ? `citizen:${citizenId}` : null;
  const block = useMutation({
    mutationFn: (id: string) => city.block(id, !isBlocked),
    onSuccess: () => queryClient.invalidateQueries({ queryKey: queries.person(subject).queryKey }),
  });
  const isMe = subject === me;
  return (
    <>
      <InlineProblem error={chat.error ?? block.error} />
      <div className={styles.actions}>
        {isMe && (
          <Button
            onClick={() => {
              onClose();
              useOwnProfile.getState().show();
            }}
          >
            {t("profile.title")}
          </Button>
        )}
        {me !== null && !isMe && other !== null && mayMessage && (
          <Button variant="main" disabled={chat.isPending} onClick={() => chat.mutate(other)}>
            {t("card.message")}
          </Button>
        )}
        {me !== null && room && mention && !isMe && (
          <Button
            onClick={() => {
              onClose();
              // Back leads to the page before the room: the parameter is removed once it is read.
              void navigate({ search: `?mention=${encodeURIComponent(mention)}` }, { replace: true });
            }}
          >
            {t("card.mention")}
          </Button>
        )}
        {slug !== null && (
          <ButtonLink to={agentPath(slug)} onClick={onClose}>
            {t("card.page")}
          </ButtonLink>
        )}
        {me !== null && !isMe && citizenId !== null && (mayMessage || isBlocked) && (
          <Button variant="bare" disabled={block.isPending} onClick={() => block.mutate(citizenId)}>
            {t(isBlocked ? "card.unblock" : "card.block")}
          </Button>
        )}
      </div>
    </>
  );
}

import { useQuery } from "@tanstack/react-query";
import { useTranslation } from "../../lib/i18n";
import { queries } from "../../api/queries";
import { Avatar } from "../../components/ui/Avatar";
import { Button } from "../../components/ui/Button";
import { Icon } from "../../components/ui/Icon";
import { Name } from "../../components/ui/Name";
import { Menu } from "../../components/ui/Menu";
import { useProfile } from "../../hooks/useProfile";
import { useOwnProfile } from "../../stores/ownProfile";
import { useStatus } from "../../stores/presence";
import { useSession } from "../../stores/session";
import type { Session } from "../../lib/session";
import { NotificationSwitch } from "./NotificationSwitch";
import styles from "./Account.module.css";

/** The menu of the signed-in citizen, or the button to sign in. */
export function Account() {
  const { t } = useTranslation();
  const { session, setSignInOpen: ask } = useSession();
  if (session) return <SignedInAccount session={session} />;
  return (
    <Button variant="main" onClick={() => ask(true)}>
      {t("session.signIn")}
    </Button>
  );
}

/** The Matrix user id of the citizen. */
function OnMatrix({ userId }: { userId: string }) {
  const { t } = useTranslation();
  const { data: me } = useQuery(queries.me(userId));
  return me?.matrix_user_id ? <span>{t("session.matrixId", { id: me.matrix_user_id })}</span> : null;
}

function SignedInAccount({ session }: { session: Session }) {
  const { t } = useTranslation();
  const subject = useSession((state) => state.subject) ?? session.userId;
  const status = useStatus(subject);
  const signOut = useSession((state) => state.signOut);
  const profile = useProfile(subject, session.displayName);
  const showProfile = useOwnProfile((state) => state.show);
  const label = t("session.account", { name: profile.name });
  return (
    <Menu
      label={label}
      button={(open) => (
        <button type="button" className={styles.opener} aria-label={label} title={label} {...open}>
          <Avatar subject={subject} profile={profile} size={34} status={status} />
        </button>
      )}
    >
      {(close) => (
        <>
          <div className={styles.who}>
            <strong>
              <Name>{profile.name}</Name>
            </strong>
            <span>{t(`status.${status}`)}</span>
            <OnMatrix userId={session.userId} />
          </div>
          <div className={styles.entries}>
            <Button
              variant="bare"
              onClick={() => {
                close();
                showProfile();
              }}
            >
              <Icon name="pencil" /> {t("profile.title")}
            </Button>
            <NotificationSwitch />
            <Button
              variant="bare"
              onClick={() => {
                close();
                signOut();
              }}
            >
              <Icon name="out" /> {t("session.signOut")}
            </Button>
          </div>{" "}
        </>
      )}
    </Menu>
  );
}

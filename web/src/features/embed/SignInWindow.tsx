import { useEffect, useEffectEvent, useState } from "react";
import { Button, ButtonLink } from "../../components/ui/Button";
import { usePageTitle } from "../../hooks/usePageTitle";
import { useTranslation } from "../../lib/i18n";
import { useSession } from "../../stores/session";
import { SignInWays } from "../session/SignInDialog";
import styles from "./Embed.module.css";
import { handOver } from "./signInWindow";

/** The window in which a reader of an embedded chat signs in. */
export function SignInWindow() {
  const { t } = useTranslation();
  const session = useSession((state) => state.session);
  // A reader who was signed in before has to confirm: another site opened this window.
  const [wasSignedIn] = useState(session !== null);
  const [isDone, setDone] = useState(false);
  const [hasChat, setHasChat] = useState(true);
  usePageTitle(t("session.title"));

  const goOn = (token: string) => {
    const isTaken = handOver(token);
    setHasChat(isTaken);
    setDone(true);
    if (isTaken) close();
  };
  const onSignIn = useEffectEvent((token: string) => {
    if (!wasSignedIn) goOn(token);
  });
  useEffect(() => useSession.subscribe(({ session: now }) => now && onSignIn(now.token)), []);

  return (
    <main className={styles.window}>
      <h1>{t("session.title")}</h1>
      {isDone ? (
        <>
          <p role="status">{t(hasChat ? "embed.signedIn" : "embed.noChat")}</p>
          {!hasChat && (
            <ButtonLink to="/" reloadDocument>
              {t("notFound.home")}
            </ButtonLink>
          )}
        </>
      ) : session && wasSignedIn ? (
        <>
          <p>{t("embed.confirm")}</p>
          <Button variant="main" onClick={() => goOn(session.token)}>
            {t("embed.continueAs", { name: session.displayName })}
          </Button>
        </>
      ) : (
        <SignInWays />
      )}
    </main>
  );
}

import { useEffect, useState } from "react";
import { useLocation, useNavigate } from "react-router";
import { useTranslation } from "../../lib/i18n";
import { Button } from "../../components/ui/Button";
import { Notice } from "../../components/ui/Notice";
import { usePageTitle } from "../../hooks/usePageTitle";
import { useSession } from "../../stores/session";
import styles from "./SecondMe.module.css";
import { SecondMeChat } from "./SecondMeChat";

/** The page of the reader's personal agent, which has a short memory. */
export default function SecondMePage() {
  const { t } = useTranslation();
  const { session, setSignInOpen: ask } = useSession();
  usePageTitle(t("secondMe.title"));
  const firstPrompt = useFirstPrompt();
  if (session) return <SecondMeChat key={session.userId} userId={session.userId} firstPrompt={firstPrompt} />;
  return (
    <div className={styles.page}>
      <h1>{t("secondMe.title")}</h1>
      <Notice icon="sparkle" title={t("secondMe.signIn")}>
        <p>{t("home.secondMeText")}</p>
        <Button variant="main" onClick={() => ask(true)}>
          {t("session.signIn")}
        </Button>
      </Notice>
    </div>
  );
}

/** The question in the navigation state, from another page; a reload does not ask it again. */
function useFirstPrompt(): string | undefined {
  const { state } = useLocation() as { state: { prompt?: string } | null };
  const navigate = useNavigate();
  const [prompt] = useState(state?.prompt);
  const isNew = state?.prompt !== undefined;
  useEffect(() => {
    if (isNew) void navigate(".", { replace: true, state: null });
  }, [isNew, navigate]);
  return prompt;
}

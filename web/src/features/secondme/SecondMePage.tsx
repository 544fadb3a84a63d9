import { useTranslation } from "../../lib/i18n";
import { Button } from "../../components/ui/Button";
import { Notice } from "../../components/ui/Notice";
import { usePageTitle } from "../../hooks/usePageTitle";
import { useSession } from "../../stores/session";
import styles from "./SecondMe.module.css";
import { SecondMeChat } from "./SecondMeChat";

/** A personal agent with a short memory. */
export default function SecondMePage() {
  const { t } = useTranslation();
  const { session, setSignInOpen: ask } = useSession();
  usePageTitle(t("secondMe.title"));
  if (session) return <SecondMeChat key={session.userId} userId={session.userId} />;
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

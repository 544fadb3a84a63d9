import { useTranslation } from "react-i18next";
import { useAgentPresence } from "../../hooks/useAgentPresence";
import styles from "./AgentPresenceBadge.module.css";
import { PresenceDot } from "./PresenceDot";

/** Whether an agent is here, in words. `slug`: its slug, which is its id. */
export function AgentPresenceBadge({ slug }: { slug: string }) {
  const { t } = useTranslation();
  const { status } = useAgentPresence(slug);
  if (status === null) return <span className={styles.badge}>{t("common.loading")}</span>;
  return (
    <span className={`${styles.badge} ${styles[status] ?? ""}`}>
      <PresenceDot state={status} isSilent />
      {t(`status.${status}`)}
    </span>
  );
}

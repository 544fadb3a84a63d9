import { useTranslation } from "../../lib/i18n";
import type { Status } from "../../api/types";
import { useAgentPresence } from "../../hooks/useAgentPresence";
import styles from "./AgentPresenceBadge.module.css";
import { PresenceDot } from "./PresenceDot";

/** The presence of an agent, in words. `slug`: its slug, which is its id; `listed`: its presence in the response for the page. */
export function AgentPresenceBadge({ slug, listed }: { slug: string; listed?: Status }) {
  const { t } = useTranslation();
  const status = useAgentPresence(slug).status ?? listed;
  if (!status) return <span className={styles.badge}>{t("common.loading")}</span>;
  return (
    <span className={`${styles.badge} ${styles[status] ?? ""}`}>
      <PresenceDot state={status} isSilent />
      {t(`status.${status}`)}
    </span>
  );
}

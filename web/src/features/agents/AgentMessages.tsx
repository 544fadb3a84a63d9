import { useQuery } from "@tanstack/react-query";
import { Link } from "react-router";
import { queries } from "../../api/queries";
import type { Agent } from "../../api/types";
import card from "../../components/ui/Card.module.css";
import { Name } from "../../components/ui/Name";
import { useNow } from "../../hooks/useNow";
import { formatDateTime, relativeTime } from "../../lib/formatTime";
import { useTranslation } from "../../lib/i18n";
import { withNames } from "../../lib/mentions";
import { messagePath } from "../../lib/paths";
import { useProfiles } from "../../stores/profiles";
import { useSession } from "../../stores/session";
import styles from "./Agents.module.css";

/** The agent's last messages in the city's rooms, with links to them. */
export function AgentMessages({ agent }: { agent: Agent }) {
  const { t, language } = useTranslation();
  const now = useNow();
  const userId = useSession((state) => state.session?.userId ?? null);
  const profiles = useProfiles((state) => state.profiles);
  const { data = [] } = useQuery(queries.agentMessages(agent.slug, userId));
  if (!data.length) return null;
  return (
    <section aria-labelledby="agent-messages">
      <h2 id="agent-messages">{t("agents.latest")}</h2>
      <ul className={styles.messages}>
        {data.map(({ message, room, excerpt }) => (
          <li key={message.id} className={`${card.card} ${styles.message}`}>
            <p>
              <Name>{room.name}</Name> ·{" "}
              <time dateTime={message.created_at} title={formatDateTime(message.created_at, language)}>
                {relativeTime(message.created_at, now, language)}
              </time>
            </p>
            <Link className={`${card.link} ${styles.excerpt}`} to={messagePath(room.slug, message.id)} dir="auto">
              {withNames(excerpt, profiles).text || message.body}
            </Link>
          </li>
        ))}
      </ul>
    </section>
  );
}

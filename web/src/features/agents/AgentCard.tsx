import { memo } from "react";
import { Link } from "react-router";
import type { Agent, AgentPresence } from "../../api/types";
import { AgentPresenceBadge } from "../../components/ui/AgentPresenceBadge";
import { Avatar } from "../../components/ui/Avatar";
import { Name } from "../../components/ui/Name";
import { useAgentPresence } from "../../hooks/useAgentPresence";
import { agentSubject } from "../../lib/subjects";
import { usePresence } from "../../stores/presence";
import { useProfile } from "../../hooks/useProfile";
import { useRoleName } from "./roles";
import card from "../../components/ui/Card.module.css";
import styles from "./Agents.module.css";

export const AgentCard = memo(function AgentCard({ agent }: { agent: Agent }) {
  const roleName = useRoleName();
  const { status } = useAgentPresence(agent.slug);
  const isKnown = usePresence((state) => state.hasSnapshot);
  const statusMsg = usePresence((state) => state.online[agentSubject(agent.slug)]?.statusMsg);
  // Offline agents keep the status text of the loaded list.
  const statusText = isKnown && statusMsg !== undefined ? statusMsg : agent.status_msg;
  const profile = { name: agent.display_name, avatarUrl: agent.avatar_url, color: agent.color };
  return (
    <li className={`${card.card} ${styles.card}`}>
      <Avatar subject={agentSubject(agent.slug)} profile={profile} size={56} status={status ?? agent.presence} />
      <div>
        <Link className={card.link} to={`/agents/${encodeURIComponent(agent.slug)}`}>
          <Name>{agent.display_name}</Name>
        </Link>
        <p dir="auto">{agent.title ?? (agent.role && roleName(agent.role))}</p>
        {statusText && statusText !== agent.title && <p dir="auto">{statusText}</p>}
      </div>
    </li>
  );
});

/** An agent that holds an office of a node or a microDAO. */
export function OfficerCard({ agent, office, text }: { agent: AgentPresence; office: string; text: string }) {
  const subject = agentSubject(agent.agent_id);
  const profile = useProfile(subject, agent.display_name);
  return (
    <div className={`${card.card} ${styles.card}`}>
      <Avatar subject={subject} profile={profile} size={56} />
      <div>
        <p>{office}</p>
        <Link className={card.link} to={`/agents/${encodeURIComponent(agent.agent_id)}`}>
          <Name>{agent.display_name}</Name>
        </Link>{" "}
        <AgentPresenceBadge slug={agent.agent_id} listed={agent.presence} />
        <p>{text}</p>
      </div>
    </div>
  );
}

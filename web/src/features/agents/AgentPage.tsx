import { useQuery } from "@tanstack/react-query";
import { useEffect, type ReactNode } from "react";
import { useTranslation } from "../../lib/i18n";
import { Link, useParams } from "react-router";
import { queries } from "../../api/queries";
import type { Agent } from "../../api/types";
import { AgentPresenceBadge } from "../../components/ui/AgentPresenceBadge";
import { Avatar } from "../../components/ui/Avatar";
import { Button, ButtonLink, buttonClass } from "../../components/ui/Button";
import { Icon } from "../../components/ui/Icon";
import { Name } from "../../components/ui/Name";
import { InlineProblem, ProblemNotice, Skeleton } from "../../components/ui/Notice";
import { useAgentPresence } from "../../hooks/useAgentPresence";
import { useOpenDirectChat } from "../../hooks/useDirectChat";
import { useDistrictName } from "../../hooks/useDistrictName";
import { useNow } from "../../hooks/useNow";
import { usePageTitle } from "../../hooks/usePageTitle";
import { useSite } from "../../hooks/useSite";
import { userLink } from "../../lib/matrixLinks";
import { agentSubject } from "../../lib/subjects";
import { formatElapsed } from "../../lib/formatTime";
import { useSession } from "../../stores/session";
import { AgentAsk } from "./AgentAsk";
import { AgentMessages } from "./AgentMessages";
import styles from "./Agents.module.css";
import { useRoleName } from "./roles";

export default function AgentPage() {
  const { id = "" } = useParams();
  const agent = useQuery(queries.agent(id));
  usePageTitle(agent.data?.display_name ?? null);
  if (agent.isPending) return <Skeleton heights={[14, 10]} />;
  if (!agent.data) return <ProblemNotice isPage error={agent.error} onRetry={() => void agent.refetch()} />;
  return <Portrait agent={agent.data} receivedAt={agent.dataUpdatedAt} refetch={agent.refetch} />;
}

interface PortraitProps {
  agent: Agent;
  /** When the city's response arrived, in milliseconds since the epoch. */
  receivedAt: number;
  refetch: () => unknown;
}

function Portrait({ agent, receivedAt, refetch }: PortraitProps) {
  const profile = { name: agent.display_name, avatarUrl: agent.avatar_url, color: agent.color };
  return (
    <article className={styles.page}>
      <header className={styles.hero}>
        <Avatar subject={agentSubject(agent.slug)} profile={profile} size={104} />
        <AgentPresenceBadge slug={agent.slug} listed={agent.presence} />
        <h1>
          <Name>{agent.display_name}</Name>
        </h1>
        {agent.title && (
          <p className={styles.title} dir="auto">
            {agent.title}
          </p>
        )}
        <LastSeen agent={agent} receivedAt={receivedAt} refetch={refetch} />
      </header>
      <AgentAsk agent={agent} />
      <Actions agent={agent} />
      <AgentMessages agent={agent} />
      <Facts agent={agent} />
    </article>
  );
}

/** The time since an offline agent was last active. */
function LastSeen({ agent, receivedAt, refetch }: PortraitProps) {
  const { t, language } = useTranslation();
  const now = useNow();
  const { status } = useAgentPresence(agent.slug);
  const { presence, last_active_ago_ms: agoMs } = agent;
  // Live presence has no times: a response from before the agent came online or went offline is fetched again.
  const isOutdated = status !== null && (status === "offline") !== (presence === "offline");
  useEffect(() => {
    if (isOutdated) refetch();
  }, [isOutdated, refetch]);

  if ((status ?? presence) !== "offline" || isOutdated) return null;
  if (agoMs === null) return <p>{t("agents.never")}</p>;
  return <p>{t("agents.seenAgo", { when: formatElapsed(agoMs + Math.max(0, now - receivedAt), language) })}</p>;
}

/** Buttons that open a direct chat with the agent, or a room of the agent with a mention of it. */
function Actions({ agent }: { agent: Agent }) {
  const { t } = useTranslation();
  const { matrix } = useSite();
  const { data: rooms } = useQuery(queries.roomsOf(agent.rooms));
  const room = rooms?.find(({ slug }) => agent.rooms.includes(slug));
  const { session, setSignInOpen } = useSession();
  const chat = useOpenDirectChat();
  const open = () => chat.mutate(agentSubject(agent.slug));
  return (
    <div className={styles.actions}>
      <Button variant="main" disabled={chat.isPending} onClick={() => (session ? open() : setSignInOpen(true, open))}>
        {t("agents.chat")}
      </Button>
      {room && (
        <ButtonLink to={`/city/${room.slug}?mention=${encodeURIComponent(agent.slug)}`}>
          {t("agents.mention", { room: room.name })}
        </ButtonLink>
      )}
      <a
        className={buttonClass("plain")}
        href={userLink(matrix.client_url, agent.matrix_user_id)}
        target="_blank"
        rel="noopener noreferrer"
      >
        {t("agents.write")} <Icon name="elsewhere" size={16} />
      </a>
      <InlineProblem error={chat.error} />
    </div>
  );
}

function Facts({ agent }: { agent: Agent }) {
  const { t } = useTranslation();
  const roleName = useRoleName();
  const districtName = useDistrictName(agent.district);
  const { data: rooms } = useQuery(queries.roomsOf(agent.rooms));
  const role = agent.role && roleName(agent.role);
  const isRoleInTitle = role && agent.title?.toLowerCase().includes(role.toLowerCase());
  const nameOf = (slug: string) => rooms?.find((room) => room.slug === slug)?.name ?? slug;
  return (
    <dl className={styles.facts}>
      <Fact name={t("agents.role")}>{!isRoleInTitle && role}</Fact>
      <Fact name={t("agents.node")}>
        {agent.node_id && <Link to={`/nodes/${encodeURIComponent(agent.node_id)}`}>{agent.node_id}</Link>}
      </Fact>
      <Fact name={t("agents.microdao")}>
        {agent.microdao && <Link to={`/microdao/${encodeURIComponent(agent.microdao)}`}>{agent.microdao}</Link>}
      </Fact>
      <Fact name={t("agents.district")}>{districtName}</Fact>
      <Fact name={t("agents.rooms")}>
        {agent.rooms.length > 0 && (
          <span className={styles.rooms}>
            {agent.rooms.map((slug) => (
              <Link key={slug} to={`/city/${slug}`}>
                <Name>{nameOf(slug)}</Name>
              </Link>
            ))}
          </span>
        )}
      </Fact>
      <Fact name={t("agents.matrix")}>{agent.matrix_user_id}</Fact>
    </dl>
  );
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return children ? (
    <>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </>
  ) : null;
}

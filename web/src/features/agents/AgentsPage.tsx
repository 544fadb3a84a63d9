import { useQuery } from "@tanstack/react-query";
import { useDeferredValue } from "react";
import { useTranslation } from "../../lib/i18n";
import { queries } from "../../api/queries";
import type { Agent } from "../../api/types";
import { MoreButton } from "../../components/ui/MoreButton";
import { Notice, ProblemNotice, Skeleton } from "../../components/ui/Notice";
import { Chips, SearchField, ListToolbar } from "../../components/ui/ListToolbar";
import { useEntryState } from "../../hooks/useEntryState";
import { usePaged } from "../../hooks/usePaged";
import { usePageTitle } from "../../hooks/usePageTitle";
import { useSubjectsHere } from "../../hooks/useSubjectsHere";
import { agentSubject } from "../../lib/subjects";
import { AgentCard } from "./AgentCard";
import styles from "./Agents.module.css";
import { useRoleName } from "./roles";

/** The number of cards on a page, so that a search through hundreds of agents reacts to each key stroke at once. */
const PAGE = 48;
const ALL = "all";
const HERE = "here";

/** The list of all agents. */
export default function AgentsPage() {
  const { t } = useTranslation();
  const agents = useQuery(queries.agents);
  usePageTitle(t("agents.title"));
  return (
    <>
      <h1>{t("agents.title")}</h1>
      <p className={styles.lead}>{t("agents.lead")}</p>
      {agents.isPending && <Skeleton heights={[3, 6, 6]} />}
      {agents.isError && !agents.data && <ProblemNotice error={agents.error} onRetry={() => void agents.refetch()} />}
      {agents.data && <Found agents={agents.data} />}
    </>
  );
}

function Found({ agents }: { agents: Agent[] }) {
  const { t } = useTranslation();
  const roleName = useRoleName();
  const here = useSubjectsHere();
  const [searchText, setSearchText] = useEntryState("agents.search", "");
  // The search field shows a key stroke before the matching cards are rendered.
  const filter = useDeferredValue(searchText);
  const [chosen, setChosen] = useEntryState("agents.chosen", ALL);
  const roles = [...new Set(agents.flatMap(({ role }) => role ?? []))].sort();
  const isHere = (agent: Agent) => here.has(agentSubject(agent.slug));
  const found = agents.filter(
    (agent) => (chosen === ALL || (chosen === HERE ? isHere(agent) : agent.role === chosen)) && isLike(agent, filter),
  );
  const { shown, hidden, showMore } = usePaged("agents", found, `${chosen} ${filter}`, PAGE);
  if (!agents.length) return <Notice icon="agents" title={t("agents.empty")} />;
  return (
    <>
      <ListToolbar>
        <SearchField label={t("agents.search")} value={searchText} onChange={setSearchText} />
        <Chips
          label={t("agents.role")}
          choices={[
            { value: ALL, words: t("agents.all") },
            { value: HERE, words: t("agents.onlineOnly") },
            ...roles.map((role) => ({ value: role, words: roleName(role) })),
          ]}
          chosen={chosen}
          onChoose={setChosen}
        />
      </ListToolbar>
      <p className="quiet" role="status">
        {t("agents.found", { count: found.length })}
      </p>
      {!found.length && <Notice icon="search" title={t("agents.none")} />}
      <ul className={styles.agents}>
        {shown.map((agent) => (
          <AgentCard key={agent.id} agent={agent} />
        ))}
      </ul>
      <MoreButton hidden={hidden} onMore={showMore} />
    </>
  );
}

function isLike({ slug, display_name: name, title, status_msg: status }: Agent, searchText: string): boolean {
  return [slug, name, title, status].join(" ").toLocaleLowerCase().includes(searchText.trim().toLocaleLowerCase());
}

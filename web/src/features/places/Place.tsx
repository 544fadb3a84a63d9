import { useTranslation } from "../../lib/i18n";
import type { Agent, AgentPresence } from "../../api/types";
import { AgentCard, OfficerCard } from "../agents/AgentCard";
import agentStyles from "../agents/Agents.module.css";
import { RoomIcon } from "../city/rooms/RoomIcon";
import { Name } from "../../components/ui/Name";
import { useDistrictName } from "../../hooks/useDistrictName";
import { useSubjectsHere } from "../../hooks/useSubjectsHere";
import { agentSubject } from "../../lib/subjects";
import styles from "./Place.module.css";

export interface Office {
  name: string;
  text: string;
  agent: AgentPresence | null;
}

interface Props {
  id: string;
  kind: string;
  name: string;
  description: string;
  district: string | null;
  offices: Office[];
  agents: Agent[];
}

/** A node or a microDAO: its description, the agents in its offices, and the agents that live there. */
export function Place({ id, kind, name, description, district, offices, agents }: Props) {
  const { t } = useTranslation();
  const districtName = useDistrictName(district);
  const here = useSubjectsHere();
  const online = agents.filter(({ slug }) => here.has(agentSubject(slug))).length;
  return (
    <article className={styles.page}>
      <header className={styles.hero}>
        <RoomIcon slug={id} isLit={online > 0} size={88} />
        <div>
          <p className={styles.kind}>{kind}</p>
          <h1>
            <Name>{name}</Name>
          </h1>
          {description && <p dir="auto">{description}</p>}
          {districtName && <p>{t("places.district", { district: districtName })}</p>}
        </div>
      </header>
      <div className={styles.offices}>
        {offices.map((office) => (
          <Held key={office.name} office={office} />
        ))}
      </div>
      <section className={styles.section} aria-labelledby="agents-title">
        <h2 id="agents-title">{t("places.agents")}</h2>
        <p>{agents.length ? t("places.agentsOnline", { online, total: agents.length }) : t("places.agentsEmpty")}</p>
        <ul className={agentStyles.agents}>
          {agents.map((agent) => (
            <AgentCard key={agent.id} agent={agent} />
          ))}
        </ul>
      </section>
    </article>
  );
}

function Held({ office: { name, text, agent } }: { office: Office }) {
  const { t } = useTranslation();
  if (agent) return <OfficerCard agent={agent} office={name} text={text} />;
  return (
    <p className={styles.vacant}>
      <strong>{name}.</strong> {t("places.vacant")}
    </p>
  );
}

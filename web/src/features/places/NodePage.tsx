import { useQuery } from "@tanstack/react-query";
import { useTranslation } from "../../lib/i18n";
import { useParams } from "react-router";
import { queries } from "../../api/queries";
import { ProblemNotice, Skeleton } from "../../components/ui/Notice";
import { usePageTitle } from "../../hooks/usePageTitle";
import { Place } from "./Place";

/** A node, with its Guardian and its Steward. */
export default function NodePage() {
  const { t } = useTranslation();
  const { nodeId = "" } = useParams();
  const node = useQuery(queries.node(nodeId));
  usePageTitle(node.data?.name ?? null);
  if (node.isPending) return <Skeleton heights={[9, 7, 12]} />;
  if (!node.data) return <ProblemNotice isPage error={node.error} onRetry={() => void node.refetch()} />;
  const { guardian, steward, ...place } = node.data;
  const offices = [
    { name: t("places.guardian"), text: t("places.guardianText"), agent: guardian },
    { name: t("places.steward"), text: t("places.stewardText"), agent: steward },
  ];
  return <Place {...place} kind={t("places.node")} offices={offices} />;
}

import { useQuery } from "@tanstack/react-query";
import { useTranslation } from "../../lib/i18n";
import { useParams } from "react-router";
import { queries } from "../../api/queries";
import { ProblemNotice, Skeleton } from "../../components/ui/Notice";
import { usePageTitle } from "../../hooks/usePageTitle";
import { Place } from "./Place";

/** A microDAO, with its Orchestrator. */
export default function MicroDaoPage() {
  const { t } = useTranslation();
  const { slug = "" } = useParams();
  const microDao = useQuery(queries.microDao(slug));
  usePageTitle(microDao.data?.name ?? null);
  if (microDao.isPending) return <Skeleton heights={[9, 7, 12]} />;
  if (!microDao.data) return <ProblemNotice isPage error={microDao.error} onRetry={() => void microDao.refetch()} />;
  const { orchestrator, ...place } = microDao.data;
  const offices = [{ name: t("places.orchestrator"), text: t("places.orchestratorText"), agent: orchestrator }];
  return <Place {...place} id={slug} kind={t("places.microdao")} offices={offices} />;
}

import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { city } from "../../../api/city";
import { InlineProblem } from "../../../components/ui/Notice";
import { useTranslation } from "../../../lib/i18n";
import { RichText } from "./RichText";
import styles from "./CityRoomInput.module.css";

/** The preview of a message: the city renders its text as it renders a message. */
export default function MessagePreview({ body }: { body: string }) {
  const { t } = useTranslation();
  const { data, error } = useQuery({
    queryKey: ["markdown", body],
    queryFn: ({ signal }) => city.renderMarkdown(body, signal),
    staleTime: Infinity,
    gcTime: 0,
    placeholderData: keepPreviousData,
  });
  return (
    <div className={styles.preview} role="region" aria-label={t("preview.label")} aria-busy={!data && !error}>
      <InlineProblem error={error} />
      {data && <RichText body={body} html={data.formatted_body} />}
    </div>
  );
}

import type { LastMessage } from "../../../api/types";
import { AuthorName } from "../../../components/ui/AuthorName";
import { useTranslation } from "../../../lib/i18n";
import { withNames } from "../../../lib/mentions";
import { subjectOf } from "../../../lib/subjects";
import { useProfiles } from "../../../stores/profiles";
import { useSession } from "../../../stores/session";

/** The last message of a room in one line. */
export function LastLine({ last: { author, text } }: { last: LastMessage }) {
  const { t } = useTranslation();
  const isMine = useSession((state) => state.subject === subjectOf(author));
  const words = useProfiles(({ profiles }) => withNames(text, profiles).text);
  return (
    <>
      {isMine ? t("pane.me") : <AuthorName author={author} />}: <bdi>{words}</bdi>
    </>
  );
}

import { buttonClass } from "../../../components/ui/Button";
import { Icon } from "../../../components/ui/Icon";
import { useSite } from "../../../hooks/useSite";
import { useTranslation } from "../../../lib/i18n";
import { roomLink } from "../../../lib/matrixLinks";

/** A link that opens a room by its Matrix room id in a Matrix client. */
export function OnMatrixLink({ roomId }: { roomId: string }) {
  const { t } = useTranslation();
  const { matrix } = useSite();
  return (
    <a className={buttonClass("bare")} href={roomLink(matrix.client_url, roomId)} target="_blank" rel="noopener noreferrer">
      <Icon name="elsewhere" /> {t("room.openOnMatrix")}
    </a>
  );
}

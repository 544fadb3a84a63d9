import { useTranslation } from "../../../lib/i18n";
import styles from "./CityRoomMessageList.module.css";
import type { MembershipEvent } from "./timeline";

/** The line about a member who joined, left, or was kicked or banned. */
export function MembershipNotice({ note: { change: what, name, by, reason } }: { note: MembershipEvent }) {
  const { t } = useTranslation();
  const isRemoval = what === "kicked" || what === "banned";
  const words = isRemoval && by ? t(`room.${what}_by`, { name, by }) : t(`room.${what}`, { name });
  return (
    <p className={styles.note} dir="auto">
      {words}
      {reason && `. ${t("room.reason", { reason })}`}
    </p>
  );
}

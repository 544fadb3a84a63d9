import { useTranslation } from "../../../lib/i18n";
import { useCitizenNames } from "../../../hooks/useCitizenNames";
import { useNames } from "../../../hooks/useNames";
import styles from "./CityRoomView.module.css";
import { useRoomState } from "./useRoom";

export function TypingIndicator() {
  const { t } = useTranslation();
  const typing = useRoomState((state) => state.typing);
  useCitizenNames(typing);
  const names = useNames(typing);
  const [name = "", other = ""] = names;
  const words =
    names.length === 0
      ? ""
      : names.length === 1
        ? t("room.typingOne", { name })
        : names.length === 2
          ? t("room.typingTwo", { name, other })
          : t("room.typingMany", { count: names.length });
  return (
    <p className={styles.typing} aria-live="polite">
      {words}
    </p>
  );
}

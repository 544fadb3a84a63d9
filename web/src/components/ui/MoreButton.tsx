import { useTranslation } from "../../lib/i18n";
import { Button } from "./Button";
import styles from "./ListToolbar.module.css";

/** The button that ends a list of which only a part is shown. */
export function MoreButton({ hidden, onMore }: { hidden: number; onMore: () => void }) {
  const { t } = useTranslation();
  if (hidden <= 0) return null;
  return (
    <p className={styles.more}>
      <Button onClick={onMore}>{t("list.more", { count: hidden })}</Button>
    </p>
  );
}

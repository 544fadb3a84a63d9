import { Skeleton } from "./Notice";
import styles from "./DialogLoading.module.css";

/** The placeholder of a dialog whose module is being loaded: on a slow network, too, a click shows at once that it worked. */
export function DialogLoading() {
  return (
    <div className={styles.backdrop}>
      <div className={styles.card}>
        <Skeleton heights={[2, 5, 3]} />
      </div>
    </div>
  );
}

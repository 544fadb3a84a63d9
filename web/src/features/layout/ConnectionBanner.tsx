import { useEffect, useState, useSyncExternalStore } from "react";
import { useTranslation } from "../../lib/i18n";
import { usePresence } from "../../stores/presence";
import styles from "./Shell.module.css";

/** A connection that is back within this time shows no banner. */
const PATIENCE_MS = 1_500;

/** The banner for a city that is unreachable. */
export function ConnectionBanner() {
  const { t } = useTranslation();
  const isOnline = useSyncExternalStore(listenToNetwork, () => navigator.onLine);
  const isLost = useIsLost();
  return (
    <div role="status">
      {(isLost || !isOnline) && <p className={styles.banner}>{t(isOnline ? "link.lost" : "link.offline")}</p>}
    </div>
  );
}

function useIsLost(): boolean {
  const isDown = usePresence(({ connection: link }) => link === "connecting" || link === "waiting");
  const [isLost, setLost] = useState(false);
  useEffect(() => {
    if (!isDown) return undefined;
    const timer = setTimeout(() => setLost(true), PATIENCE_MS);
    return () => {
      clearTimeout(timer);
      setLost(false);
    };
  }, [isDown]);
  return isLost;
}

function listenToNetwork(changed: () => void): () => void {
  addEventListener("online", changed);
  addEventListener("offline", changed);
  return () => {
    removeEventListener("online", changed);
    removeEventListener("offline", changed);
  };
}

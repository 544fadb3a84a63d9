import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useState, useSyncExternalStore } from "react";
import { useTranslation } from "react-i18next";
import { usePresence } from "../../stores/presence";
import styles from "./Shell.module.css";

/** A connection that is back within this says nothing. */
const PATIENCE_MS = 1_500;

/** Says when the city is out of reach, and fetches anew what is shown once it is back. */
export function LinkBanner() {
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
  const link = usePresence((state) => state.link);
  const queryClient = useQueryClient();
  const wasLive = useRef(false);
  const [isLost, setLost] = useState(false);

  useEffect(() => {
    if (link === "live") {
      if (wasLive.current) void queryClient.invalidateQueries();
      wasLive.current = true;
      setLost(false);
      return undefined;
    }
    if (link === "closed") return undefined;
    const timer = setTimeout(() => setLost(true), PATIENCE_MS);
    return () => clearTimeout(timer);
  }, [link, queryClient]);

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

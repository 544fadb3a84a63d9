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
  useFetchingAnew();
  return (
    <div role="status">
      {(isLost || !isOnline) && <p className={styles.banner}>{t(isOnline ? "link.lost" : "link.offline")}</p>}
    </div>
  );
}

function useIsLost(): boolean {
  const isDown = usePresence(({ link }) => link === "connecting" || link === "waiting");
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

/** What is shown may be out of date after the connection was away. */
function useFetchingAnew(): void {
  const queryClient = useQueryClient();
  const isLive = usePresence(({ link }) => link === "live");
  const wasLive = useRef(false);
  useEffect(() => {
    if (isLive && wasLive.current) void queryClient.invalidateQueries();
    wasLive.current ||= isLive;
  }, [isLive, queryClient]);
}

function listenToNetwork(changed: () => void): () => void {
  addEventListener("online", changed);
  addEventListener("offline", changed);
  return () => {
    removeEventListener("online", changed);
    removeEventListener("offline", changed);
  };
}

import { useEffect } from "react";
import { useNavigate } from "react-router";
import { useTranslation } from "../lib/i18n";
import { mayNotify, wantsPush } from "../lib/notifications";
import { useSession } from "../stores/session";

/** Milliseconds after the start, so that the page loads its own parts first. */
const RENEW_AFTER_MS = 5_000;

/** Renew this browser's push subscription in the city, and open the messages of notifications that were clicked. */
export function usePush(): void {
  const userId = useSession((state) => state.session?.userId ?? null);
  const { language } = useTranslation();
  useEffect(() => {
    if (userId === null || !mayNotify() || !wantsPush()) return;
    const timer = setTimeout(() => {
      // Without a network, the next visit renews it.
      void import("../lib/push").then(({ subscribeToPush }) => subscribeToPush(language)).catch(() => undefined);
    }, RENEW_AFTER_MS);
    return () => clearTimeout(timer);
  }, [userId, language]);

  const navigate = useNavigate();
  useEffect(() => {
    if (!("serviceWorker" in navigator)) return;
    const open = ({ data }: MessageEvent) => {
      const path = pathOf(data);
      if (path !== null) void navigate(path);
    };
    navigator.serviceWorker.addEventListener("message", open);
    return () => navigator.serviceWorker.removeEventListener("message", open);
  }, [navigate]);
}

/** The path that the service worker asks to open; null for other messages. */
function pathOf(message: unknown): string | null {
  const { type, path } = (message ?? {}) as { type?: unknown; path?: unknown };
  return type === "open" && typeof path === "string" && path.startsWith("/city/") ? path : null;
}

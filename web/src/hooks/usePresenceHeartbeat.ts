import { useEffect } from "react";
import { Activity } from "../lib/activity";
import { pageClock, type Cancel } from "../lib/clock";
import { globalPresenceClient } from "../lib/globalPresenceClient";
import { useSession } from "../stores/session";

const SIGNS = ["pointerdown", "pointermove", "keydown", "wheel", "touchstart", "focus"] as const;

/** A moving pointer is a hundred signs a second; one of them is enough for so long. */
const SIGN_EVERY_MS = 1_000;

/**
 * Says that the citizen is here for as long as the page is open: `away` after `awayAfterMs` without a sign of them and
 * while the page is hidden, offline when it is left.
 */
export function usePresenceHeartbeat(heartbeatMs: number, awayAfterMs: number): void {
  const session = useSession((state) => state.session);

  useEffect(() => {
    globalPresenceClient.signIn(session && { userId: session.userId, token: session.token });
  }, [session]);

  useEffect(() => {
    globalPresenceClient.start(heartbeatMs);
    const leave = () => globalPresenceClient.stop();
    const comeBack = ({ persisted }: PageTransitionEvent) => {
      if (persisted) globalPresenceClient.start(heartbeatMs);
    };
    const reconnect = () => globalPresenceClient.reconnect();
    addEventListener("pagehide", leave);
    addEventListener("pageshow", comeBack);
    addEventListener("online", reconnect);
    return () => {
      removeEventListener("pagehide", leave);
      removeEventListener("pageshow", comeBack);
      removeEventListener("online", reconnect);
      globalPresenceClient.stop();
    };
  }, [heartbeatMs]);

  useEffect(() => watchActivity(awayAfterMs, (status) => globalPresenceClient.setStatus(status)), [awayAfterMs]);
}

/** Tells each change of the status of whoever sits before the page. Answers how to stop. */
export function watchActivity(awayAfterMs: number, tell: (status: "online" | "away") => void, clock = pageClock): Cancel {
  const activity = new Activity(clock.now(), awayAfterMs);
  let cancelChange: Cancel = () => undefined;
  let signedAt = -Infinity;

  const look = () => {
    cancelChange();
    tell(activity.status(clock.now()));
    const changesInMs = activity.changesInMs(clock.now());
    if (changesInMs !== null) cancelChange = clock.after(changesInMs, look);
  };
  const sign = () => {
    if (clock.now() - signedAt < SIGN_EVERY_MS) return;
    signedAt = clock.now();
    activity.sign(signedAt);
    look();
  };
  const turn = () => {
    activity.setHidden(document.visibilityState === "hidden", clock.now());
    look();
  };

  for (const name of SIGNS) addEventListener(name, sign, { passive: true, capture: true });
  document.addEventListener("visibilitychange", turn);
  turn();
  return () => {
    cancelChange();
    for (const name of SIGNS) removeEventListener(name, sign, { capture: true });
    document.removeEventListener("visibilitychange", turn);
  };
}

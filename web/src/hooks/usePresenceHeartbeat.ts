import { useEffect } from "react";
import { Activity } from "../lib/activity";
import { pageClock, type Cancel } from "../lib/clock";
import { globalPresenceClient } from "../lib/globalPresenceClient";
import { useSession } from "../stores/session";

const INPUT_EVENTS = ["pointerdown", "pointermove", "keydown", "wheel", "touchstart", "focus"] as const;

/** A moving pointer fires a hundred events a second, of which one in this time is enough. */
const INPUT_THROTTLE_MS = 1_000;

/**
 * Send the citizen's presence while the page is open: `away` after `awayAfterMs` without input and while the page is hidden,
 * offline when the page is closed.
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

/** Call `onChange` with each status of the person at the page. Returns a function that stops it. */
export function watchActivity(awayAfterMs: number, onChange: (status: "online" | "away") => void, clock = pageClock): Cancel {
  const activity = new Activity(clock.now(), awayAfterMs);
  let cancelChange: Cancel = () => undefined;
  let lastInputAt = -Infinity;

  const report = () => {
    cancelChange();
    onChange(activity.status(clock.now()));
    const changesInMs = activity.changesInMs(clock.now());
    if (changesInMs !== null) cancelChange = clock.after(changesInMs, report);
  };
  const onInput = () => {
    if (clock.now() - lastInputAt < INPUT_THROTTLE_MS) return;
    lastInputAt = clock.now();
    activity.noteInput(lastInputAt);
    report();
  };
  const onVisibility = () => {
    activity.setHidden(document.visibilityState === "hidden", clock.now());
    report();
  };

  for (const name of INPUT_EVENTS) addEventListener(name, onInput, { passive: true, capture: true });
  document.addEventListener("visibilitychange", onVisibility);
  onVisibility();
  return () => {
    cancelChange();
    for (const name of INPUT_EVENTS) removeEventListener(name, onInput, { capture: true });
    document.removeEventListener("visibilitychange", onVisibility);
  };
}

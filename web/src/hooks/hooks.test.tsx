import { act, render, renderHook, screen } from "@testing-library/react";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { AgentPresenceBadge } from "../components/ui/AgentPresenceBadge";
import { Problem } from "../api/problem";
import { initI18n, setLanguage } from "../lib/i18n";
import { globalPresenceClient, presenceEvents } from "../lib/globalPresenceClient";
import { initPresence, usePresence } from "../stores/presence";
import { useSession } from "../stores/session";
import { FakeClock } from "../testing/fakeClock";
import { token } from "../testing/samples";
import { useProblemText } from "./useProblemText";
import { usePresenceHeartbeat, watchActivity } from "./usePresenceHeartbeat";

const AWAY_MS = 300_000;

beforeAll(async () => {
  initPresence();
  await initI18n();
  await setLanguage("uk");
});

function setHidden(isHidden: boolean): void {
  vi.spyOn(document, "visibilityState", "get").mockReturnValue(isHidden ? "hidden" : "visible");
  document.dispatchEvent(new Event("visibilitychange"));
}

describe("activity", () => {
  afterEach(() => setHidden(false));

  function watch() {
    const clock = new FakeClock();
    const told: string[] = [];
    const stop = watchActivity(AWAY_MS, (status) => told.push(status), clock);
    return { clock, told, stop };
  }

  it("is away after five minutes without input", () => {
    const { clock, told, stop } = watch();
    clock.pass(AWAY_MS - 1);
    expect(told.at(-1)).toBe("online");
    clock.pass(1);
    expect(told.at(-1)).toBe("away");
    dispatchEvent(new Event("keydown"));
    expect(told.at(-1)).toBe("online");
    stop();
  });

  it("restarts its timer with each input", () => {
    const { clock, told, stop } = watch();
    for (let i = 0; i < 5; i++) {
      clock.pass(AWAY_MS - 1_000);
      dispatchEvent(new Event("pointermove"));
    }
    expect(told).not.toContain("away");
    stop();
  });

  it("is away while the page is hidden", () => {
    const { told, stop, clock } = watch();
    setHidden(true);
    clock.pass(5_000);
    dispatchEvent(new Event("focus"));
    expect(told.at(-1)).toBe("away");
    setHidden(false);
    expect(told.at(-1)).toBe("online");
    stop();
  });

  it("stops listening", () => {
    const { clock, told, stop } = watch();
    stop();
    const before = told.length;
    clock.pass(10 * AWAY_MS);
    dispatchEvent(new Event("keydown"));
    expect(told).toHaveLength(before);
  });
});

describe("usePresenceHeartbeat", () => {
  it("follows the session, pagehide and pageshow", () => {
    const start = vi.spyOn(globalPresenceClient, "start").mockImplementation(() => undefined);
    const stop = vi.spyOn(globalPresenceClient, "stop").mockImplementation(() => undefined);
    const signIn = vi.spyOn(globalPresenceClient, "signIn").mockImplementation(() => undefined);
    const jwt = token({ sub: "u_1", exp: Date.now() / 1000 + 60 });
    const { unmount } = renderHook(() => usePresenceHeartbeat(20_000, AWAY_MS));
    act(() => void useSession.getState().signIn(jwt));
    expect(signIn).toHaveBeenLastCalledWith({ userId: "u_1", token: jwt });
    expect(start).toHaveBeenCalledExactlyOnceWith(20_000);
    dispatchEvent(new Event("pagehide"));
    expect(stop).toHaveBeenCalledTimes(1);
    dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
    expect(start).toHaveBeenCalledTimes(2);
    unmount();
    expect(stop).toHaveBeenCalledTimes(2);
    act(() => useSession.getState().signOut());
  });
});

describe("AgentPresenceBadge", () => {
  it("shows the given status until the snapshot", () => {
    usePresence.setState({ online: {}, hasSnapshot: false });
    render(<AgentPresenceBadge slug="varta" listed="away" />);
    expect(screen.getByText("відійшов")).toBeTruthy();
    act(() => presenceEvents.onSnapshot([{ user_id: "agent:varta", status: "online", status_msg: null, last_active_ago_ms: 0 }]));
    expect(screen.getByText("на зв’язку")).toBeTruthy();
    act(() => presenceEvents.onUpdates([{ user_id: "agent:varta", status: "offline", status_msg: null, last_active_ago_ms: 0 }]));
    expect(screen.queryByText("на зв’язку")).toBeNull();
  });
});

describe("useProblemText", () => {
  it("translates known codes, and shows the detail of others", () => {
    const { result } = renderHook(() => useProblemText());
    expect(result.current(new Problem(403, "muted", "…"))).toBe("Ви не можете тут писати.");
    expect(result.current(new Problem(418, "teapot", "I am one"))).toBe("Місто каже: I am one");
  });
});

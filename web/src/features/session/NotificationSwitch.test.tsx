import { fireEvent, render, screen, waitFor } from "@testing-library/react";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { city } from "../../api/city";
import en from "../../i18n/en";
import { createTranslator, setTranslator } from "../../lib/i18n";
import { getLocalItem, setLocalItem } from "../../lib/storage";
import { useSession } from "../../stores/session";
import { NotificationSwitch } from "./NotificationSwitch";

const KEY = "AQID";
const KEYS = { p256dh: "P", auth: "A" };

/** A push manager with its push service, in memory. */
class FakePushManager {
  subscription: { endpoint: string; key: string } | null = null;
  isDenied = false;
  made = 0;

  getSubscription = () => Promise.resolve(this.subscription && this.view());

  subscribe = ({ applicationServerKey: key }: { applicationServerKey: string }) => {
    if (this.isDenied) return Promise.reject(new DOMException("no push service", "AbortError"));
    this.subscription = { endpoint: `https://push.example.org/${++this.made}`, key };
    return Promise.resolve(this.view());
  };

  private view() {
    const { endpoint, key } = this.subscription ?? { endpoint: "", key: "" };
    const octets = Uint8Array.from(atob(key), (letter) => letter.charCodeAt(0));
    return {
      endpoint,
      options: { applicationServerKey: octets.buffer },
      toJSON: () => ({ endpoint, keys: KEYS }),
      unsubscribe: () => {
        this.subscription = null;
        return Promise.resolve(true);
      },
    };
  }
}

let manager: FakePushManager;
const subscribed = vi.fn();
const unsubscribed = vi.fn();

beforeEach(() => {
  manager = new FakePushManager();
  localStorage.clear();
  setTranslator(createTranslator("en", en));
  vi.stubGlobal("Notification", { permission: "granted" });
  vi.stubGlobal("PushManager", FakePushManager);
  const registration = { pushManager: manager };
  Object.defineProperty(navigator, "serviceWorker", {
    configurable: true,
    value: {
      register: () => Promise.resolve(registration),
      getRegistration: () => Promise.resolve(registration),
      ready: Promise.resolve(registration),
    },
  });
  subscribed.mockReset();
  unsubscribed.mockReset();
  vi.spyOn(city, "pushKey").mockResolvedValue({ enabled: true, public_key: KEY });
  vi.spyOn(city, "subscribeToPush").mockImplementation((subscription) => {
    subscribed(subscription);
    return Promise.resolve(new Response());
  });
  vi.spyOn(city, "unsubscribeFromPush").mockImplementation((endpoint, token) => {
    unsubscribed(endpoint, token);
    return Promise.resolve(new Response());
  });
});

const press = (name: string) => fireEvent.click(screen.getByRole("button", { name }));

/** Turn on notifications, then those for a closed page. */
async function turnOn(): Promise<void> {
  render(<NotificationSwitch />);
  press(en.notifications.allow);
  await screen.findByRole("button", { name: en.notifications.push });
  press(en.notifications.push);
}

describe("the switch of notifications", () => {
  it("offers pushes only where notifications are on", async () => {
    render(<NotificationSwitch />);
    expect(screen.queryByRole("button", { name: en.notifications.push })).toBeNull();
    press(en.notifications.allow);
    await screen.findByRole("button", { name: en.notifications.push });
    expect(subscribed).not.toHaveBeenCalled();
  });

  it("offers no pushes in a browser without them", async () => {
    vi.stubGlobal("PushManager", undefined);
    Reflect.deleteProperty(globalThis, "PushManager");
    render(<NotificationSwitch />);
    press(en.notifications.allow);
    await screen.findByRole("button", { name: en.notifications.off });
    expect(screen.queryByRole("button", { name: en.notifications.push })).toBeNull();
  });

  it("subscribes the browser with the city's key, and unsubscribes it", async () => {
    await turnOn();
    await screen.findByRole("button", { name: en.notifications.pushOff });
    expect(subscribed).toHaveBeenCalledWith({ endpoint: "https://push.example.org/1", keys: KEYS, language: "en" });
    expect(manager.subscription?.key).toBe(KEY);
    press(en.notifications.pushOff);
    await screen.findByRole("button", { name: en.notifications.push });
    expect(unsubscribed).toHaveBeenCalledWith("https://push.example.org/1", undefined);
    expect(manager.subscription).toBeNull();
  });

  it("replaces a subscription for another key", async () => {
    manager.subscription = { endpoint: "https://push.example.org/old", key: "BBBB" };
    await turnOn();
    await screen.findByRole("button", { name: en.notifications.pushOff });
    expect(manager.subscription).toEqual({ endpoint: "https://push.example.org/1", key: KEY });
  });

  it("keeps a subscription for the same key", async () => {
    manager.subscription = { endpoint: "https://push.example.org/old", key: KEY };
    await turnOn();
    await screen.findByRole("button", { name: en.notifications.pushOff });
    expect(subscribed).toHaveBeenCalledWith(expect.objectContaining({ endpoint: "https://push.example.org/old" }));
  });

  it("shows a failure without a push service", async () => {
    manager.isDenied = true;
    await turnOn();
    await screen.findByText(en.notifications.pushFailed);
    expect(getLocalItem("city.push")).toBeNull();
  });

  it("shows a failure in a city without Web Push", async () => {
    vi.spyOn(city, "pushKey").mockResolvedValue({ enabled: false, public_key: null });
    await turnOn();
    await screen.findByText(en.notifications.pushFailed);
    expect(manager.made).toBe(0);
  });

  it("ends pushes with notifications", async () => {
    await turnOn();
    await screen.findByRole("button", { name: en.notifications.pushOff });
    press(en.notifications.off);
    await screen.findByRole("button", { name: en.notifications.allow });
    expect(manager.subscription).toBeNull();
  });
});

describe("signing out", () => {
  it("ends pushes with the token of the citizen", async () => {
    manager.subscription = { endpoint: "https://push.example.org/old", key: KEY };
    setLocalItem("city.push", "on");
    useSession.setState({ session: { userId: "u_1", displayName: "Оксана", token: "t1", expiresAt: null } as never });
    useSession.getState().signOut();
    await waitFor(() => expect(unsubscribed).toHaveBeenCalledWith("https://push.example.org/old", "t1"));
    expect(manager.subscription).toBeNull();
  });
});

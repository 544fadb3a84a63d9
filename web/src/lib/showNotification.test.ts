import { beforeEach, describe, expect, it, vi } from "vitest";
import { showNotification } from "./showNotification";

const MESSAGE = { title: "Тарас\u202e", body: "ходи сюди", tag: "city_general", path: "/city/general/m1" };

const byWorker = vi.fn(() => Promise.resolve());
/** A fake constructor of `Notification`. */
const byPage = vi.fn(function (this: object) {
  return this;
});

function setRegistration(registration: object | undefined): void {
  Object.defineProperty(navigator, "serviceWorker", {
    configurable: true,
    value: { getRegistration: () => Promise.resolve(registration) },
  });
}

let held: { name: string }[] = [];

beforeEach(() => {
  held = [];
  Object.defineProperty(navigator, "locks", { configurable: true, value: { query: () => Promise.resolve({ held }) } });
  byWorker.mockClear();
  byPage.mockClear();
  vi.stubGlobal("Notification", byPage);
});

describe("a notification", () => {
  it("is shown by the service worker, which opens its message", async () => {
    setRegistration({ active: {}, showNotification: byWorker });
    await showNotification(MESSAGE, () => undefined);
    const options = { body: "ходи сюди", tag: "city_general", icon: "/icons/icon-192.png", data: "/city/general/m1" };
    expect(byWorker).toHaveBeenCalledWith("Тарас", options);
    expect(byPage).not.toHaveBeenCalled();
  });

  it("is not shown while another tab is visible", async () => {
    setRegistration({ active: {}, showNotification: byWorker });
    held = [{ name: "city.shown" }];
    await showNotification(MESSAGE, () => undefined);
    expect(byWorker).not.toHaveBeenCalled();
  });

  it.each([undefined, { active: null, showNotification: byWorker }])(
    "is shown by the page without a worker",
    async (registration) => {
      setRegistration(registration);
      await showNotification(MESSAGE, () => undefined);
      expect(byPage).toHaveBeenCalledWith("Тарас", expect.objectContaining({ tag: "city_general" }));
      expect(byWorker).not.toHaveBeenCalled();
    },
  );
});

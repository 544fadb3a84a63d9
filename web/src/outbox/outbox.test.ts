import { beforeEach, describe, expect, it } from "vitest";
import { Problem } from "../api/problem";
import { FakeBrowser, type FakeTab } from "../testing/fakeTabs";
import { settled } from "../testing/samples";
import type { Action } from "./entry";

const GENERAL = { id: "city_general", slug: "general", name: "General" };
const SCIENCE = { id: "city_science", slug: "science", name: "Science" };
const away = new Problem(0, "unreachable", "…");
const text = (body: string): Action => ({ kind: "message", body, replyTo: null, file: null, media: null });

let browser: FakeBrowser;
let tab: FakeTab;

beforeEach(async () => {
  browser = new FakeBrowser();
  tab = browser.open();
  await settled();
});

const pass = async (ms: number) => {
  browser.clock.pass(ms);
  await settled();
};

describe("an entry of the outbox", () => {
  it("is shown, sent and removed after the response", async () => {
    tab.outbox.add(GENERAL, text("hello"));
    expect(tab.entries).toEqual(["c1 waiting 0"]);
    await settled();
    expect(tab.entries).toEqual([]);
    expect(browser.stored.size).toBe(0);
    expect(tab.delivered.map(({ client_id: id }) => id)).toEqual(["c1"]);
  });

  it("waits for the connection, in order, with its client_id", async () => {
    tab.answers.push(away);
    tab.outbox.add(GENERAL, text("first"));
    tab.outbox.add(GENERAL, text("second"));
    await settled();
    expect(tab.entries).toEqual(["c1 waiting 1", "c2 waiting 0"]);
    await pass(1_000);
    expect(tab.sent).toEqual(["t1 c1 first", "t1 c1 first", "t1 c2 second"]);
    expect(tab.entries).toEqual([]);
  });

  it("is announced to other tabs once", async () => {
    const other = browser.open();
    await settled();
    tab.answers.push(away);
    tab.outbox.add(GENERAL, text("hello"));
    await settled();
    await pass(60_000);
    expect(tab.delivered).toHaveLength(1);
    expect([tab.addedElsewhere, other.addedElsewhere]).toEqual([[], ["c1"]]);
  });

  it("does not delay other rooms", async () => {
    tab.answers.push(away);
    tab.outbox.add(GENERAL, text("first"));
    await settled();
    tab.outbox.add(SCIENCE, text("elsewhere"));
    await settled();
    expect(tab.entries).toEqual(["c1 waiting 1"]);
  });

  it("survives a reload and is sent once", async () => {
    tab.answers.push(away);
    tab.outbox.add(GENERAL, text("hello"));
    await settled();
    browser.close(tab);
    const later = browser.open();
    await settled();
    await pass(60_000);
    expect(later.sent).toEqual(["t1 c1 hello"]);
    expect(browser.stored.size).toBe(0);
  });

  it("respects Retry-After", async () => {
    tab.answers.push(new Problem(429, "too_many_requests", "…", 12_000));
    tab.outbox.add(GENERAL, text("hello"));
    await settled();
    tab.outbox.wake();
    await pass(11_999);
    expect(tab.sent).toHaveLength(1);
    await pass(1);
    expect(tab.sent).toHaveLength(2);
  });

  it("fails when refused, and is sent by a retry", async () => {
    tab.answers.push(new Problem(403, "muted", "…"));
    tab.outbox.add(GENERAL, text("first"));
    tab.outbox.add(GENERAL, text("second"));
    await settled();
    expect(tab.entries).toEqual(["c1 failed 1"]);
    expect(browser.stored.get("c1")?.problem?.code).toBe("muted");
    tab.outbox.retry("c1");
    await settled();
    expect(tab.entries).toEqual([]);
  });

  it("is not sent again when the socket confirms it", async () => {
    tab.answers.push(away);
    tab.outbox.add(GENERAL, text("hello"));
    await settled();
    tab.outbox.confirm("c1");
    await pass(60_000);
    expect(tab.sent).toHaveLength(1);
    expect(browser.stored.size).toBe(0);
  });

  it("uploads its file once", async () => {
    tab.answers.push(away);
    tab.outbox.add(GENERAL, { ...text("a picture"), file: new File(["x"], "x.png") } as Action);
    await settled();
    expect(browser.stored.get("c1")?.action).toMatchObject({ media: null });
    await pass(1_000);
    expect(tab.entries).toEqual([]);
  });
});

describe("the author of an entry", () => {
  it("sends it with their own token only", async () => {
    tab.answers.push(away);
    tab.outbox.add(GENERAL, text("mine"));
    await settled();
    browser.signIn("u_2");
    await pass(120_000);
    expect(tab.sent).toEqual(["t1 c1 mine"]);
    expect(tab.entries).toEqual(["c1 waiting 1"]);
    browser.signIn("u_1", "t1 again");
    await settled();
    expect(tab.sent.at(-1)).toBe("t1 again c1 mine");
    expect(tab.entries).toEqual([]);
  });

  it("sends nothing while signed out", async () => {
    tab.answers.push(new Problem(401, "token_invalid", "…"));
    tab.outbox.add(GENERAL, text("mine"));
    await settled();
    browser.person = null;
    await pass(3_600_000);
    expect(tab.sent).toHaveLength(1);
    expect(tab.entries).toEqual(["c1 waiting 1"]);
    expect(tab.outbox.add(GENERAL, text("nobody's"))).toBe(false);
    browser.signIn("u_1");
    await settled();
    expect(tab.entries).toEqual([]);
  });
});

describe("several tabs", () => {
  it("share the queue, and one of them sends", async () => {
    const second = browser.open();
    tab.answers.push(away);
    second.outbox.add(GENERAL, text("from the second"));
    await settled();
    expect([tab.entries, second.entries]).toEqual([["c1 waiting 1"], ["c1 waiting 1"]]);
    await pass(1_000);
    expect(tab.sent).toHaveLength(2);
    expect(second.sent).toEqual([]);
    expect([tab.entries, second.entries]).toEqual([[], []]);
    expect(second.delivered).toHaveLength(1);
  });

  it("continue after the sending tab is closed", async () => {
    const second = browser.open();
    tab.answers.push(away);
    tab.outbox.add(GENERAL, text("hello"));
    await settled();
    browser.close(tab);
    await pass(1_000);
    expect(second.sent).toEqual(["t1 c1 hello"]);
  });

  it("take over from a frozen tab", async () => {
    const second = browser.open();
    tab.isFrozen = true;
    second.outbox.add(GENERAL, text("hello"));
    await settled();
    expect(second.sent).toEqual([]);
    await pass(5_000);
    expect(second.sent).toEqual(["t1 c1 hello"]);
  });
});

describe("a browser without storage", () => {
  it("sends from its own tab, and warns of the loss", async () => {
    const second = browser.open();
    browser.isFull = true;
    second.answers.push(away);
    second.outbox.add(GENERAL, text("hello"));
    await settled();
    expect([...second.outbox.store.getState().unstored]).toEqual(["c1"]);
    expect(second.entries).toEqual(["c1 waiting 1"]);
    await pass(1_000);
    expect(second.sent).toHaveLength(2);
    expect(tab.sent).toEqual([]);
    expect(second.entries).toEqual([]);
  });
});

describe("a change of a message", () => {
  const edit = (body: string): Action => ({ kind: "edit", messageId: "m1", body });

  it("replaces an earlier unsent one", async () => {
    tab.answers.push(away);
    tab.outbox.add(GENERAL, text("first"));
    tab.outbox.add(GENERAL, edit("one"));
    tab.outbox.add(GENERAL, edit("two"));
    await settled();
    expect(tab.entries).toEqual(["c1 waiting 1", "c3 waiting 0"]);
  });

  it("stays when refused", async () => {
    tab.answers.push(new Problem(413, "message_too_long", "…"));
    tab.outbox.add(GENERAL, edit("one"));
    await settled();
    expect(tab.entries).toEqual(["c1 failed 1"]);
  });

  it("is complete when its message is deleted already", async () => {
    tab.answers.push(new Problem(404, "no_such_message", "…"));
    tab.outbox.add(GENERAL, { kind: "removal", messageId: "m1" });
    await settled();
    expect(tab.entries).toEqual([]);
  });
});

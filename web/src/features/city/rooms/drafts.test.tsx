import { act, renderHook } from "@testing-library/react";
import { afterEach, describe, expect, it } from "vitest";
import type { Action, Entry } from "../../../outbox/entry";
import { message } from "../../../testing/samples";
import { clearSentDraft, draftActions, draftKey, draftOf, useDraft, useDrafts } from "./drafts";

const KEY = draftKey("u_1", "general");
const ROOM = { id: "city_general", slug: "general", name: "General" };

const sent = (action: Action, owner = "u_1") => clearSentDraft({ owner, room: ROOM, action } as Entry);
const text = (body: string): Action => ({ kind: "message", body, replyTo: null, file: null, media: null });

afterEach(() => {
  localStorage.clear();
  useDrafts.setState({ drafts: {} });
});

describe("a draft sent by another tab", () => {
  it("is cleared with its reply", () => {
    draftActions(KEY).write("hello ");
    draftActions(KEY).reply(message(1));
    sent(text("hello"));
    expect(draftOf(KEY)).toEqual({ text: "", replyTo: null, editing: null, mentions: {} });
  });

  it("is cleared before the other tab removes it", () => {
    draftActions(KEY).write("hello");
    useDrafts.setState({ drafts: {} });
    const { result, rerender } = renderHook(() => useDraft(KEY));
    expect(result.current.text).toBe("hello");
    sent(text("hello"));
    rerender();
    expect(result.current.text).toBe("");
  });

  it("is cleared by room id and by slug", () => {
    const byId = draftKey("u_1", ROOM.id);
    draftActions(byId).write("hello");
    sent(text("hello"));
    expect(draftOf(byId).text).toBe("");
  });

  it("stays if text or author differ", () => {
    draftActions(KEY).write("hello, and more");
    sent(text("hello"));
    sent(text("hello, and more"), "u_2");
    expect(draftOf(KEY).text).toBe("hello, and more");
  });

  it("ends the same edit only", () => {
    draftActions(KEY).write("new");
    draftActions(KEY).edit(message(1), "changed");
    sent({ kind: "edit", messageId: "m2", body: "changed" });
    sent({ kind: "edit", messageId: "m1", body: "otherwise" });
    expect(draftOf(KEY).editing?.text).toBe("changed");
    sent({ kind: "edit", messageId: "m1", body: "changed" });
    expect(draftOf(KEY)).toEqual({ text: "new", replyTo: null, editing: null, mentions: {} });
  });
});

describe("a draft that another tab changes", () => {
  const storedElsewhere = (text: string | null) => {
    const value = text === null ? null : JSON.stringify({ text });
    if (value === null) localStorage.removeItem(`city.draft.${KEY}`);
    else localStorage.setItem(`city.draft.${KEY}`, value);
    dispatchEvent(new StorageEvent("storage", { key: `city.draft.${KEY}`, newValue: value }));
  };

  it.each([
    ["changed", "hello there", "hello there"],
    ["removed", null, ""],
  ])("is %s in this tab, too", (_what, stored, shown) => {
    draftActions(KEY).write("hello");
    const { result } = renderHook(() => useDraft(KEY));
    act(() => storedElsewhere(stored));
    expect(result.current.text).toBe(shown);
    expect(draftOf(KEY).text).toBe(shown);
  });

  it("leaves the drafts of other rooms alone", () => {
    const other = draftKey("u_1", "science");
    draftActions(other).write("stays");
    localStorage.clear();
    act(() => storedElsewhere("hello"));
    expect(draftOf(other).text).toBe("stays");
  });
});

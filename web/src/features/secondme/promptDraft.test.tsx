import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { act, fireEvent, render } from "@testing-library/react";
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { initI18n, setLanguage } from "../../lib/i18n";
import { getPromptDraft, setPromptDraft } from "./promptDraft";
import { SecondMeChat } from "./SecondMeChat";

beforeAll(async () => {
  await initI18n();
  await setLanguage("en");
});

beforeEach(() => {
  vi.stubGlobal("fetch", () => Promise.resolve(Response.json([])));
});

afterEach(() => {
  vi.unstubAllGlobals();
  localStorage.clear();
});

function open(userId = "u_1") {
  const { container } = render(
    <QueryClientProvider client={new QueryClient()}>
      <SecondMeChat userId={userId} />
    </QueryClientProvider>,
  );
  const field = container.querySelector("textarea");
  if (!field) throw new Error("the page has no text field");
  return field;
}

/** The storage event in this tab when another tab changes the draft of `userId`. */
function change(oldValue: string | null, newValue: string | null, userId = "u_1"): void {
  const key = `city.secondme.draft.${userId}`;
  act(() => {
    dispatchEvent(new StorageEvent("storage", { key, oldValue, newValue }));
  });
}

describe("the draft of a question in another tab", () => {
  it("is cleared when the other tab has sent its text", () => {
    setPromptDraft("u_1", "what is new?");
    const field = open();
    expect(field.value).toBe("what is new?");
    change("what is new?", null);
    expect(field.value).toBe("");
  });

  it("is cleared despite surrounding white space", () => {
    const field = open();
    fireEvent.change(field, { target: { value: "what is new? " } });
    change("what is new?", null);
    expect(field.value).toBe("");
  });

  it("stays when its text differs from the removed one", () => {
    const field = open();
    fireEvent.change(field, { target: { value: "another question" } });
    change("what is new?", null);
    expect(field.value).toBe("another question");
    expect(getPromptDraft("u_1")).toBe("another question");
  });

  it("stays when the other tab continues to edit", () => {
    setPromptDraft("u_1", "what is new?");
    const field = open();
    change("what is new?", "what is new? And");
    expect(field.value).toBe("what is new?");
  });

  it("stays when the draft of another citizen is removed", () => {
    setPromptDraft("u_1", "what is new?");
    const field = open();
    change("what is new?", null, "u_2");
    expect(field.value).toBe("what is new?");
  });
});

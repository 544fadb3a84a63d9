import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { act, fireEvent, render, screen } from "@testing-library/react";
import { MemoryRouter } from "react-router";
import { beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { city } from "../../api/city";
import type { Agent } from "../../api/types";
import { initI18n, setLanguage } from "../../lib/i18n";
import { outbox } from "../../stores/outbox";
import { useSession } from "../../stores/session";
import { room, token } from "../../testing/samples";
import { AgentAsk } from "./AgentAsk";

const SCRIBE = { slug: "scribe", display_name: "Scribe" } as Agent;

beforeAll(async () => {
  await initI18n();
  await setLanguage("en");
});

beforeEach(() => {
  localStorage.clear();
  useSession.setState({ session: null, subject: null, isSignInOpen: false });
});

function open() {
  render(
    <QueryClientProvider client={new QueryClient()}>
      <MemoryRouter>
        <AgentAsk agent={SCRIBE} />
      </MemoryRouter>
    </QueryClientProvider>,
  );
}

async function ask(words: string) {
  fireEvent.change(screen.getByRole("textbox", { name: "Question to Scribe" }), { target: { value: words } });
  await act(async () => {
    fireEvent.click(screen.getByRole("button", { name: "Ask" }));
    await new Promise((resolve) => setTimeout(resolve, 50));
  });
}

describe("AgentAsk", () => {
  it("asks a visitor to sign in, and keeps the text", async () => {
    const opened = vi.spyOn(city, "openDirectChat");
    open();
    await ask("How are you?");
    expect(useSession.getState().isSignInOpen).toBe(true);
    expect(opened).not.toHaveBeenCalled();
    act(() => void useSession.getState().signIn(token({ sub: "u_1", exp: 4_000_000_000, name: "Oksana" })));
    expect(screen.getByRole<HTMLInputElement>("textbox").value).toBe("How are you?");
  });

  it("sends the question to the direct chat with the agent once", async () => {
    useSession.getState().signIn(token({ sub: "u_1", exp: 4_000_000_000, name: "Oksana" }));
    const chat = room(0, [], { id: "chat_1", slug: "chat_1" });
    const opened = vi.spyOn(city, "openDirectChat").mockResolvedValue(chat as never);
    vi.spyOn(city, "room").mockResolvedValue(chat);
    const sent = vi.spyOn(outbox, "add").mockReturnValue(true);
    open();
    await ask("How are you?");
    expect(opened).toHaveBeenCalledWith("agent:scribe");
    expect(sent).toHaveBeenCalledTimes(1);
    expect(sent.mock.calls[0]).toEqual(expect.arrayContaining([expect.objectContaining({ body: "How are you?" })]));
    expect(screen.getByRole("link", { name: "Open the chat" }).getAttribute("href")).toBe("/city/chat_1");
    await ask("And now?");
    expect(opened).toHaveBeenCalledTimes(1);
    expect(sent).toHaveBeenCalledTimes(2);
  });
});

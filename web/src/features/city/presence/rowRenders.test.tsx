import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { act, render, screen } from "@testing-library/react";
import type { ReactNode } from "react";
import { MemoryRouter } from "react-router";
import { beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import type { Agent, Status } from "../../../api/types";
import { initI18n, setLanguage } from "../../../lib/i18n";
import { usePresence } from "../../../stores/presence";
import { NO_PROFILE, useProfiles } from "../../../stores/profiles";
import { visitorEnvironment } from "../../../testing/roomEnvironment";
import AgentsPage from "../../agents/AgentsPage";
import { MemberList } from "../rooms/MemberList";
import { RoomModel } from "../rooms/roomModel";
import { RoomContext } from "../rooms/useRoom";
import { PresenceBar } from "./PresenceBar";

/** The subjects of the rows that were rendered, in order. */
const drawn: string[] = [];

vi.mock("../../../components/ui/Avatar", () => ({
  Avatar: ({ subject }: { subject: string }) => {
    drawn.push(subject);
    return null;
  },
}));

const SUBJECTS = Array.from({ length: 20 }, (_, number) => `agent:a${String(number).padStart(2, "0")}`);
const is = (user_id: string, status: Status) => ({ user_id, status, status_msg: null, last_active_ago_ms: null });
const update = (subject: string, status: Status) => act(() => usePresence.getState().updates([is(subject, status)]));

beforeAll(async () => {
  await initI18n();
  await setLanguage("en");
});

beforeEach(() => {
  const profile = (name: string) => ({ ...NO_PROFILE, name });
  useProfiles.setState({ profiles: Object.fromEntries(SUBJECTS.map((subject) => [subject, profile(subject)])) });
  usePresence.setState({ online: {}, hasSnapshot: false });
  usePresence.getState().snapshot(SUBJECTS.map((subject) => is(subject, "online")));
});

function show(part: ReactNode, client = new QueryClient()) {
  client.setQueryData(["site"], { matrix: { client_url: null } });
  render(
    <QueryClientProvider client={client}>
      <MemoryRouter>{part}</MemoryRouter>
    </QueryClientProvider>,
  );
  drawn.length = 0;
}

function members() {
  const model = new RoomModel("general", visitorEnvironment());
  model.store.setState({ members: new Set(SUBJECTS) });
  show(
    <RoomContext value={model}>
      <MemberList roomName="General" isOver={false} onClose={() => undefined} />
    </RoomContext>,
  );
}

describe.each([
  { name: "the bar of who is here", list: () => show(<PresenceBar />) },
  { name: "the members of a room", list: members },
])("$name", ({ list }) => {
  it("renders one row for the status of one person", () => {
    list();
    update("agent:a07", "away");
    expect(drawn).toEqual(["agent:a07"]);
  });

  it("renders nothing for a heartbeat that changes nothing", () => {
    list();
    update("agent:a07", "online");
    expect(drawn).toEqual([]);
  });
});

describe("the list of agents", () => {
  function agents() {
    const client = new QueryClient();
    const listed = SUBJECTS.map((subject) => {
      const slug = subject.slice("agent:".length);
      return { id: slug, slug, display_name: `Agent ${slug}`, presence: "online", role: null } as Agent;
    });
    client.setQueryData(["agents"], listed);
    show(<AgentsPage />, client);
  }

  it("renders no card for a key stroke with the same results", () => {
    agents();
    const field = screen.getByRole("searchbox");
    act(() => {
      const value = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value");
      value?.set?.call(field, "agent");
      field.dispatchEvent(new Event("input", { bubbles: true }));
    });
    expect((field as HTMLInputElement).value).toBe("agent");
    expect(drawn).toEqual([]);
  });

  it("renders one card for the status of one agent", () => {
    agents();
    update("agent:a07", "away");
    expect(drawn).toEqual(["agent:a07"]);
  });
});

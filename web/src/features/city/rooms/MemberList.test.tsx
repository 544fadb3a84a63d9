import { cleanup, render, screen } from "@testing-library/react";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { afterEach, describe, expect, it, vi } from "vitest";
import { city } from "../../../api/city";
import { FakeEnvironment } from "../../../testing/fakeSockets";
import { roomEnvironment } from "../../../testing/roomEnvironment";
import { room, settled, TARAS } from "../../../testing/samples";
import { MemberList } from "./MemberList";
import { RoomModel } from "./roomModel";
import { RoomContext } from "./useRoom";

afterEach(cleanup);

async function showMembers(online: number, mayRead = true): Promise<void> {
  const member = { ...TARAS, presence: "online", last_active_ago_ms: 0, status_msg: null } as const;
  const changes = { online_members: mayRead ? [member] : [], members_online: online, may_read: mayRead };
  vi.spyOn(city, "room").mockResolvedValue(room(1, [], changes));
  const model = new RoomModel("general", roomEnvironment(new FakeEnvironment()));
  model.start();
  await settled();
  render(
    <QueryClientProvider client={new QueryClient()}>
      <RoomContext value={model}>
        <MemberList roomName="General" isOver={false} onClose={() => undefined} />
      </RoomContext>
    </QueryClientProvider>,
  );
  model.stop();
}

describe("the members who are online", () => {
  it("are counted in the title, and the list says when it is shorter", async () => {
    await showMembers(500);
    expect(screen.getByRole("heading").textContent).toContain("500");
    expect(screen.getByText(/room.membersShown/)).toBeTruthy();
  });

  it("have no note for somebody who may not see them", async () => {
    await showMembers(500, false);
    expect(screen.getByText("problem.members_only")).toBeTruthy();
    expect(screen.queryByText(/room.membersShown/)).toBeNull();
  });

  it("have no note when all are listed", async () => {
    await showMembers(1);
    expect(screen.getByRole("heading").textContent).toContain("1");
    expect(screen.queryByText(/room.membersShown/)).toBeNull();
  });
});

"""Ghosts of removed agents leave their rooms once, across errors of the homeserver."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from daarion_appservice.city.agents import AgentDirectory
from daarion_appservice.city.events import CityEvent, MembershipChanged
from daarion_appservice.city.identity import Identities
from daarion_appservice.city.member_log import MemberLog
from daarion_appservice.city.online_members import OnlineMembers
from daarion_appservice.city.rooms import Rooms, room_id_of
from daarion_appservice.city.types import Agent, AgentSlug, Author, AuthorKind, Member, OutboxKind, UserId
from daarion_appservice.clock import new_id, now_ms
from daarion_appservice.matrix.avatars.drawn_avatars import DrawnAvatars
from daarion_appservice.matrix.client.homeserver import Homeserver
from daarion_appservice.matrix.client.monitor import HomeserverMonitor
from daarion_appservice.matrix.ghosts.ghosts import Ghosts
from daarion_appservice.matrix.ghosts.profile_fields import RoleFieldWriter
from daarion_appservice.matrix.ghosts.profiles import Profiles
from daarion_appservice.matrix.inbound.direct_chats import NO_SUCH_AGENT
from daarion_appservice.matrix.reconcile.ghost_removal import GhostRemoval
from daarion_appservice.storage import migrate
from daarion_appservice.storage.database import Database
from daarion_appservice.storage.ghosts import Ghost
from tests.parts.messaging import IDENTITIES, link, messaging_harness
from tests.parts.scripted_homeserver import HANG_UP, NOT_REGISTERED, HangUp, Reply, ScriptedHomeserver, refused

SCRIBE = Agent("scribe", AgentSlug("scribe"), "Писар")
GHOST = UserId("@agent_scribe:city.localhost")
IN_ROOMS = Reply(200, {"joined_rooms": ["!builders", "!chat", "!general"]})
GENERAL, BUILDERS = room_id_of("general"), room_id_of("builders")
LONG_AFTER_MS = 31_000


@dataclass
class GhostRemovalHarness:
    database: Database
    homeserver: ScriptedHomeserver
    agents: AgentDirectory
    monitor: HomeserverMonitor
    ghost_removal: GhostRemoval
    now_ms: int = 1_000_000
    without_device: list[str] = field(default_factory=list)
    """The ghosts whose encryption devices were deleted."""

    async def delete_encryption_device(self, ghost: UserId) -> None:
        self.without_device.append(ghost)

    async def remove(self, *agents: Agent) -> None:
        async with self.database.transaction() as tx:
            await tx.agents.remove([agent.slug for agent in agents], now_ms=self.now_ms)

    async def noted(self) -> list[str]:
        async with self.database.read_only() as tx:
            return [each.slug for each in await tx.removed_agents.all()]

    async def members(self) -> set[tuple[str, str]]:
        async with self.database.read_only() as tx:
            return {(member.room_id, member.user_id) for member in await tx.members.all()}

    def left(self) -> list[str]:
        return [received.path["room"] for received in self.homeserver.all("leave")]


@pytest.fixture
async def harness(database_url: str) -> AsyncIterator[GhostRemovalHarness]:
    database, homeserver, online_members = Database(database_url), ScriptedHomeserver(), OnlineMembers()

    def publish(event: CityEvent) -> None:
        if isinstance(event, MembershipChanged):
            (online_members.add_membership if event.joined else online_members.remove_membership)(
                event.room_id, event.subject
            )

    async with homeserver.serving():
        await migrate.upgrade(database)
        await Rooms(database, publish, now_ms, new_id).open_missing([("general", "General", ""), ("builders", "B", "")])
        client = Homeserver(homeserver.url, "token")
        monitor, members = HomeserverMonitor(client, "daarion"), MemberLog(IDENTITIES, now_ms, new_id)
        monitor.mark_up()
        ghosts = Ghosts(
            client,
            database,
            IDENTITIES,
            members,
            online_members,
            publish,
            DrawnAvatars(client, database, IDENTITIES.bot),
            Profiles("City"),
        )
        agents = AgentDirectory()
        roles = RoleFieldWriter(client, ghosts, IDENTITIES)
        async with database.transaction() as tx:
            await tx.ghosts.put(Ghost(GHOST))
            await tx.agents.put(SCRIBE, now_ms=1)
            for room in (GENERAL, BUILDERS):
                for event in await members.join(tx, room, [Member(room, GHOST, "Писар")]):
                    publish(event)
        await ghosts.load()
        made = GhostRemovalHarness(database, homeserver, agents, monitor, None)  # type: ignore[arg-type]
        made.ghost_removal = GhostRemoval(
            client,
            monitor,
            database,
            ghosts,
            roles,
            agents,
            IDENTITIES,
            made.delete_encryption_device,
            lambda: made.now_ms,
        )
        yield made
        await client.close()
    await database.close()


async def test_removed_agent_goes_offline_and_leaves_rooms(harness: GhostRemovalHarness) -> None:
    await harness.remove(SCRIBE)
    harness.homeserver.next("joined_rooms", IN_ROOMS)
    assert await harness.ghost_removal.run() == ([SCRIBE.slug], False), "another process may speak for it still"
    assert [received.what for received in harness.homeserver.requests] == [
        "joined_rooms",
        "presence",
        "sync",
        "leave",
        "leave",
        "leave",
    ]
    assert {received.user for received in harness.homeserver.requests} == {GHOST}
    assert harness.homeserver.all("presence")[0].content == {"presence": "offline"}
    assert harness.left() == ["!builders", "!chat", "!general"]
    assert await harness.members() == set()
    assert set(harness.without_device) == {GHOST}

    harness.now_ms += LONG_AFTER_MS
    assert await harness.ghost_removal.run() == ([SCRIBE.slug], True)
    assert await harness.ghost_removal.run() == ([], True)
    assert len(harness.left()) == 3


@pytest.mark.parametrize("joined", [[], ["!general"]])
async def test_invitations_of_removed_agent_are_declined(harness: GhostRemovalHarness, joined: list[str]) -> None:
    await harness.remove(SCRIBE)
    harness.now_ms += LONG_AFTER_MS
    harness.homeserver.next("joined_rooms", Reply(200, {"joined_rooms": joined}))
    invited: dict[str, Any] = {"invite": {"!chat": {"invite_state": {"events": []}}}}
    harness.homeserver.next("sync", Reply(200, {"next_batch": "s1", "rooms": invited}))
    assert await harness.ghost_removal.run() == ([SCRIBE.slug], True)
    assert {received.path["room"]: received.content for received in harness.homeserver.all("leave")} == {
        "!chat": {"reason": NO_SUCH_AGENT}
    } | {room: {} for room in joined}


async def test_pending_messages_are_sent_before_leave(harness: GhostRemovalHarness) -> None:
    async with harness.database.transaction() as tx:
        for room, matrix_room in ((GENERAL, "!general"), (BUILDERS, "!builders")):
            await link(tx, room, matrix_room)
    speaker = messaging_harness(harness.database, lambda _: None)
    await speaker.post(Author(AuthorKind.AGENT, "scribe", "Писар"), "general", "Бувайте")
    await speaker.post(Author(AuthorKind.CITIZEN, "scribe", "Інший"), "builders", "Я не він")
    await harness.remove(SCRIBE)
    harness.now_ms += LONG_AFTER_MS
    harness.homeserver.next("joined_rooms", IN_ROOMS, Reply(200, {"joined_rooms": ["!general"]}))
    assert await harness.ghost_removal.run() == ([SCRIBE.slug], False)
    assert harness.left() == ["!builders", "!chat"]
    assert await harness.members() == {(GENERAL, GHOST)}

    async with harness.database.transaction() as tx:
        for row in await tx.outbox.waiting(limit=9):
            await tx.outbox.delete(row.id)
    assert await harness.ghost_removal.run() == ([SCRIBE.slug], True)
    assert harness.left() == ["!builders", "!chat", "!general"]


async def test_pending_join_is_followed_by_leave(harness: GhostRemovalHarness) -> None:
    async with harness.database.transaction() as tx:
        await tx.outbox.add_move(OutboxKind.JOIN, GHOST, GENERAL, txn_id="t")
    await harness.remove(SCRIBE)
    harness.now_ms += LONG_AFTER_MS
    assert await harness.ghost_removal.run() == ([SCRIBE.slug], False)
    assert await harness.noted() == ["scribe"]


@pytest.mark.parametrize("answer", [HANG_UP, refused(500, "M_UNKNOWN"), refused(429, "M_LIMIT_EXCEEDED")])
@pytest.mark.parametrize("what", ["joined_rooms", "presence", "sync", "leave"])
async def test_refused_leave_is_retried(harness: GhostRemovalHarness, what: str, answer: Reply | HangUp) -> None:
    await harness.remove(SCRIBE)
    harness.now_ms += LONG_AFTER_MS
    if what != "joined_rooms":
        harness.homeserver.next("joined_rooms", IN_ROOMS)
    # What can be asked twice without harm the client itself asks again.
    harness.homeserver.next(what, *[answer] * (2 if answer is HANG_UP and what != "leave" else 1))
    assert await harness.ghost_removal.run() == ([SCRIBE.slug], False)
    assert await harness.noted() == ["scribe"]
    assert harness.monitor.is_up == (answer is not HANG_UP)

    harness.homeserver.next("joined_rooms", IN_ROOMS)
    assert await harness.ghost_removal.run() == ([SCRIBE.slug], True)
    assert harness.left()[-3:] == ["!builders", "!chat", "!general"]


async def test_unregistered_ghost_is_removed(harness: GhostRemovalHarness) -> None:
    await harness.remove(SCRIBE)
    harness.now_ms += LONG_AFTER_MS
    harness.homeserver.next("joined_rooms", NOT_REGISTERED)
    assert await harness.ghost_removal.run() == ([SCRIBE.slug], True)
    assert await harness.members() == set()


async def test_restored_agent_stays(harness: GhostRemovalHarness) -> None:
    await harness.remove(SCRIBE)
    harness.agents.replace([SCRIBE])
    assert await harness.ghost_removal.run() == ([], False), "the registry is about to tell which of the two it is"
    async with harness.database.transaction() as tx:
        await tx.agents.put(SCRIBE, now_ms=harness.now_ms)
    assert await harness.ghost_removal.run() == ([], True)
    assert harness.homeserver.requests == []


async def test_refused_removal_does_not_delay_others(harness: GhostRemovalHarness) -> None:
    others = [Agent(f"a{number}", AgentSlug(f"a{number}"), "A") for number in range(30)]
    await harness.remove(SCRIBE, *others)
    harness.now_ms += LONG_AFTER_MS
    harness.homeserver.next("joined_rooms", refused(403, "M_FORBIDDEN"))
    slugs, is_well = await harness.ghost_removal.run()
    assert (len(slugs), is_well) == (31, False)
    assert len(await harness.noted()) == 1
    assert (await harness.ghost_removal.run())[1]


async def test_failing_removal_does_not_stop_others(
    harness: GhostRemovalHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison = Agent("poison", AgentSlug("poison"), "Poison")
    async with harness.database.transaction() as tx:
        await tx.agents.put(poison, now_ms=1)
    await harness.remove(poison, SCRIBE)
    known = type(IDENTITIES).agent

    def agent(identities: Identities, slug: AgentSlug) -> UserId:
        if slug == poison.slug:
            raise KeyError(slug)
        return known(identities, slug)

    monkeypatch.setattr(type(IDENTITIES), "agent", agent)
    harness.homeserver.next("joined_rooms", IN_ROOMS)
    harness.now_ms += LONG_AFTER_MS
    assert await harness.ghost_removal.run() == ([poison.slug, SCRIBE.slug], False)
    assert (harness.left(), await harness.noted()) == (["!builders", "!chat", "!general"], [poison.slug])

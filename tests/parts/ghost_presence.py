"""A harness of the presence sender: ghosts in one room of a real Synapse, without the rest of the service."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from daarion_appservice.city.events import PresenceChanged
from daarion_appservice.city.identity import Identities
from daarion_appservice.city.member_log import MemberLog
from daarion_appservice.city.online_members import OnlineMembers
from daarion_appservice.city.presence import PresenceState, Status, Transition
from daarion_appservice.city.types import AgentSlug, MatrixRoomId, UserId, agent_subject
from daarion_appservice.clock import new_id, now_ms, steady_ms
from daarion_appservice.config import loading as config_file
from daarion_appservice.demo.local_synapse import LocalSynapse
from daarion_appservice.errors import HomeserverUnavailable
from daarion_appservice.matrix.avatars.drawn_avatars import DrawnAvatars
from daarion_appservice.matrix.client import registration_file
from daarion_appservice.matrix.client.homeserver import Homeserver
from daarion_appservice.matrix.client.monitor import HomeserverMonitor
from daarion_appservice.matrix.ghosts.ghosts import Ghosts
from daarion_appservice.matrix.ghosts.profile_fields import StatusTextWriter
from daarion_appservice.matrix.ghosts.profiles import Profile, Profiles
from daarion_appservice.matrix.presence.sender import PresenceSender
from daarion_appservice.matrix.presence.timeout_probe import PresenceTimeoutProbe
from daarion_appservice.matrix.presence.transport import choose_transport
from daarion_appservice.storage import migrate
from daarion_appservice.storage.database import Database
from tests.parts.city import eventually
from tests.parts.config_file import new_tokens, write_config
from tests.parts.http_proxy import HttpProxy, Passed
from tests.parts.ports import HOST, free_port
from tests.parts.synapse import SERVER_NAME, BootSynapse, boot

NEVER_S = 600.0
"""A refresh period (s) longer than a test."""
ONLINE, AWAY, OFFLINE = Status.ONLINE, Status.AWAY, Status.OFFLINE
LIMITED = {"errcode": "M_LIMIT_EXCEEDED", "error": "Too many requests", "retry_after_ms": 300}
"""The content of a response with status 429."""
_ONLY_PRESENCE = json.dumps(
    {
        "presence": {"types": ["m.presence"]},
        "account_data": {"types": []},
        "room": {"ephemeral": {"types": []}, "state": {"lazy_load_members": True}, "timeline": {"limit": 0}},
    }
)


@dataclass
class GhostPresenceHarness:
    homeserver: LocalSynapse
    proxy: HttpProxy
    client: Homeserver
    monitor: HomeserverMonitor
    database: Database
    identities: Identities
    ghosts: Ghosts
    room: MatrixRoomId
    refresh_s: float
    number: int
    """The number of this harness on its homeserver, which makes its user ids unique."""
    presence_sender: PresenceSender = field(init=False)
    seen: list[tuple[str, str]] = field(default_factory=list)
    """(user, presence) of the ghosts in the order of the observer's ``/sync`` responses."""

    def __post_init__(self) -> None:
        self.presence_sender = self.new_sender()

    def new_sender(self) -> PresenceSender:
        """Return a sender without state, as after a crash."""
        return PresenceSender(
            partial(choose_transport, self.client, may_use_module=True),
            self.monitor,
            self.ghosts,
            self.identities,
            StatusTextWriter(self.client, self.ghosts, self.identities),
            PresenceTimeoutProbe(self.client, self.monitor, self.database, self.identities),
            steady_ms,
            refresh_s=self.refresh_s,
            requests_per_s=300,
            max_in_flight=4,
        )

    def ghost(self, number: int) -> UserId:
        return self.identities.agent(self._slug(number))

    def change(self, number: int, status: Status, text: str | None = None) -> None:
        """Publish a change of a ghost's presence to the sender."""
        subject = agent_subject(self._slug(number))
        self.presence_sender.on_presence_changed(
            PresenceChanged(Transition(subject, PresenceState(), PresenceState(status, text)), seq=0)
        )

    def _slug(self, number: int) -> AgentSlug:
        return AgentSlug(f"t{self.number}a{number}")

    async def create_ghosts(self, count: int) -> None:
        """Register this many ghosts and join them to the room."""
        slots = asyncio.Semaphore(8)

        async def create(user: UserId) -> None:
            async with slots:
                await self.ghosts.ensure(user, Profile(user))
                await self.ghosts.join(user, self.room)

        await asyncio.gather(*(create(self.ghost(number)) for number in range(count)))

    @asynccontextmanager
    async def running_sender(self) -> AsyncIterator[None]:
        """Run the presence sender inside the block."""
        running = asyncio.create_task(self.presence_sender.run())
        try:
            yield
        finally:
            assert not running.done(), running.exception()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    @asynccontextmanager
    async def observing(self) -> AsyncIterator[None]:
        """Sync as the observer inside the block, and report to the monitor when the homeserver is unreachable."""
        user = self.identities.observer
        await self.ghosts.ensure(user, Profile("City observer"))
        await self.ghosts.join(user, self.room)
        first = await self.client.sync(since=None, filter_json=_ONLY_PRESENCE, timeout_ms=0, as_user=user)
        looking = asyncio.create_task(self._look_on(user, first["next_batch"]))
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    async def _look_on(self, user: UserId, since: str) -> None:
        while True:
            await self.monitor.wait_up()
            try:
                answer = await self.client.sync(
                    since=since, filter_json=_ONLY_PRESENCE, timeout_ms=25_000, as_user=user
                )
            except HomeserverUnavailable as error:
                self.monitor.report_unavailable(error)
                continue
            since = answer["next_batch"]
            for event in answer.get("presence", {}).get("events", []):
                if event["sender"] != user:
                    self.seen.append((event["sender"], event["content"]["presence"]))

    def sent_presences(self, user: UserId | None = None) -> list[Any]:
        """Return the presence requests for ``user``, or for all users, in their order."""
        return [passed.content for passed in self.proxy.passed if is_about(passed, user)]

    def last_seen(self) -> dict[str, str]:
        """Return the last presence of each user that the observer received."""
        return dict(self.seen)

    def seen_as(self, presence: str) -> Counter[str]:
        """Return how often the observer received this presence, by user."""
        return Counter(user for user, shown in self.seen if shown == presence)

    async def presence(self, number: int) -> str:
        """Return a ghost's presence by ``GET /presence``."""
        answer = await self.client.presence(self.ghost(number), as_user=self.identities.bot)
        return str(answer["presence"])

    async def profile(self, number: int) -> dict[str, Any]:
        async with aiohttp.request(
            "GET", f"{self.homeserver.url}/_matrix/client/v3/profile/{self.ghost(number)}"
        ) as answer:
            profile: dict[str, Any] = await answer.json()
        return profile

    async def say(self, number: int, body: str) -> None:
        """Send a message as a ghost without a device, as on a homeserver that refuses devices."""
        user = self.ghost(number)
        await self.client.send(
            self.room,
            "m.room.message",
            body,
            {"msgtype": "m.text", "body": body},
            as_user=user,
            with_device=False,
            ts_ms=1,
        )

    def cpu_s(self) -> float:
        """Processor time that the homeserver has used so far."""
        assert self.homeserver.child.pid is not None
        times = psutil.Process(self.homeserver.child.pid).cpu_times()
        return times.user + times.system


@dataclass
class GhostHomeserver:
    """A homeserver with one harness for each test: with its own ghosts, room and proxy."""

    homeserver: LocalSynapse
    as_token: str
    service_id: str
    bot: str
    _numbers: Iterator[int] = field(default_factory=count)

    @asynccontextmanager
    async def harness(
        self, directory: Path, *, ghosts: int, refresh_s: float = 0.0
    ) -> AsyncIterator[GhostPresenceHarness]:
        """Open a harness with this many offline ghosts; neither sender nor observer runs yet."""
        proxy = HttpProxy(self.homeserver.setup.port)
        await proxy.start()
        database = Database(f"sqlite:///{directory / 'town.db'}")
        client = Homeserver(proxy.url, self.as_token)
        monitor = HomeserverMonitor(client, self.service_id)
        watching = asyncio.create_task(monitor.run())
        try:
            await migrate.upgrade(database)
            monitor.mark_up()
            identities = Identities(SERVER_NAME, self.bot)
            members = MemberLog(identities, now_ms, new_id)
            ours = Ghosts(
                client,
                database,
                identities,
                members,
                OnlineMembers(),
                lambda _: None,
                DrawnAvatars(client, database, identities.bot),
                Profiles("City"),
            )
            await client.register(identities.bot)
            room = await client.create_room({"preset": "public_chat"}, as_user=identities.bot)
            number = next(self._numbers)
            harness = GhostPresenceHarness(
                self.homeserver, proxy, client, monitor, database, identities, ours, room, refresh_s, number
            )
            await harness.create_ghosts(ghosts)
            for number in range(ghosts):
                # Synapse 1.163 loses the first change of a presence that is requested for the first time meanwhile.
                await harness.presence(number)
            yield harness
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await client.close()
            await database.close()
            await proxy.stop()


async def ghost_homeserver(
    directory: Path, boot: BootSynapse, overrides: Mapping[str, object] | None = None
) -> GhostHomeserver:
    """Boot a homeserver with a registration of the service; the caller of ``boot`` stops it."""
    directory.mkdir(exist_ok=True)
    config = directory / "config.yaml"
    address = f"http://{HOST}:{free_port()}"
    write_config(config, new_tokens() | {"homeserver.domain": SERVER_NAME, "appservice.address": address})
    settings = config_file.load(config)
    registration_file.generate(settings, config)
    ours = settings.appservice
    homeserver = await boot(registration=directory / "registration.yaml", overrides=overrides)
    return GhostHomeserver(homeserver, ours.as_token.get_secret_value(), ours.id, ours.bot)


@asynccontextmanager
async def ghost_presence(
    directory: Path,
    boot: BootSynapse,
    *,
    ghosts: int,
    refresh_s: float = 0.0,
    overrides: Mapping[str, object] | None = None,
) -> AsyncIterator[GhostPresenceHarness]:
    """Open a harness on its own homeserver."""
    shared_homeserver = await ghost_homeserver(directory, boot, overrides)
    async with shared_homeserver.harness(directory, ghosts=ghosts, refresh_s=refresh_s) as harness:
        yield harness


def is_about(passed: Passed, user: UserId | None = None) -> bool:
    return passed.is_presence and (user is None or user in passed.path)


async def boot_shared_homeserver(directory: Path, overrides: Mapping[str, object] | None = None) -> GhostHomeserver:
    """Boot a homeserver for all tests of a module; the caller stops it."""

    async def boot_in_directory(**options: Any) -> LocalSynapse:
        return await boot(directory / "synapse", **options)

    return await ghost_homeserver(directory, boot_in_directory, overrides)


async def until_presence(harness: GhostPresenceHarness, *expected: str) -> None:
    """Wait until the homeserver has these presences of the first ghosts."""

    async def is_expected() -> bool:
        return [await harness.presence(number) for number in range(len(expected))] == list(expected)

    await eventually(is_expected)


async def until(condition: Callable[[], object]) -> None:
    """Wait until ``condition`` returns a true value."""

    async def holds() -> bool:
        return bool(condition())

    await eventually(holds)

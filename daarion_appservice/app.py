"""The life cycle of the service: the order in which the parts of `City` start and stop.

start  database ─► registry ─► listeners ─► tasks ─► homeserver ─► rooms and ghosts
stop   listeners ─► tasks ─► ghosts offline ─► homeserver and database closed
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import structlog

from . import __version__
from .city.second_me import SECOND_ME
from .city.slugs import RESERVED
from .city.types import AgentSlug
from .clock import now_ms
from .config import Settings
from .config.registry_file import agent_of
from .errors import DatabaseError
from .matrix.client.startup_checks import run_startup_checks
from .matrix.encryption.stored_keys import check_stored_keys
from .ops.event_loop_lag import measure_event_loop_lag
from .ops.service_manager import ServiceManager
from .realtime.redis_client import check as check_redis
from .realtime.tasks import run_until_first_exit
from .storage import migrate
from .storage.database import Transaction
from .wiring import City, build_city
from .wiring.servers import build_city_server, build_matrix_server

log = structlog.get_logger()


Work = Callable[[], Coroutine[Any, Any, None]]

_DATABASE_RETRY_S: Final = 1.0


async def run(settings: Settings, manager: ServiceManager | None = None) -> None:
    """Run the service until SIGTERM or SIGINT.

    Args:
        settings: the validated configuration.
        manager: the service manager that gets the state of the process; by default the one in the environment.

    Raises:
        StartError: the service cannot start.
        TaskFailedRepeatedly: a background task failed again and again.
    """
    manager = manager or ServiceManager.from_environment()
    async with _kept_alive(manager):
        await _run(build_city(settings), manager)
    log.info("stopped")


@asynccontextmanager
async def _kept_alive(manager: ServiceManager) -> AsyncIterator[None]:
    """Send datagrams of the watchdog inside the block."""
    task = asyncio.create_task(manager.keep_alive())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _run(city: City, manager: ServiceManager) -> None:
    settings = city.settings
    try:
        log_start(settings, city.database.described)
        city.database.claim()
        await load(city)
        await check_stored_keys(city.database, settings.encryption)
        async with listening(city):
            manager.ready()
            await _run_tasks(city, manager)
        if not await city.presence.leave():
            await city.presence_sender.stop()
    finally:
        await city.close()


def log_start(settings: Settings, database: str) -> None:
    """Log the version, and what the service is configured to listen on and to connect to, without passwords."""
    log.info(
        "starting",
        version=__version__,
        api=f"{settings.api.host}:{settings.api.port}",
        matrix=f"{settings.matrix.host}:{settings.matrix.port}",
        database=database,
        redis=bool(settings.redis.url),
        homeserver=settings.homeserver.address,
        domain=settings.homeserver.domain,
        agents_core=settings.agents_core.kind if settings.agents_core.url else None,
        encryption=settings.encryption.is_on,
    )


async def _run_tasks(city: City, manager: ServiceManager) -> None:
    """Run the background tasks of the process until a signal or the first error."""
    try:
        async with asyncio.TaskGroup() as group:
            running = [
                group.create_task(city.supervisor.supervise(name, work))
                for name, work in process_tasks(city, manager).items()
            ]
            await _wait_for_stop_signal()
            log.info("stopping")
            manager.stopping()
            for task in running:
                task.cancel()
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def _wait_for_stop_signal() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)
    for each in signals:
        loop.add_signal_handler(each, stop.set)
    try:
        await stop.wait()
    finally:
        for each in signals:
            loop.remove_signal_handler(each)


async def load(city: City) -> None:
    """Migrate the database, add configured rooms and agents, and load the caches that stay in memory."""
    await migrate.upgrade(city.database)
    settings = city.settings
    await city.rooms.open_missing([(room.slug, room.name, room.description) for room in settings.city.rooms])
    await _log_reserved_rooms(city)
    await _seed_agents(city)
    await city.registry.load()
    await city.account_cache.load()
    await city.ghosts.load()
    await city.memberships.load()
    if city.redis is not None:
        await check_redis(city.redis, city.settings.redis.url)


async def _log_reserved_rooms(city: City) -> None:
    """Log the rooms whose slug has become a path of the API with an upgrade."""
    async with city.database.read_only() as tx:
        reserved = [room for room in await tx.rooms.all() if room.slug in RESERVED]
    for room in reserved:
        log.warning("room_slug_reserved", room=room.slug, help=f"the page of this room is /city/{room.id}")


async def _seed_agents(city: City) -> None:
    async with city.database.transaction() as tx:
        if city.second_me.is_configured:
            await _add_second_me(city, tx)
        erased = await tx.agents.erased([AgentSlug(seed.slug) for seed in city.settings.agents])
        for seed in city.settings.agents:
            agent = agent_of(seed)
            if agent.slug in erased:
                log.warning(
                    "agent_was_erased", agent=agent.slug, help="remove it from the section agents of config.yaml"
                )
            elif await tx.agents.by_slug(agent.slug) != agent:
                await tx.agents.put(agent, now_ms=now_ms())


async def _add_second_me(city: City, tx: Transaction) -> None:
    if await tx.agents.by_slug(SECOND_ME.slug) is not None:
        return
    if (other := await tx.agents.slug_of_id(SECOND_ME.id)) is not None:
        log.warning(
            "second_me_missing",
            agent=other,
            help=f"this agent has the id {SECOND_ME.id}: give it another id, so that Second Me is reachable on Matrix",
        )
        return
    await tx.agents.put(SECOND_ME, now_ms=now_ms())


@asynccontextmanager
async def listening(city: City) -> AsyncIterator[None]:
    """Run the city listener and the matrix listener inside the block."""
    api, matrix = build_city_server(city), build_matrix_server(city)
    await matrix.start()
    try:
        await api.start()
        try:
            yield
        finally:
            await api.stop()
    finally:
        await matrix.stop()


async def lead(city: City) -> None:
    """Wait for the leader lock and run the leader's tasks while this process holds it; repeat until cancelled."""
    while True:
        await city.leader_lock.acquire()
        try:
            # The leader before this process may have created ghosts that this process does not know.
            await city.ghosts.load()
            city.encryption.service.begin_run()
        except DatabaseError as error:
            log.warning("leader_lock_unavailable", error=str(error), help="the database does not answer; trying again")
            await city.leader_lock.release()
            await asyncio.sleep(_DATABASE_RETRY_S)
            continue
        try:
            await run_until_first_exit(
                city.leader_lock.lost(),
                *(city.supervisor.supervise(name, work) for name, work in _leader_tasks(city).items()),
            )
        finally:
            await city.leader_lock.release()


def _leader_tasks(city: City) -> dict[str, Work]:
    """Return the background tasks of the leader by name."""
    return {
        "inbound": city.inbound.run,
        "sweeper": city.sweeper.run,
        "federated_histories": city.federated_histories.run,
        "outbound": city.outbound.run,
        "reply_worker": city.reply_worker.run,
        "second_me_availability": city.second_me_availability.run,
        "bot_chats": city.bot_chats.run,
        "direct_chats": city.direct_chats.run,
        "citizen_chats": city.citizen_chat_rooms.run,
        "citizen_ghosts": city.citizen_ghosts.run,
        "encryption": city.encryption.service.run,
        "undecrypted": city.undecrypted.run,
        "verification_declines": city.verification_declines.run,
        "invitation_decliner": city.invitation_decliner.run,
        "presence_sender": city.presence_sender.run,
        "reconciler": city.reconciler.run,
        "erasures": city.erasures.run,
        "retention": city.retention.run,
        "room_deletions": city.room_deletions.run,
        "message_removals": city.message_removals.run,
        "observer": city.observer.run,
        "receipt_observer": city.receipt_observer.run,
        "chat_receipts": city.chat_receipts.run,
        "remote_receipts": city.remote_receipts.run,
        "typing_sender": city.typing_sender.run,
        "receipt_sender": city.receipt_sender.run,
        "feed_writer": city.feed_writer.run,
        "search_indexer": city.search_indexer.run,
    }


def process_tasks(city: City, manager: ServiceManager) -> dict[str, Work]:
    """Return the background tasks of every process by name, whether or not it is the leader.

    Args:
        city: the parts of the process.
        manager: the service manager that gets the readiness as its status.
    """
    found: dict[str, Work] = {
        "presence": city.presence.run,
        "registry": city.registry.run,
        "accounts": city.account_cache.run,
        "agent_profiles": city.run_agent_profiles,
        "memberships": city.memberships.run,
        "receipt_writer": city.receipt_writer.run,
        "read_mark_writer": city.read_mark_writer.run,
        "lead": partial(lead, city),
        "homeserver_monitor": city.monitor.run,
        "readiness_log": partial(city.readiness_log.run, manager.status),
        "event_loop_lag": measure_event_loop_lag,
        "connect": partial(connect_homeserver, city),
    }
    if city.settings.push.enabled:
        found["push"] = city.push_sender.run
    return found | ({"shared_bus": city.shared_bus.run} if city.shared_bus is not None else {})


async def connect_homeserver(city: City) -> None:
    """Wait for the homeserver and run the start-up checks; tasks that wait for the homeserver continue afterwards."""
    await run_startup_checks(city.homeserver, city.monitor, city.settings, city.identities)
    log.info("homeserver_found", address=city.homeserver.address, domain=city.identities.domain)

"""The commands ``room …``: the city's rooms. A running service updates Matrix within seconds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from ..city.history_visibility import is_readable_by_all
from ..city.identity import Identities
from ..city.rooms import Rooms, RoomUpdate
from ..city.timestamps import optional_timestamp, timestamp
from ..city.types import MatrixStatus, Room
from ..clock import new_id, now_ms
from ..config import loading as config_file
from ..errors import Conflict, ExitCode, HomeserverRefused, HomeserverUnavailable, NotFound, StartError
from ..realtime.room_deletions import RoomDeletions
from ..storage.database import Database
from .context import with_city, with_migrated_database
from .terminal import DEFAULT_CONFIG, AsJson, ConfigPath, confirm, print_json, report, show_fields, show_table, warn

if TYPE_CHECKING:
    from ..matrix.reconcile.room_backfill import Backfilled
    from ..wiring import City

T = TypeVar("T")

app = typer.Typer(rich_markup_mode=None)

Slug = Annotated[str, typer.Argument(help="The slug of the room. Its Matrix alias is #city_<slug>.")]


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="The name of the room.")],
    description: Annotated[str, typer.Option("--description", help="The topic of the room.")] = "",
    slug: Annotated[
        str | None, typer.Option("--slug", help="The slug. [default: transliterated from the name]")
    ] = None,
    as_json: AsJson = False,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Create a public room. The running service creates its Matrix room."""

    async def open_(database: Database) -> Room:
        return await _rooms(database).open(name, description, slug=slug)

    room = with_migrated_database(config, open_)
    report(as_json, _fields(room, _identities(config)), f"Created the room {room.slug}.")


@app.command("show")
def show(slug: Slug, as_json: AsJson = False, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Show a room, its Matrix room and who may read it."""

    async def read(database: Database) -> Room:
        return await _room(database, slug)

    fields = _fields(with_migrated_database(config, read), _identities(config))
    show_fields(fields, as_json=as_json)


@app.command("list")
def list_(as_json: AsJson = False, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """List all rooms with the state of their links with Matrix rooms."""
    identities = _identities(config)

    async def read(database: Database) -> list[Room]:
        async with database.read_only() as tx:
            return await tx.rooms.all()

    rooms = with_migrated_database(config, read)
    if as_json:
        print_json([_fields(room, identities) for room in rooms])
        return
    show_table(
        ("slug", "name", "alias", "Matrix", "archived", "error"),
        [
            (
                r.slug,
                r.name,
                identities.room_alias(r.slug),
                r.matrix_status,
                "yes" if r.archived else "",
                r.matrix_error or "",
            )
            for r in rooms
        ],
    )


@app.command("adopt")
def adopt(
    room: Annotated[str, typer.Argument(help="The alias or id of the Matrix room.")],
    slug: Annotated[
        str | None, typer.Option("--slug", help="The slug of the city room. [default: from the alias]")
    ] = None,
    as_json: AsJson = False,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Make an existing Matrix room a room of the city."""

    async def adopt_room(city: City) -> Room:
        return await city.adoption.adopt(room, slug or _slug_from(room, city.identities))

    adopted = _with_homeserver(config, adopt_room)
    if adopted.matrix_status is not MatrixStatus.LINKED or adopted.matrix_error:
        raise Conflict(
            "adopted_in_part", f"{room} is the Matrix room of {adopted.slug} now, but: {adopted.matrix_error}"
        )
    visibility = (
        f"Its history visibility is {adopted.history_visibility}, so only members can read it. "
        "To make it readable for everyone, set the visibility to world_readable on Matrix."
    )
    report(
        as_json,
        _fields(adopted, _identities(config)),
        f"{room} is the Matrix room of {adopted.slug} now.",
        *(() if is_readable_by_all(adopted) else (visibility,)),
    )


@app.command("backfill")
def backfill(slug: Slug, as_json: AsJson = False, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Import the messages of the Matrix room from before its link, with edits and reactions."""

    async def fetch(city: City) -> Backfilled:
        return await city.backfill.run(await _room(city.database, slug))

    brought = _with_homeserver(config, fetch)
    relations = f"Imported {brought.relations} reactions, edits and deletions."
    report(
        as_json,
        {"slug": slug, "messages": brought.messages, "relations": brought.relations},
        f"Imported {brought.messages} messages.",
        *((relations,) if brought.relations else ()),
    )


@app.command("rename")
def rename(
    slug: Slug,
    name: Annotated[str, typer.Argument(help="The new name.")],
    description: Annotated[
        str | None, typer.Option("--description", help="The new topic. [default: unchanged]")
    ] = None,
    as_json: AsJson = False,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Change the name of a room, also on Matrix. Its slug and its Matrix alias stay."""
    renamed = _change(config, slug, RoomUpdate(name=name, description=description))
    report(as_json, _fields(renamed, _identities(config)), f"The room {renamed.slug} is called {renamed.name} now.")


@app.command("archive")
def archive(slug: Slug, as_json: AsJson = False, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Archive a room, also on Matrix: it becomes read-only and is no longer listed."""
    room = _change(config, slug, RoomUpdate(archived=True))
    report(as_json, _fields(room, _identities(config)), f"The room {room.slug} is archived.")


@app.command("reopen")
def reopen(slug: Slug, as_json: AsJson = False, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Reopen an archived room with its former permissions."""
    room = _change(config, slug, RoomUpdate(archived=False))
    report(as_json, _fields(room, _identities(config)), f"The room {room.slug} is open.")


@app.command("remove")
def remove(
    slug: Slug,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
    as_json: AsJson = False,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Remove a room with its messages for ever. Asks first. `room archive` keeps them.

    The running service deletes the alias of the Matrix room and leaves it with all ghosts. The Matrix room stays for the
    people in it, read-only if the city created it.
    """

    async def look(database: Database) -> tuple[Room, int]:
        async with database.read_only() as tx:
            room = await _room(database, slug)
            return room, await tx.rooms.message_count(room.id)

    async def work(database: Database) -> None:
        await RoomDeletions(database, _rooms(database)).delete(slug)

    room, messages = with_migrated_database(config, look)
    confirm(f"Remove the room {room.slug} ({room.name}) with its {messages} messages, for ever?", yes=yes)
    with_migrated_database(config, work)
    report(
        as_json,
        _fields(room, _identities(config)) | {"removed": True},
        f"Removed the room {room.slug}.",
        *((f"The running service leaves its Matrix room {room.matrix_room_id}.",) if room.matrix_room_id else ()),
    )
    if any(seed.slug == room.slug for seed in config_file.load(config).city.rooms):
        warn(
            f"{room.slug} is also listed under `city.rooms` in {config}: remove it there, or the next start creates it again"
        )


def _fields(room: Room, identities: Identities) -> dict[str, Any]:
    """Return the fields of a room under the names that the API gives them."""
    return {
        "id": room.id,
        "slug": room.slug,
        "name": room.name,
        "description": room.description,
        "matrix_room_id": room.matrix_room_id,
        "matrix_room_alias": identities.room_alias(room.slug),
        "matrix_status": room.matrix_status,
        "matrix_error": room.matrix_error,
        "is_default": room.is_default,
        "archived": room.archived,
        "encrypted": room.encrypted,
        "join_rule": room.join_rule,
        "history_visibility": room.history_visibility,
        "last_seq": room.last_seq,
        "last_event": optional_timestamp(room.last_event_ms),
        "created_at": timestamp(room.created_at_ms),
    }


def _identities(config: Path) -> Identities:
    settings = config_file.load(config)
    return Identities(settings.homeserver.domain, settings.appservice.bot)


def _change(config: Path, slug: str, change: RoomUpdate) -> Room:
    async def work(database: Database) -> Room:
        return await _rooms(database).change(slug, change)

    return with_migrated_database(config, work)


def _with_homeserver(config: Path, work: Callable[[City], Awaitable[T]]) -> T:
    try:
        return with_city(config, work)
    except HomeserverUnavailable as error:
        raise StartError(
            f"The homeserver does not answer: {error}",
            "Start Synapse, or correct homeserver.address; then try again.",
            ExitCode.HOMESERVER_AWAY,
        ) from error
    except HomeserverRefused as error:
        raise Conflict("homeserver", f"the homeserver refused it: {error}") from error


def _rooms(database: Database) -> Rooms:
    return Rooms(database, lambda _: None, now_ms, new_id)


async def _room(database: Database, slug: str) -> Room:
    async with database.read_only() as tx:
        room = await tx.rooms.find(slug)
    if room is None:
        raise NotFound("no_such_room", f"there is no room {slug!r}; see `daarion-appservice room list`")
    return room


def _slug_from(room: str, identities: Identities) -> str:
    slug = identities.room_slug(room) or room.removeprefix("#").partition(":")[0].lower()
    if room.startswith("!"):
        raise Conflict("slug_required", "a room id contains no name: give the slug with --slug")
    return slug

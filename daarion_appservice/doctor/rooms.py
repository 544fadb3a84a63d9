"""Checks of the rooms: links, the bot's membership and power, the room directory and its search."""

from __future__ import annotations

from typing import Final

from ..city.slugs import RESERVED
from ..city.types import MatrixRoomId, MatrixStatus, Room
from ..errors import HomeserverRefused
from ..matrix.client.room_rules import read_rules
from ..matrix.reconcile.power_notices import missing_power, power_advice
from ..matrix.reconcile.room_metadata import directory_advice
from .checks import check
from .findings import Finding, failed, listed, passed, skipped, warning
from .installation import Installation

_MAX_ROOMS: Final = 25
"""Rooms that are asked about: an installation with a mistake has it in most of its rooms."""
_NONE_LINKED: Final = "No room is linked with a Matrix room yet: the first start of the service does that."


@check(
    needs=("database_schema",),
    symptoms=("A room of the city has other messages than its Matrix room.", "Messages of one room stay pending."),
)
async def room_links(installation: Installation) -> Finding:
    """Every room is linked with its Matrix room, without an error.

    Fails if no room is, warns if some are not. The reasons are those of `daarion-appservice room list`.
    """
    rooms = await _open_rooms(installation)
    broken = [room for room in rooms if room.matrix_error]
    linked = [room for room in rooms if room.matrix_status is MatrixStatus.LINKED]
    if not rooms:
        return skipped("There are no rooms yet.")
    if broken:
        reasons = listed([f"{room.slug}: {room.matrix_error}" for room in broken])
        advice = "Do what the reason says; the service tries again by itself. `daarion-appservice room list` shows all rooms."
        return warning(reasons, advice) if linked else failed(reasons, advice)
    if len(linked) < len(rooms):
        return warning(
            f"{len(rooms) - len(linked)} of {len(rooms)} rooms are not linked yet.",
            "The running service links them when the homeserver answers: see the checks of the homeserver.",
        )
    return passed(f"{len(linked)} rooms are linked.")


@check(
    needs=("database_schema",),
    symptoms=("The page of a room does not open by its old link: the browser shows JSON.",),
)
async def room_pages(installation: Installation) -> Finding:
    """No room has a slug that is a path of the API; a room from before an upgrade may have one."""
    if not (rooms := await _open_rooms(installation)):
        return skipped("There are no rooms yet.")
    if reserved := [room for room in rooms if room.slug in RESERVED]:
        return warning(
            f"These slugs are paths of the API: {listed([room.slug for room in reserved])}.",
            f"Link to the pages by the ids of the rooms, such as /city/{reserved[0].id}: browsers are redirected there.",
        )
    return passed(f"{len(rooms)} rooms have a page of their own.")


@check(
    needs=("database_schema", "homeserver_identity"),
    symptoms=("Messages stay pending in all rooms.", "The bot is missing in the members of a room."),
)
async def bot_rooms(installation: Installation) -> Finding:
    """The bot is a member of every linked room.

    Fails if it is in none of them: the bot was deactivated, which takes it out of all rooms, or its account was created again.
    """
    linked = await _linked_rooms(installation)
    if not linked:
        return skipped(_NONE_LINKED)
    bot = installation.identities.bot
    joined = await installation.homeserver.joined_rooms(as_user=bot)
    missing = [room.slug for room, matrix_room in linked if matrix_room not in joined]
    if len(missing) == len(linked):
        return failed(
            f"{bot} is in none of the city's rooms: it was probably deactivated.",
            f"Reactivate it with Synapse's admin API: PUT /_synapse/admin/v2/users/{bot} with "
            '{"deactivated": false, "password": "…"}; then an admin of each room invites it and gives it power level 100.',
        )
    if missing:
        return warning(
            f"{bot} is not in {listed(missing)}.",
            "An admin of the Matrix room must invite it there, and give it power level 100.",
        )
    return passed(f"{bot} is in all {len(linked)} rooms.")


@check(needs=("bot_rooms",), symptoms=("Names, topics and deletions of the city do not reach a Matrix room.",))
async def bot_power(installation: Installation) -> Finding:
    """The bot has the power level that it needs in every linked room.

    Looks at up to 25 rooms.
    """
    bot = installation.identities.bot
    joined = await installation.homeserver.joined_rooms(as_user=bot)
    examined = [(room, each) for room, each in await _linked_rooms(installation) if each in joined][:_MAX_ROOMS]
    weak = []
    for room, matrix_room in examined:
        rules = await read_rules(installation.homeserver, matrix_room, as_user=bot)
        if (missing := missing_power(rules.powers, bot)) is not None:
            weak.append((room.slug, missing))
    if weak:
        return warning(
            f"{bot} has too little power in {listed([slug for slug, _ in weak])}.", power_advice(bot, weak[0][1])
        )
    return passed(f"It has in {len(examined)} rooms.")


@check(
    needs=("bot_rooms",),
    symptoms=("People do not find the city's rooms in Element's list of public rooms.",),
)
async def room_directory(installation: Installation) -> Finding:
    """The linked rooms are in Synapse's public room directory.

    Synapse's default since 1.126 keeps them out, and answers 200 all the same.
    """
    linked = await _linked_rooms(installation)
    missing = [
        room.slug
        for room, matrix_room in linked[:_MAX_ROOMS]
        if not await installation.homeserver.is_in_directory(matrix_room)
    ]
    if missing:
        return warning(
            f"Synapse keeps these rooms out of its public directory: {listed(missing)}.",
            directory_advice(installation.identities.bot),
        )
    return passed(f"{min(len(linked), _MAX_ROOMS)} rooms are listed.")


@check(needs=("room_directory",), symptoms=("People do not find the city's rooms in Element's list of public rooms.",))
async def room_search(installation: Installation) -> Finding:
    """A search in Synapse's public room directory finds the city's rooms."""
    linked = await _linked_rooms(installation)
    listed_rooms = [
        (room, each) for room, each in linked[:_MAX_ROOMS] if await installation.homeserver.is_in_directory(each)
    ]
    if not listed_rooms:
        return skipped("No room is in the directory.")
    room, matrix_room = listed_rooms[0]
    try:
        # On a large homeserver, more rooms than one page has may have the same name.
        found = await installation.homeserver.search_directory(installation.identities.room_alias(room.slug))
        found += await installation.homeserver.search_directory(room.name)
    except HomeserverRefused as error:
        return warning(
            f"Synapse refuses the search: {error.message}.",
            "See enable_room_list_search and allow_public_rooms_without_auth in its homeserver.yaml.",
        )
    if matrix_room not in found:
        return warning(
            f"A search for “{room.name}” does not find that room, which is in the directory.",
            "Set `enable_room_list_search: true` in homeserver.yaml, and restart Synapse.",
        )
    return passed(f"A search for “{room.name}” finds it.")


async def _open_rooms(installation: Installation) -> list[Room]:
    """Return the public rooms that are not archived."""
    async with installation.database.read_only() as tx:
        return [room for room in await tx.rooms.all() if not room.archived]


async def _linked_rooms(installation: Installation) -> list[tuple[Room, MatrixRoomId]]:
    return [
        (room, room.matrix_room_id)
        for room in await _open_rooms(installation)
        if room.matrix_room_id is not None and room.matrix_status is MatrixStatus.LINKED
    ]


CHECKS: Final = (room_links, room_pages, bot_rooms, bot_power, room_directory, room_search)

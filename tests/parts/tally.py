"""Counts of lost, duplicated and misordered messages, compared with the order at their origin."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from urllib.parse import quote

from daarion_appservice.storage.database import Database
from tests.parts.city import RunningCity
from tests.parts.matrix_user import MatrixUser

NumberedMessage = tuple[str, str]
"""Matrix user id of the sender, and the body."""


@dataclass(frozen=True)
class Tally:
    """The result of one direction; ``arrived`` counts distinct messages."""

    expected: int
    arrived: int
    lost: Sequence[NumberedMessage]
    doubled: Sequence[NumberedMessage]
    misordered: Sequence[NumberedMessage]

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.doubled or self.misordered)

    def __str__(self) -> str:
        faults = {"lost": self.lost, "doubled": self.doubled, "misordered": self.misordered}
        named = ", ".join(f"{len(found)} {fault}{_examples(found)}" for fault, found in faults.items())
        return f"{self.arrived} of {self.expected} arrived, {named}"


def _examples(found: Sequence[NumberedMessage]) -> str:
    return f" ({', '.join(body for _, body in found[:5])})" if found else ""


def tally(expected: Sequence[NumberedMessage], found: Sequence[NumberedMessage]) -> Tally:
    """Compare ``found`` with ``expected``; ``misordered`` are those right behind one that they should precede."""
    place = {spoken: number for number, spoken in enumerate(expected)}
    counts = Counter(found)
    arrived = list(dict.fromkeys(each for each in found if each in place))
    misordered = [spoken for before, spoken in pairwise(arrived) if place[before] > place[spoken]]
    return Tally(
        expected=len(expected),
        arrived=len(place.keys() & counts.keys()),
        lost=[spoken for spoken in expected if spoken not in counts],
        doubled=[spoken for spoken, count in counts.items() if count > 1],
        misordered=misordered,
    )


def tally_by_author(expected: Sequence[NumberedMessage], found: Sequence[NumberedMessage]) -> Tally:
    """Compare with ``expected`` if only the order of each author's messages is known."""
    authors = dict.fromkeys(author for author, _ in expected)
    each = [
        tally(
            [spoken for spoken in expected if spoken[0] == author], [spoken for spoken in found if spoken[0] == author]
        )
        for author in authors
    ]
    return Tally(
        sum(part.expected for part in each),
        sum(part.arrived for part in each),
        [spoken for part in each for spoken in part.lost],
        [spoken for part in each for spoken in part.doubled],
        [spoken for part in each for spoken in part.misordered],
    )


async def in_the_city(city: RunningCity, slug: str = "general") -> list[NumberedMessage]:
    """All messages of a room, oldest first, as the API pages through them."""
    found: list[NumberedMessage] = []
    cursor = ""
    while True:
        page: list[dict[str, Any]] = await city.get(f"/city/rooms/{slug}/messages?limit=200{cursor}")
        if not page:
            return found
        found = [(each["author"]["matrix_user_id"], each["body"]) for each in page] + found
        cursor = f"&before={page[0]['seq']}"


async def on_matrix(city: RunningCity, person: MatrixUser, room_id: str) -> dict[str, NumberedMessage]:
    """By event id, all messages of a room that the homeserver shows to a person."""
    found: dict[str, NumberedMessage] = {}
    path = f"/_matrix/client/v3/rooms/{quote(room_id)}/messages?dir=b&limit=500"
    cursor = ""
    while True:
        status, page = await city.call("GET", path + cursor, token=person.client.access_token, url=city.homeserver.url)
        assert status == 200, page
        for event in page["chunk"]:
            if event["type"] == "m.room.message":
                found[event["event_id"]] = (event["sender"], event["content"].get("body", ""))
        if "end" not in page:
            return found
        cursor = f"&from={quote(page['end'])}"


async def stream_order(city: RunningCity, room_id: str) -> list[str]:
    """Event ids of a room's messages in the order in which Synapse stored them, which is that of transactions and ``/sync``."""
    sql = "SELECT event_id FROM events WHERE room_id = '{}' AND type = 'm.room.message' ORDER BY stream_ordering"
    settings = city.homeserver.setup.overrides.get("database")
    if isinstance(settings, dict) and settings["name"] == "psycopg2":
        where = settings["args"]
        database = Database(f"postgresql://{where['user']}@{where['host']}:{where['port']}/{where['dbname']}")
        try:
            async with database.read_only() as tx:
                return list((await tx.connection.exec_driver_sql(sql.format(room_id))).scalars())
        finally:
            await database.close()
    with closing(sqlite3.connect(city.homeserver.setup.directory / "homeserver.db")) as connection:
        return [event_id for (event_id,) in connection.execute(sql.format(room_id))]

"""What messages of some kinds hold besides their text: polls, places, and the kind of a message that the city does not know."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_MAX_GEO_URI_CHARS: Final = 256
_DECIMAL: Final = r"-?[0-9]{1,12}(?:\.[0-9]{1,20})?"
_NUMBER: Final = re.compile(_DECIMAL)
_GEO_URI: Final = re.compile(rf"geo:({_DECIMAL}),({_DECIMAL})(?:,{_DECIMAL})?((?:;[^;]{{1,64}})*)", re.IGNORECASE)


class PollKind(StrEnum):
    """Whether the results of a poll are shown before its end."""

    DISCLOSED = "disclosed"
    UNDISCLOSED = "undisclosed"


@dataclass(frozen=True, slots=True)
class PollOption:
    """An option of a poll; ``id`` is an opaque string of its author's client."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Poll:
    """The question of a poll (MSC3381), without its votes."""

    question: str
    options: tuple[PollOption, ...]
    kind: PollKind = PollKind.UNDISCLOSED
    max_selections: int = 1
    """The number of options that one voter may select."""
    is_stable: bool = False
    """Whether the poll was started by the stable event type: votes take the form of their poll."""


@dataclass(frozen=True, slots=True)
class PollResults:
    """The votes of a poll, counted."""

    votes: tuple[int, ...]
    """The number of votes of each option, in the order of the options."""
    voters: int
    """The number of users whose vote counts."""
    ended_at_ms: int | None = None
    """The time of the poll's end in milliseconds since 1970; None while it is open."""


@dataclass(frozen=True, slots=True)
class Location:
    """A place on the Earth, in degrees (WGS 84)."""

    latitude: float
    longitude: float
    accuracy_m: float | None = None
    """The uncertainty in metres, if known."""
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Details:
    """What the content of a message has besides text and file."""

    poll: Poll | None = None
    location: Location | None = None
    original_type: str | None = None
    """The event type or msgtype of a message that the city does not know, and shows by its fallback text."""
    mentions_room: bool = False
    """Whether the message mentions all members of its room."""


NO_DETAILS = Details()


def valid_selections(poll: Poll, selections: Iterable[str]) -> tuple[str, ...]:
    """Return the options that a vote counts for, each once; none for a vote that is spoiled by an unknown option."""
    given = tuple(selections)
    known = {option.id for option in poll.options}
    return tuple(dict.fromkeys(given[: poll.max_selections])) if known.issuperset(given) else ()


def count_votes(poll: Poll, votes: Iterable[Iterable[str]], *, ended_at_ms: int | None) -> PollResults:
    """Count the newest vote of each voter.

    Args:
        votes: The selections of each voter.
        ended_at_ms: The time of the poll's end; None while it is open.
    """
    counts = dict.fromkeys((option.id for option in poll.options), 0)
    voters = 0
    for vote in votes:
        selections = valid_selections(poll, vote)
        voters += bool(selections)
        for option in selections:
            counts[option] += 1
    return PollResults(tuple(counts.values()), voters, ended_at_ms)


def poll_text(poll: Poll) -> str:
    """Return the question and the numbered options, one per line, as clients without support for polls show them."""
    return "\n".join(
        [poll.question, *(f"{number}. {option.text}" for number, option in enumerate(poll.options, start=1))]
    )


def closing_text(poll: Poll, results: PollResults | None) -> str:
    """Return the text of a poll's end, which clients without support for polls show."""
    most = max(results.votes, default=0) if results else 0
    if results is None or not most:
        return f"The poll has ended: {poll.question}"
    best = [option.text for option, votes in zip(poll.options, results.votes, strict=False) if votes == most]
    return f"The poll has ended: {poll.question}\nMost votes: {', '.join(best)} ({most})"


def geo_uri(location: Location) -> str:
    """Return the ``geo:`` URI of a place (RFC 5870)."""
    accuracy = f";u={location.accuracy_m:g}" if location.accuracy_m is not None else ""
    return f"geo:{location.latitude:.6f},{location.longitude:.6f}{accuracy}"


def parse_geo_uri(uri: str, *, description: str | None = None) -> Location | None:
    """Read a ``geo:`` URI (RFC 5870), with the coordinates of WGS 84; return None if it is not valid."""
    found = _GEO_URI.fullmatch(uri[:_MAX_GEO_URI_CHARS])
    if found is None:
        return None
    latitude, longitude = float(found[1]), float(found[2])
    parameters = dict(each.partition("=")[::2] for each in (found[3] or "").lower().split(";") if each)
    if abs(latitude) > 90 or abs(longitude) > 180 or parameters.get("crs", "wgs84") != "wgs84":
        return None
    uncertainty = parameters.get("u", "")
    accuracy_m = float(uncertainty) if _NUMBER.fullmatch(uncertainty) and not uncertainty.startswith("-") else None
    return Location(latitude, longitude, accuracy_m, description)

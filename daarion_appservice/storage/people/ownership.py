"""SQL conditions for the rows that belong to a person."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import orjson
from sqlalchemy import Column, ColumnElement, Table, and_, false, or_, select

from ...city.people import Person
from ..tables import encryption_devices, encryption_outbound_sessions, messages

Ownership: TypeAlias = Callable[[Person], ColumnElement[bool]]
"""Returns the condition for the rows of a person."""


def author_is(table: Table, person: Person) -> ColumnElement[bool]:
    """Return the condition that a row of a table with author columns is by one of the person's subjects."""
    kind, author = table.c.author_kind, table.c.author_id
    return or_(false(), *(and_(kind == each, author == name) for each, name in person.authors))


def by_author(table: Table) -> Ownership:
    """Rows whose author is the person."""
    return lambda person: author_is(table, person)


def by_uploader(table: Table) -> Ownership:
    """Rows of files that the person uploaded."""
    kind, uploader = table.c.uploader_kind, table.c.uploader_id
    return lambda person: or_(false(), *(and_(kind == each, uploader == name) for each, name in person.authors))


def by_user(*columns: Column[Any]) -> Ownership:
    """Rows in which one of the columns is the person's Matrix user or ghost."""
    return lambda person: or_(*(column.in_(person.users) for column in columns))


def by_subject(*columns: Column[Any]) -> Ownership:
    """Rows in which one of the columns is a subject of the person."""
    return lambda person: or_(*(column.in_(person.subjects) for column in columns))


def by_citizen(column: Column[Any]) -> Ownership:
    """Rows in which the column is the person's id as a citizen."""
    return lambda person: false() if person.citizen is None else column == person.citizen


def by_own_user(column: Column[Any]) -> Ownership:
    """Rows in which the column is the person's own Matrix user."""
    return lambda person: false() if person.user is None else column == person.user


def by_agent(column: Column[Any]) -> Ownership:
    """Rows in which the column is the slug of the agent."""
    return lambda person: false() if person.agent is None else column == person.agent


def by_sender_in(column: Column[Any]) -> Ownership:
    """Rows whose JSON text is a Matrix event that the person's Matrix user or ghost sent."""
    return lambda person: or_(false(), *(_contains(column, f'"sender":{_json(user)}') for user in person.users))


def by_text(column: Column[Any]) -> Ownership:
    """Rows whose JSON text has a subject or Matrix user of the person as a string."""
    return lambda person: or_(false(), *(_contains(column, _json(name)) for name in _names(person)))


def in_messages(column: Column[Any]) -> Ownership:
    """Rows that belong to a message by the person."""
    return lambda person: column.in_(select(messages.c.id).where(author_is(messages, person)))


def in_devices(column: Column[Any]) -> Ownership:
    """Rows of encryption with a device of the person's Matrix user."""
    return lambda person: column.in_(
        select(encryption_devices.c.curve25519).where(encryption_devices.c.user_id.in_(person.users))
    )


def in_outbound_sessions(column: Column[Any]) -> Ownership:
    """Rows of Megolm sessions of the person's ghosts."""
    return lambda person: column.in_(
        select(encryption_outbound_sessions.c.session_id).where(encryption_outbound_sessions.c.ghost.in_(person.users))
    )


def any_of(*ownerships: Ownership) -> Ownership:
    """Rows that belong to the person in one of several ways."""
    return lambda person: or_(*(owned(person) for owned in ownerships))


def _contains(column: Column[Any], text: str) -> ColumnElement[bool]:
    return column.contains(text, autoescape=True)


def _json(text: str) -> str:
    return orjson.dumps(text).decode()


def _names(person: Person) -> Iterable[str]:
    # JSON authors name an agent by its slug, but that may be an ordinary word: of an agent only the subject is searched.
    return dict.fromkeys((*person.subjects, *person.users))

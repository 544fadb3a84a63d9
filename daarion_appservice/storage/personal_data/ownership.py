"""SQL conditions for the rows that belong to a data subject."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import orjson
from sqlalchemy import Column, ColumnElement, Table, and_, false, or_, select

from ...city.data_subjects import DataSubject
from ..tables import encryption_devices, encryption_outbound_sessions, messages

Ownership: TypeAlias = Callable[[DataSubject], ColumnElement[bool]]
"""Returns the condition for the rows of a data subject."""


def author_is(table: Table, data_subject: DataSubject) -> ColumnElement[bool]:
    """Return the condition that a row of a table with author columns is by one of the data subject's subjects."""
    kind, author = table.c.author_kind, table.c.author_id
    return or_(false(), *(and_(kind == each, author == name) for each, name in data_subject.authors))


def by_author(table: Table) -> Ownership:
    """Return the condition for rows whose author is the data subject."""
    return lambda data_subject: author_is(table, data_subject)


def by_uploader(table: Table) -> Ownership:
    """Return the condition for rows of files that the data subject uploaded."""
    kind, uploader = table.c.uploader_kind, table.c.uploader_id
    return lambda data_subject: or_(
        false(), *(and_(kind == each, uploader == name) for each, name in data_subject.authors)
    )


def by_user(*columns: Column[Any]) -> Ownership:
    """Return the condition for rows in which one of the columns is the data subject's Matrix user or ghost."""
    return lambda data_subject: or_(*(column.in_(data_subject.users) for column in columns))


def by_subject(*columns: Column[Any]) -> Ownership:
    """Return the condition for rows in which one of the columns is a subject of the data subject."""
    return lambda data_subject: or_(*(column.in_(data_subject.subjects) for column in columns))


def by_citizen(column: Column[Any]) -> Ownership:
    """Return the condition for rows in which the column is the data subject's id as a citizen."""
    return lambda data_subject: false() if data_subject.citizen is None else column == data_subject.citizen


def by_own_user(column: Column[Any]) -> Ownership:
    """Return the condition for rows in which the column is the data subject's own Matrix user."""
    return lambda data_subject: false() if data_subject.user is None else column == data_subject.user


def by_agent(column: Column[Any]) -> Ownership:
    """Return the condition for rows in which the column is the slug of the agent."""
    return lambda data_subject: false() if data_subject.agent is None else column == data_subject.agent


def by_user_in(column: Column[Any], field: str) -> Ownership:
    """Return the condition for rows whose JSON text has the data subject's Matrix user or ghost in a field."""
    return lambda data_subject: or_(
        false(), *(_contains(column, f'"{field}":{_json(user)}') for user in data_subject.users)
    )


def by_text(column: Column[Any]) -> Ownership:
    """Return the condition for rows whose JSON text has a subject or Matrix user of the data subject as a string."""
    return lambda data_subject: or_(false(), *(_contains(column, _json(name)) for name in _names(data_subject)))


def in_messages(column: Column[Any]) -> Ownership:
    """Return the condition for rows that belong to a message by the data subject."""
    return lambda data_subject: column.in_(select(messages.c.id).where(author_is(messages, data_subject)))


def in_devices(column: Column[Any]) -> Ownership:
    """Return the condition for rows of encryption with a device of the data subject's Matrix user."""
    return lambda data_subject: column.in_(
        select(encryption_devices.c.curve25519).where(encryption_devices.c.user_id.in_(data_subject.users))
    )


def in_outbound_sessions(column: Column[Any]) -> Ownership:
    """Return the condition for rows of Megolm sessions of the data subject's ghosts."""
    return lambda data_subject: column.in_(
        select(encryption_outbound_sessions.c.session_id).where(
            encryption_outbound_sessions.c.ghost.in_(data_subject.users)
        )
    )


def any_of(*ownerships: Ownership) -> Ownership:
    """Return the condition for rows that belong to the data subject in one of several ways."""
    return lambda data_subject: or_(*(owned(data_subject) for owned in ownerships))


def _contains(column: Column[Any], text: str) -> ColumnElement[bool]:
    return column.contains(text, autoescape=True)


def _json(text: str) -> str:
    return orjson.dumps(text).decode()


def _names(data_subject: DataSubject) -> Iterable[str]:
    # JSON authors name an agent by its slug, but that may be an ordinary word: of an agent only the subject is searched.
    return dict.fromkeys((*data_subject.subjects, *data_subject.users))

"""Messages of rows that are read again and again."""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import pytest
from sqlalchemy import create_engine, insert, select, update
from sqlalchemy.engine import Connection

from daarion_appservice.storage import message_rows
from daarion_appservice.storage.message_rows import read_message, read_often
from daarion_appservice.storage.tables import messages, metadata


@pytest.fixture
def connection() -> Iterator[Connection]:
    message_rows._recent.clear()
    engine = create_engine("sqlite://")
    metadata.create_all(engine, tables=[messages])
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def add(connection: Connection, number: int, body: str = "Добрий вечір") -> None:
    author = {"author_kind": "citizen", "author_id": "u_1", "author_name": "Оксана"}
    content = {"body": body, "msgtype": "m.text", "delivery": "sent", "created_at_ms": number}
    row = {"id": f"{number:026}", "room_id": "city_general", "seq": number, **author, **content}
    connection.execute(insert(messages).values(row))


def test_equal_rows_give_same_message(connection: Connection) -> None:
    add(connection, 1)
    (first,), (again,) = [read_often(connection.execute(select(messages))) for _ in range(2)]
    assert first is again
    assert first == read_message(connection.execute(select(messages)).one())


@pytest.mark.parametrize(
    "change", [{"body": "Доброго ранку"}, {"deleted": True}, {"reactions": '[["👍",1,["citizen:u_2"]]]'}]
)
def test_changed_row_gives_new_message(connection: Connection, change: dict[str, object]) -> None:
    add(connection, 1)
    read_often(connection.execute(select(messages)))
    connection.execute(update(messages).values(change))
    changed = connection.execute(select(messages)).all()
    assert read_often(changed) == [read_message(changed[0])]


def test_long_messages_are_not_kept(connection: Connection) -> None:
    add(connection, 1, "х" * 2000)
    add(connection, 2)
    many = orjson.dumps([[f"{number}", 1, ["citizen:u_2"]] for number in range(100)]).decode()
    connection.execute(update(messages).where(messages.c.seq == 2).values(reactions=many))
    read_often(connection.execute(select(messages)))
    assert not message_rows._recent


def test_oldest_message_is_dropped_beyond_limit(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_rows, "_REMEMBERED", 2)
    for number in range(3):
        add(connection, number)
    kept = read_often(connection.execute(select(messages).order_by(messages.c.seq)))
    assert list(message_rows._recent.values()) == kept[1:]

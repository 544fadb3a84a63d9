"""Encoded JSON objects with a member that was encoded before."""

from __future__ import annotations

import orjson

from daarion_appservice.http.encoded_response import Encoded

ROOM = {"id": "city_general", "name": "Площа"}
MESSAGES = [{"body": "привіт"}, {"body": '"}]'}]


def test_member_is_part_of_the_object() -> None:
    whole = Encoded.with_member(ROOM, "messages", Encoded.of(MESSAGES))
    assert orjson.loads(whole.body) == ROOM | {"messages": MESSAGES}


def test_etag_changes_with_the_member_and_with_the_others() -> None:
    tag = Encoded.with_member(ROOM, "messages", Encoded.of(MESSAGES)).etag
    assert Encoded.with_member(dict(ROOM), "messages", Encoded.of(list(MESSAGES))).etag == tag
    assert Encoded.with_member(ROOM, "messages", Encoded.of(MESSAGES[:1])).etag != tag
    assert Encoded.with_member(ROOM | {"name": "Поділ"}, "messages", Encoded.of(MESSAGES)).etag != tag

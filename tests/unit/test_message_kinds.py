"""Polls, votes, voice messages and places in the content of Matrix events, also in hostile content."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from daarion_appservice.city.identity import Identities
from daarion_appservice.city.message_kinds import (
    Location,
    Poll,
    PollKind,
    PollOption,
    closing_text,
    count_votes,
    geo_uri,
    parse_geo_uri,
    poll_text,
    valid_selections,
)
from daarion_appservice.city.types import Content, Media
from daarion_appservice.http.message_views import media_view, poll_view
from daarion_appservice.matrix.client.message_content import read_message_content
from daarion_appservice.matrix.client.polls import read_poll, read_selections
from daarion_appservice.matrix.outbound.kind_content import location_content, media_content, poll_content
from daarion_appservice.storage.content_columns import content_values, details_of, media_of, results_of, results_values

IDENTITIES = Identities("city.localhost", "daarion_bot")
MXC = "mxc://city.localhost/voice"
POLL = Poll("Куди?", (PollOption("a", "Поділ"), PollOption("b", "Оболонь"), PollOption("c", "Троєщина")))
HOSTILE: list[Any] = [None, True, 7, 1.5, "text", [], [1, None], {}, {"body": 7}, {"m.text": {}}, "\0\ud800"]


def read(content: dict[str, Any], event_type: str = "m.room.message") -> Content:
    found = read_message_content(event_type, content, IDENTITIES)
    assert found is not None
    return found


def stable_poll(**changes: Any) -> dict[str, Any]:
    options = [{"m.id": "a", "m.text": [{"body": "Поділ"}]}, {"m.id": "b", "m.text": [{"body": "Оболонь"}]}]
    poll = {"question": {"m.text": [{"body": "Куди?"}]}, "answers": options, "kind": "m.disclosed", "max_selections": 2}
    return {"m.poll": poll | changes, "m.text": [{"body": "Куди?"}]}


# --- polls --------------------------------------------------------------------------------------------


def test_stable_poll_is_read() -> None:
    options = (PollOption("a", "Поділ"), PollOption("b", "Оболонь"))
    assert read_poll(stable_poll()) == Poll("Куди?", options, PollKind.DISCLOSED, 2, is_stable=True)


@pytest.mark.parametrize("kind", list(PollKind))
def test_poll_of_city_round_trips(kind: PollKind) -> None:
    poll = replace(POLL, kind=kind, max_selections=2)
    assert read_poll(poll_content(poll, poll_text(poll))) == poll
    message = read(poll_content(poll, poll_text(poll)), "org.matrix.msc3381.poll.start")
    assert (message.body, message.details.poll) == ("Куди?\n1. Поділ\n2. Оболонь\n3. Троєщина", poll)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"max_selections": 0}, 1),
        ({"max_selections": True}, 1),
        ({"max_selections": "2"}, 1),
        ({"max_selections": 10**30}, 2),
        ({"max_selections": None}, 1),
    ],
)
def test_max_selections_is_within_options(changes: dict[str, Any], expected: int) -> None:
    poll = read_poll(stable_poll(**changes))
    assert poll is not None
    assert poll.max_selections == expected


@pytest.mark.parametrize("kind", [None, "m.undisclosed", "org.example.secret", 7, ["m.disclosed"]])
def test_unknown_kind_of_poll_is_undisclosed(kind: object) -> None:
    poll = read_poll(stable_poll(kind=kind))
    assert poll is not None
    assert poll.kind is PollKind.UNDISCLOSED


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_poll_is_none(value: Any) -> None:
    for key in ("m.poll", "org.matrix.msc3381.poll.start"):
        assert read_poll({key: value}) is None
    assert read_poll(stable_poll(question=value)) is None
    assert read_poll(stable_poll(answers=value)) is None
    assert read_poll(stable_poll(answers=[value, {"m.id": value}, {"m.id": "a", "m.text": [value]}])) is None


def test_option_without_own_id_or_text_is_dropped() -> None:
    text = [{"body": "x"}]
    options = [{"m.id": "a", "m.text": text}, {"m.id": "a", "m.text": text}, {"m.text": text}, {"m.id": "b"}]
    options += [{"m.id": "c" * 256, "m.text": text}, {"m.id": "", "m.text": text}]
    poll = read_poll(stable_poll(answers=options))
    assert poll is not None
    assert poll.options == (PollOption("a", "x"),)
    many = read_poll(stable_poll(answers=[{"m.id": str(each), "m.text": text} for each in range(99)]))
    assert many is not None
    assert len(many.options) == 20


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"m.selections": ["a", "b", "a"]}, ("a", "b")),
        ({"org.matrix.msc3381.poll.response": {"answers": ["a"]}}, ("a",)),
        ({"m.selections": []}, ()),
        ({"m.selections": ["a", 7]}, ()),
        ({"m.selections": ["a"] * 21}, ()),
        ({"m.selections": ["a" * 256]}, ()),
        ({}, ()),
    ],
)
def test_selections_are_read(content: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert read_selections(content) == expected


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_vote_selects_nothing(value: Any) -> None:
    assert read_selections({"m.selections": value, "org.matrix.msc3381.poll.response": value}) == ()


def test_unknown_option_spoils_vote_and_more_are_cut() -> None:
    assert valid_selections(POLL, ["a", "unknown"]) == ()
    assert valid_selections(POLL, ["b", "a"]) == ("b",)
    results = count_votes(
        replace(POLL, max_selections=2), [["a"], ["a", "b"], ["a", "x"], [], ["c", "c"]], ended_at_ms=7
    )
    assert (results.votes, results.voters, results.ended_at_ms) == ((2, 1, 1), 3, 7)
    assert results_of(results_values(results)) == results
    assert closing_text(POLL, results) == "The poll has ended: Куди?\nMost votes: Поділ (2)"
    assert closing_text(POLL, None) == "The poll has ended: Куди?"


def test_undisclosed_results_are_shown_after_the_end() -> None:
    results = count_votes(POLL, [["a"], ["b"]], ended_at_ms=None)
    hidden, ended = poll_view(POLL, results), poll_view(POLL, replace(results, ended_at_ms=0))
    assert [option["votes"] for option in hidden["options"]] == [None, None, None]
    assert (hidden["voters"], hidden["ended_at"]) == (2, None)
    assert [option["votes"] for option in ended["options"]] == [1, 1, 0]
    open_poll = poll_view(replace(POLL, kind=PollKind.DISCLOSED), results)
    assert [option["votes"] for option in open_poll["options"]] == [1, 1, 0]
    assert poll_view(POLL, None)["voters"] is None


def test_details_round_trip_in_database() -> None:
    place = Location(50.4, 30.5, 12.0, "Майдан")
    content = Content("x", details=replace(Content("").details, poll=POLL, location=place, original_type="org.x"))
    assert details_of(content_values(content)["details"]) == content.details
    assert content_values(Content("x"))["details"] is None


# --- voice --------------------------------------------------------------------------------------------


def voice(audio: Any, **more: Any) -> Media:
    content = {"msgtype": "m.audio", "body": "Voice.ogg", "url": MXC, "info": {"mimetype": "audio/ogg", "duration": 9}}
    found = read(content | {"org.matrix.msc1767.audio": audio} | more).media
    assert found is not None
    return found


def test_voice_message_has_duration_and_waveform() -> None:
    media = voice({"duration": 1500, "waveform": [0, 512, 1024]}, **{"org.matrix.msc3245.voice": {}})
    assert (media.is_voice, media.duration_ms, media.waveform) == (True, 1500, (0, 512, 1024))
    assert media_of(content_values(Content("", media=media))["media"]) == media
    sent = media_content(media)
    assert (sent["org.matrix.msc3245.voice"], sent["info"]["duration"]) == ({}, 1500)
    assert sent["org.matrix.msc1767.audio"] == {"duration": 1500, "waveform": [0, 512, 1024]}
    assert (media_view(media)["voice"], media_view(media)["waveform"]) == (True, (0, 512, 1024))


def test_audio_without_voice_block_is_no_voice_message() -> None:
    media = voice({"waveform": [1]})
    assert (media.is_voice, media.duration_ms, media.waveform) == (False, 9, (1,))


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_voice_is_audio(value: Any) -> None:
    assert voice(value).duration_ms == 9
    assert voice({"duration": value, "waveform": value}).waveform == ()
    assert voice({"waveform": [1, value]}).waveform == ((1, 7) if type(value) is int else ())


def test_waveform_is_limited_in_length_and_height() -> None:
    media = voice({"waveform": [-5, 10**40, *range(2000)]})
    assert len(media.waveform) == 256
    assert set(media.waveform) <= set(range(1025))


# --- places -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("geo:50.45,30.52", Location(50.45, 30.52)),
        ("GEO:-50.45,-30.52,120;u=35", Location(-50.45, -30.52, 35.0)),
        ("geo:50,30;crs=wgs84;u=0.5;x=y", Location(50.0, 30.0, 0.5)),
        ("geo:50,30;crs=moon", None),
        ("geo:90.1,0", None),
        ("geo:0,180.5", None),
        ("geo:nan,inf", None),
        ("geo:1e9,0", None),
        ("geo:50,30;u=-1", Location(50.0, 30.0)),
        ("geo:50,30;u=nan", Location(50.0, 30.0)),
        ("geo:" + "9" * 10_000, None),
        ("https://example.org", None),
        ("", None),
    ],
)
def test_geo_uri_is_read(uri: str, expected: Location | None) -> None:
    assert parse_geo_uri(uri) == expected


def test_location_of_city_round_trips() -> None:
    place = Location(50.45, 30.52, 35.0, "Майдан")
    message = read({"msgtype": "m.location", "body": "Тут"} | location_content(place, "Тут"))
    assert (message.body, message.msgtype, message.details.location) == ("Тут", "m.location", place)
    assert geo_uri(place) == "geo:50.450000,30.520000;u=35"


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_place_is_text(value: Any) -> None:
    content = {"geo_uri": value, "m.location": value, "org.matrix.msc3488.location": {"uri": value}}
    message = read({"msgtype": "m.location", "body": "Тут"} | content)
    assert (message.body, message.details.location) == ("Тут", None)

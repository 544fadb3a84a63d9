"""Rows of a person in every table that holds personal data: a citizen who is linked with a Matrix account."""

from __future__ import annotations

from typing import Any, Final

import orjson
from sqlalchemy import Table, insert, update

from daarion_appservice.storage import tables as t
from daarion_appservice.storage.database import Database
from daarion_appservice.storage.key_values import message_removal_key

CITIZEN: Final = "u_zebra"
USER: Final = "@zebra:city.localhost"
GHOST: Final = "@citizen_u_zebra:city.localhost"
NAME: Final = "Zebra Quokka"
TEXT: Final = "the zebra's secret"
FILE: Final = "mxc://city.localhost/zebra"
SPARROW: Final = "u_sparrow"
"""Another citizen."""

GENERAL: Final = "city_general"
CHAT: Final = "dm_zebra"

Values = dict[str, Any]


def _author(kind: str = "citizen", name: str = CITIZEN) -> Values:
    return {"author_kind": kind, "author_id": name, "author_name": NAME, "author_avatar": FILE}


def _other() -> Values:
    return {"author_kind": "citizen", "author_id": SPARROW, "author_name": "Sparrow", "author_avatar": None}


def _message(message_id: str, seq: int, **more: Any) -> Values:
    row = {"id": message_id, "room_id": GENERAL, "seq": seq, **_author(), "body": TEXT, "msgtype": "m.text"}
    return row | {"created_at_ms": seq * 1000, "delivery": "sent"} | more


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _event(event_id: str) -> Values:
    content = {"msgtype": "m.text", "body": TEXT}
    return {"event_id": event_id, "room_id": "!general", "type": "m.room.message", "sender": USER, "content": content}


def _removal(user: str, by: str) -> Values:
    value = {"room": GENERAL, "user": user, "by": by, "last_seq": 0, "at_ms": 1}
    return {"key": message_removal_key(GENERAL, user), "value": _json(value)}


ROWS: Final[list[tuple[Table, list[Values]]]] = [
    (
        t.citizens,
        [
            {
                "id": CITIZEN,
                "display_name": NAME,
                "updated_at_ms": 1,
                "own_name": NAME,
                "avatar_url": FILE,
                "status_text": TEXT,
                "profile_version": 1,
            }
        ],
    ),
    (
        t.accounts,
        [{"matrix_user_id": USER, "citizen_id": CITIZEN, "linked_at_ms": 1, "display_name": NAME, "avatar_url": FILE}],
    ),
    (t.ghosts, [{"user_id": GHOST, "display_name": NAME, "avatar_source": FILE, "avatar_mxc": FILE}]),
    (
        t.rooms,
        [
            {"id": CHAT, "slug": CHAT, "agent": "scribe", "name": USER, "created_at_ms": 1, "last_seq": 9},
            {"id": "city_zoo", "slug": "zoo", "name": "Zoo", "created_by": CITIZEN, "created_at_ms": 1},
        ],
    ),
    (
        t.members,
        [{"room_id": GENERAL, "user_id": each, "display_name": NAME, "avatar_url": FILE} for each in (USER, GHOST)],
    ),
    (t.membership_periods, [{"room_id": GENERAL, "user_id": GHOST, "start_seq": 1, "joined_seq": 1}]),
    (t.restrictions, [{"room_id": GENERAL, "user_id": USER, "kind": "kicked", "reason": TEXT, "at_ms": 1}]),
    (t.direct_chat_names, [{"room_id": CHAT, "user_id": USER, "display_name": NAME}]),
    (t.direct_chat_agents, [{"room_id": CHAT, "agent": "scribe", "state": "joined"}]),
    (
        t.messages,
        [
            _message("m1", 101, media=_json({"mxc": FILE, "mimetype": "image/png", "filename": "zebra.png"})),
            _message("m2", 102, **_author("matrix", USER), matrix_event_id="$e2", reply_to="m1"),
            _message("m3", 103, **_other(), body="a reply", reply_to="m1", mentions=_json([USER, SPARROW])),
            _message("m4", 104, deleted=True, body=""),
            # A thread of the other citizen, in which the person has replied, and to which the person has reacted.
            _message(
                "m5",
                105,
                **_other(),
                body="a root",
                thread=_json([1, 1, [["citizen", CITIZEN, NAME, FILE]]]),
                thread_last_seq=106,
                reactions=_json([["🦓", 1, [CITIZEN], None]]),
            ),
            _message("m6", 106, thread_root="m5"),
            _message("m7", 107, room_id=CHAT, **_author("matrix", USER)),
            _message("m8", 108, room_id=CHAT, author_kind="agent", author_id="scribe", author_name="Scribe"),
        ],
    ),
    (
        t.revisions,
        [
            {"id": "r1", "message_id": "m1", "body": TEXT, "msgtype": "m.text", "at_ms": 1},
            {"id": "r2", "message_id": "m3", "body": "x", "msgtype": "m.text", "at_ms": 1, "mentions": _json([USER])},
        ],
    ),
    (
        t.early_edits,
        [
            {
                "event_id": "$early",
                "room_id": GENERAL,
                "original_event_id": "$none",
                "event": _json(_event("$early")),
                "received_at_ms": 1,
            }
        ],
    ),
    (t.reactions, [{"id": "re1", "message_id": "m5", **_author(), "key": "🦓", "at_ms": 1}]),
    (t.poll_responses, [{"id": "v1", "message_id": "m5", **_author(), "kind": "vote", "at_ms": 1}]),
    (
        t.read_receipts,
        [{"room_id": GENERAL, "thread_root": "", "reader": CITIZEN, "message_id": "m3", "at_ms": 1}],
    ),
    (t.read_marks, [{"citizen_id": CITIZEN, "room_id": GENERAL, "thread_root": "", "seq": 3}]),
    (t.mentions, [{"message_id": "m3", "subject": CITIZEN, "room_id": GENERAL, "seq": 3}]),
    (t.citizen_chats, [{"room_id": GENERAL, "first": SPARROW, "second": CITIZEN}]),
    (t.citizen_blocks, [{"citizen_id": CITIZEN, "blocked": SPARROW}]),
    (t.search_entries, [{"number": 1, "message_id": "m1", "stems": TEXT}]),
    (t.notification_modes, [{"citizen_id": CITIZEN, "room_id": GENERAL, "mode": "none"}]),
    (t.media, [{"mxc": FILE, "uploader_kind": "citizen", "uploader_id": CITIZEN, "filename": "zebra.png"}]),
    (t.media_shown, [{"mxc": FILE, "message_id": "m1"}]),
    (
        t.room_events,
        [
            {"room_id": GENERAL, "seq": 90, "kind": "join", **_author(), "at_ms": 1},
            {
                "room_id": GENERAL,
                "seq": 91,
                "kind": "leave",
                **_other(),
                "at_ms": 1,
                "removal": _json(
                    {
                        "kind": "kicked",
                        "by": {"kind": "matrix", "id": USER, "display_name": NAME, "avatar_url": FILE},
                        "reason": None,
                    }
                ),
            },
        ],
    ),
    (t.key_values, [_removal(GHOST, "@sparrow:city.localhost"), _removal("@sparrow:city.localhost", USER)]),
    (t.feed, [{"id": "f1", "kind": "member_joined", "created_at_ms": 1, "room_id": GENERAL, **_author()}]),
    (
        t.interactions,
        [{"id": "i1", "user_id": CITIZEN, "prompt": TEXT, "response": TEXT, "latency_ms": 5, "created_at_ms": 1}],
    ),
    (
        t.push_subscriptions,
        [
            {
                "endpoint_sha256": "d1",
                "citizen_id": CITIZEN,
                "endpoint": "https://push.example.org/zebra",
                "p256dh": "PUBLIC",
                "auth": "SECRET",
                "language": "uk",
                "updated_at_ms": 1,
                "failures": 0,
            }
        ],
    ),
    (t.secondme_turns, [{"user_id": CITIZEN, "turn": "t1", "until_ms": 1}]),
    (
        t.agent_replies,
        [
            {
                "id": "a1",
                "request_id": "m3",
                "agent": "scribe",
                "room_id": GENERAL,
                "depth": 0,
                "requester": CITIZEN,
                "requested_at_ms": 1,
            }
        ],
    ),
    (
        t.bot_requests,
        [
            {
                "event_id": "$b1",
                "matrix_room_id": "!bot",
                "sender": USER,
                "command": "help",
                "language": "en",
                "created_at_ms": 1,
                "attempts": 0,
                "retry_at_ms": 0,
                "is_done": True,
            }
        ],
    ),
    (t.bot_chats, [{"matrix_room_id": "!bot", "inviter": USER, "is_checked": True, "is_group": False}]),
    (
        t.invitations,
        [{"user_id": GHOST, "matrix_room_id": "!x", "inviter": USER, "reason": "no", "due_at_ms": 2**40}],
    ),
    (
        t.inbox,
        [
            {
                "event_id": "$dead",
                "matrix_room_id": "!general",
                "event": _json(_event("$dead")),
                "received_at_ms": 1,
                "state": "dead",
                "error": f"no {USER}",
            }
        ],
    ),
    (
        t.outbox,
        [
            {"kind": "join", "user_id": GHOST, "room_id": GENERAL, "txn_id": "x1", "state": "failed"},
            {"kind": "message", "message_id": "m1", "room_id": GENERAL, "txn_id": "x2", "state": "failed"},
        ],
    ),
    (t.watermarks, [{"user_id": GHOST, "token": "s1"}]),
    (
        t.encryption_accounts,
        [
            {
                "ghost": GHOST,
                "device_id": "CITY_E2EE_1",
                "curve25519": "c",
                "ed25519": "e",
                "pickle": "PICKLE",
                "master_pickle": "PICKLE",
                "self_signing_pickle": "PICKLE",
            }
        ],
    ),
    (
        t.encryption_devices,
        [{"user_id": USER, "device_id": "PHONE", "curve25519": "cz", "ed25519": "ez", "is_cross_signed": True}],
    ),
    (
        t.encryption_olm_sessions,
        [
            {
                "ghost": "@agent_scribe:city.localhost",
                "curve25519": "cz",
                "session_id": "s",
                "pickle": "P",
                "used_at_ms": 1,
            }
        ],
    ),
    (t.encryption_olm_recoveries, [{"ghost": "@agent_scribe:city.localhost", "curve25519": "cz", "at_ms": 1}]),
    (
        t.encryption_outbound_sessions,
        [
            {
                "ghost": GHOST,
                "matrix_room_id": "!x",
                "session_id": "so",
                "pickle": "P",
                "created_at_ms": 1,
                "sent": 1,
            }
        ],
    ),
    (
        t.encryption_shared_keys,
        [{"session_id": "s9", "user_id": USER, "device_id": "PHONE", "curve25519": "cz", "message_index": 0}],
    ),
    (
        t.encryption_inbound_sessions,
        [
            {
                "matrix_room_id": "!x",
                "session_id": "si",
                "curve25519": "cz",
                "owner": USER,
                "first_index": 0,
                "pickle": "P",
                "origin": "olm",
                "ghost": "@agent_scribe:city.localhost",
            }
        ],
    ),
    (
        t.encryption_message_indexes,
        [{"matrix_room_id": "!x", "session_id": "si", "owner": USER, "message_index": 0, "event_id": "$i"}],
    ),
    (
        t.encryption_key_requests,
        [
            {
                "ghost": "@agent_scribe:city.localhost",
                "matrix_room_id": "!x",
                "session_id": "si",
                "user_id": USER,
                "request_id": "q",
                "device_id": "PHONE",
                "sent_at_ms": 1,
                "attempts": 1,
            }
        ],
    ),
    (
        t.encryption_key_answers,
        [
            {
                "ghost": "@agent_scribe:city.localhost",
                "user_id": USER,
                "device_id": "PHONE",
                "session_id": "si",
                "at_ms": 1,
            }
        ],
    ),
    (
        t.encryption_withheld_keys,
        [
            {
                "user_id": USER,
                "matrix_room_id": "!x",
                "session_id": "si",
                "curve25519": "cz",
                "code": "m.no_olm",
                "reason": "no",
            }
        ],
    ),
    (
        t.encryption_to_device_outbox,
        [
            {
                "ghost": "@agent_scribe:city.localhost",
                "event_type": "m.dummy",
                "txn_id": "z",
                "messages": _json({USER: {"PHONE": {}}}),
                "created_at_ms": 1,
            }
        ],
    ),
    (
        t.encryption_entries,
        [{"key": "k", "ghost": GHOST, "matrix_room_id": "!x", "session_id": "so", "content": b"c"}],
    ),
    (
        t.encryption_undecrypted,
        [
            {
                "event_id": "$u",
                "matrix_room_id": "!x",
                "session_id": "si",
                "sender": USER,
                "event": _json(_event("$u")).encode(),
                "received_at_ms": 1,
                "attempts": 0,
                "next_try_ms": 2**40,
                "is_announced": False,
            }
        ],
    ),
    (t.erasure_redactions, [{"event_id": "$late", "erasure_id": "e0", "matrix_room_id": "!general", "sender": USER}]),
    (t.encryption_tracked_users, [{"user_id": USER, "is_stale": False}]),
]
"""The rows by table, in an order that the foreign keys permit."""

OF_AGENTS_ONLY: Final = {t.agents, t.agent_tokens, t.removed_agents, t.direct_chat_agents}
"""Tables that hold data of agents only."""


async def add_person(database: Database) -> None:
    """Add all rows to a city that has the room General."""
    async with database.transaction() as tx:
        for table, rows in ROWS:
            for row in rows:
                await tx.connection.execute(insert(table).values(**row))
        await tx.connection.execute(update(t.rooms).where(t.rooms.c.id == GENERAL).values(last_seq=200))

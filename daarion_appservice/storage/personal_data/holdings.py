"""The register of tables with personal data: what the export returns of each, and what an erasure does with it.

Each table is either in `HOLDINGS` or in `IMPERSONAL`, with the reason; a test fails for a table that is in neither. The page
docs/reference/personal-data.md is generated from both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from sqlalchemy import Table

from .. import tables as t
from .ownership import (
    Ownership,
    any_of,
    by_agent,
    by_author,
    by_citizen,
    by_own_user,
    by_subject,
    by_text,
    by_uploader,
    by_user,
    by_user_in,
    in_devices,
    in_messages,
    in_outbound_sessions,
)


class ErasureAction(Enum):
    """What an erasure does with the rows of a data subject."""

    DELETE = "the rows are deleted"
    CLEAR = "the rows stay, without content and without author"
    RECOUNT = "the rows are deleted, and the numbers in their messages are counted again"
    UNLINK = "the link ends as soon as the city has no other data"
    LEAVE = "the person leaves, and the rows are deleted"
    FORGET_EVENT = "the event is deleted; its id stays, so that a repetition has no effect"
    PLANNED = "the rows are deleted together with storing what is left to do on Matrix"
    FORGET_REMOVAL = "rows about the person's messages are deleted; those by the person stay, without the id"
    LAST = "the rows are deleted after the last request to the homeserver"
    REGISTRY = "the agent is removed from the registry"


@dataclass(frozen=True, slots=True)
class Holding:
    """A table with personal data."""

    table: Table
    owned: Ownership
    erasure: ErasureAction
    record: str | None = None
    """The type of the export's records; None if the export leaves the table out, for the reason in ``note``."""
    note: str = ""
    omitted: tuple[str, ...] = ()
    """Columns that the export leaves out: secrets, data of others, and versions of rows."""
    exported: Ownership | None = None
    """The rows of the export; None for all that the data subject owns."""


_SESSION_NOTE: Final = "left out: a session is secret key material"
_ID_NOTE: Final = "left out: it repeats what other records have"

HOLDINGS: Final = (
    Holding(t.citizens, by_citizen(t.citizens.c.id), ErasureAction.DELETE, "profile", omitted=("profile_version",)),
    Holding(t.agents, by_agent(t.agents.c.slug), ErasureAction.REGISTRY, "agent", omitted=("changed",)),
    Holding(
        t.agent_tokens,
        lambda data_subject: t.agent_tokens.c.agent_id.in_(
            t.agents.select().with_only_columns(t.agents.c.id).where(by_agent(t.agents.c.slug)(data_subject))
        ),
        ErasureAction.REGISTRY,
        "token",
        omitted=("secret_sha256", "changed"),
    ),
    Holding(
        t.accounts,
        any_of(by_citizen(t.accounts.c.citizen_id), by_own_user(t.accounts.c.matrix_user_id)),
        ErasureAction.UNLINK,
        "link",
    ),
    Holding(t.ghosts, by_user(t.ghosts.c.user_id), ErasureAction.LAST, "ghost"),
    Holding(t.members, by_user(t.members.c.user_id), ErasureAction.LEAVE, "membership"),
    Holding(t.membership_periods, by_user(t.membership_periods.c.user_id), ErasureAction.DELETE, "membership_period"),
    Holding(t.restrictions, by_user(t.restrictions.c.user_id), ErasureAction.DELETE, "restriction"),
    Holding(t.direct_chat_names, by_user(t.direct_chat_names.c.user_id), ErasureAction.DELETE, "direct_chat_name"),
    Holding(t.direct_chat_agents, by_agent(t.direct_chat_agents.c.agent), ErasureAction.LAST, "direct_chat"),
    Holding(
        t.rooms,
        any_of(by_subject(t.rooms.c.created_by), by_agent(t.rooms.c.created_by), by_user(t.rooms.c.name)),
        ErasureAction.CLEAR,
        "room",
        "rooms that the person opened, and direct chats with agents, which an erasure deletes",
        omitted=("power_levels", "popularity"),
    ),
    Holding(
        t.messages,
        by_author(t.messages),
        ErasureAction.CLEAR,
        "message",
        "with the newest text; a deleted message has none. Reactions and replies of others are left out",
        omitted=("reactions", "thread", "thread_last_seq", "poll_results"),
    ),
    Holding(t.revisions, in_messages(t.revisions.c.message_id), ErasureAction.DELETE, "edit"),
    Holding(t.early_edits, by_user_in(t.early_edits.c.event, "sender"), ErasureAction.DELETE, "early_edit"),
    Holding(t.reactions, by_author(t.reactions), ErasureAction.RECOUNT, "reaction"),
    Holding(t.poll_responses, by_author(t.poll_responses), ErasureAction.RECOUNT, "vote"),
    Holding(t.read_receipts, by_subject(t.read_receipts.c.reader), ErasureAction.DELETE, "receipt"),
    Holding(t.read_marks, by_citizen(t.read_marks.c.citizen_id), ErasureAction.DELETE, "read_mark"),
    Holding(
        t.mentions,
        any_of(by_subject(t.mentions.c.subject), in_messages(t.mentions.c.message_id)),
        ErasureAction.DELETE,
        note="left out: messages name whom they mention",
    ),
    Holding(
        t.citizen_chats,
        by_subject(t.citizen_chats.c.first, t.citizen_chats.c.second),
        ErasureAction.CLEAR,
        "citizen_chat",
        "the other citizen keeps the chat, which is read-only; when no citizen is left, it is deleted",
    ),
    Holding(
        t.citizen_blocks,
        any_of(by_citizen(t.citizen_blocks.c.citizen_id), by_citizen(t.citizen_blocks.c.blocked)),
        ErasureAction.DELETE,
        "block",
        "without the blocks of others, which are deleted, too",
        exported=by_citizen(t.citizen_blocks.c.citizen_id),
    ),
    Holding(
        t.search_entries,
        in_messages(t.search_entries.c.message_id),
        ErasureAction.DELETE,
        note="left out: the words of the messages",
    ),
    Holding(
        t.notification_modes, by_citizen(t.notification_modes.c.citizen_id), ErasureAction.DELETE, "notification_mode"
    ),
    Holding(
        t.push_subscriptions,
        by_citizen(t.push_subscriptions.c.citizen_id),
        ErasureAction.DELETE,
        "push_subscription",
        omitted=("endpoint_sha256", "p256dh", "auth"),
    ),
    Holding(
        t.media,
        by_uploader(t.media),
        ErasureAction.DELETE,
        "file",
        "the homeserver holds the file itself; avatars have no uploader",
    ),
    Holding(t.media_shown, in_messages(t.media_shown.c.message_id), ErasureAction.DELETE, note=_ID_NOTE),
    Holding(t.room_events, by_author(t.room_events), ErasureAction.CLEAR, "room_event", omitted=("removal",)),
    Holding(
        t.key_values,
        any_of(by_user_in(t.key_values.c.value, "user"), by_user_in(t.key_values.c.value, "by")),
        ErasureAction.FORGET_REMOVAL,
        note="left out: a ban or kick with removal of messages, until they are removed; the other values are the service's",
    ),
    Holding(t.feed, by_author(t.feed), ErasureAction.DELETE, "feed_entry"),
    Holding(t.interactions, by_subject(t.interactions.c.user_id), ErasureAction.DELETE, "second_me"),
    Holding(
        t.secondme_turns,
        by_subject(t.secondme_turns.c.user_id),
        ErasureAction.DELETE,
        note="left out: lasts for seconds",
    ),
    Holding(
        t.agent_replies,
        any_of(by_subject(t.agent_replies.c.requester), by_agent(t.agent_replies.c.agent)),
        ErasureAction.DELETE,
        "agent_request",
    ),
    Holding(t.bot_requests, by_user(t.bot_requests.c.sender), ErasureAction.DELETE, "bot_request"),
    Holding(t.bot_chats, by_user(t.bot_chats.c.inviter), ErasureAction.PLANNED, "bot_chat"),
    Holding(
        t.invitations, by_user(t.invitations.c.user_id, t.invitations.c.inviter), ErasureAction.DELETE, "invitation"
    ),
    Holding(
        t.inbox,
        by_user_in(t.inbox.c.event, "sender"),
        ErasureAction.FORGET_EVENT,
        "matrix_event",
        "events that wait or could not be processed",
    ),
    Holding(
        t.outbox,
        any_of(by_user(t.outbox.c.user_id), in_messages(t.outbox.c.message_id)),
        ErasureAction.DELETE,
        "delivery",
    ),
    Holding(t.removed_agents, by_agent(t.removed_agents.c.slug), ErasureAction.DELETE, "removal"),
    Holding(
        t.watermarks,
        by_user(t.watermarks.c.user_id),
        ErasureAction.DELETE,
        note="left out: a position in the homeserver's log",
    ),
    Holding(
        t.encryption_accounts,
        by_user(t.encryption_accounts.c.ghost),
        ErasureAction.LAST,
        "encryption_device",
        omitted=("pickle", "master_pickle", "self_signing_pickle", "since"),
    ),
    Holding(
        t.encryption_olm_sessions,
        any_of(by_user(t.encryption_olm_sessions.c.ghost), in_devices(t.encryption_olm_sessions.c.curve25519)),
        ErasureAction.DELETE,
        note=_SESSION_NOTE,
    ),
    Holding(
        t.encryption_olm_recoveries,
        any_of(by_user(t.encryption_olm_recoveries.c.ghost), in_devices(t.encryption_olm_recoveries.c.curve25519)),
        ErasureAction.DELETE,
        note=_SESSION_NOTE,
    ),
    Holding(
        t.encryption_shared_keys,
        any_of(
            by_user(t.encryption_shared_keys.c.user_id), in_outbound_sessions(t.encryption_shared_keys.c.session_id)
        ),
        ErasureAction.DELETE,
        note=_SESSION_NOTE,
    ),
    Holding(
        t.encryption_outbound_sessions,
        by_user(t.encryption_outbound_sessions.c.ghost),
        ErasureAction.DELETE,
        note=_SESSION_NOTE,
    ),
    Holding(
        t.encryption_inbound_sessions,
        by_user(t.encryption_inbound_sessions.c.owner, t.encryption_inbound_sessions.c.ghost),
        ErasureAction.DELETE,
        note=_SESSION_NOTE,
    ),
    Holding(
        t.encryption_message_indexes,
        by_user(t.encryption_message_indexes.c.owner),
        ErasureAction.DELETE,
        note=_SESSION_NOTE,
    ),
    Holding(
        t.encryption_key_requests,
        by_user(t.encryption_key_requests.c.ghost, t.encryption_key_requests.c.user_id),
        ErasureAction.DELETE,
        note=_SESSION_NOTE,
    ),
    Holding(
        t.encryption_key_answers,
        by_user(t.encryption_key_answers.c.ghost, t.encryption_key_answers.c.user_id),
        ErasureAction.DELETE,
        note=_SESSION_NOTE,
    ),
    Holding(
        t.encryption_withheld_keys,
        by_user(t.encryption_withheld_keys.c.user_id),
        ErasureAction.DELETE,
        note=_SESSION_NOTE,
    ),
    Holding(
        t.encryption_to_device_outbox,
        any_of(by_user(t.encryption_to_device_outbox.c.ghost), by_text(t.encryption_to_device_outbox.c.messages)),
        ErasureAction.DELETE,
        note=_SESSION_NOTE,
    ),
    Holding(t.encryption_entries, by_user(t.encryption_entries.c.ghost), ErasureAction.DELETE, note=_SESSION_NOTE),
    Holding(
        t.encryption_undecrypted,
        by_user(t.encryption_undecrypted.c.sender),
        ErasureAction.DELETE,
        "encrypted_event",
        "encrypted events that wait for their key",
        omitted=("event",),
    ),
    Holding(
        t.erasure_redactions,
        by_user(t.erasure_redactions.c.sender),
        ErasureAction.LAST,
        note="left out: exists while an erasure runs",
    ),
    Holding(
        t.encryption_tracked_users, by_user(t.encryption_tracked_users.c.user_id), ErasureAction.DELETE, note=_ID_NOTE
    ),
    # The last one of encryption: the sessions with the data subject's devices are found by these rows.
    Holding(t.encryption_devices, by_user(t.encryption_devices.c.user_id), ErasureAction.DELETE, "device"),
)
"""All tables with personal data, in the order in which an erasure deletes them."""

IMPERSONAL: Final[Mapping[Table, str]] = {
    t.nodes: "places of the registry",
    t.microdaos: "places of the registry",
    t.districts: "places of the registry",
    t.former_matrix_rooms: "ids of rooms",
    t.removed_rooms: "ids of rooms",
    t.complete_points: "ids of rooms and events",
    t.transactions: "digests of transactions, for 30 days",
    t.sign_in_uses: "digests of tokens and nonces, until they expire",
    t.drawn_avatars: "pictures that the service drew, by a digest of what they show",
    t.erasures: "erasures: the ids of the person until the erasure is done, afterwards numbers only",
    t.erased_ids: "digests of erased ids, so that late events of an erased person are recognized",
}
"""The tables without personal data, with what they hold."""

"""Table definitions. Times are milliseconds since 1970 and JSON is text, so that both databases store the same values.

The migrations are in ``alembic/``; a test compares their result with these definitions.
"""

from __future__ import annotations

from .citizens import accounts, citizens, interactions, secondme_turns, sign_in_uses
from .encryption import (
    encryption_accounts,
    encryption_devices,
    encryption_entries,
    encryption_inbound_sessions,
    encryption_key_answers,
    encryption_key_requests,
    encryption_message_indexes,
    encryption_olm_recoveries,
    encryption_olm_sessions,
    encryption_outbound_sessions,
    encryption_shared_keys,
    encryption_to_device_outbox,
    encryption_tracked_users,
    encryption_undecrypted,
    encryption_withheld_keys,
)
from .history import feed, room_events
from .homeserver import complete_points, drawn_avatars, ghosts, key_values, watermarks
from .messages import early_edits, media, media_shown, messages, poll_responses, reactions, read_receipts, revisions
from .metadata import metadata
from .personal_data import erased_ids, erasure_redactions, erasures
from .push import push_subscriptions
from .queues import agent_replies, bot_chats, bot_requests, inbox, invitations, outbox, transactions
from .registry import agent_tokens, agents, districts, microdaos, nodes, removed_agents
from .rooms import (
    citizen_blocks,
    citizen_chats,
    direct_chat_agents,
    direct_chat_names,
    former_matrix_rooms,
    members,
    membership_periods,
    removed_rooms,
    restrictions,
    rooms,
)
from .search import search_entries
from .unread import mentions, notification_modes, read_marks

__all__ = [
    "accounts",
    "agent_replies",
    "agent_tokens",
    "agents",
    "bot_chats",
    "bot_requests",
    "citizen_blocks",
    "citizen_chats",
    "citizens",
    "complete_points",
    "direct_chat_agents",
    "direct_chat_names",
    "districts",
    "drawn_avatars",
    "early_edits",
    "encryption_accounts",
    "encryption_devices",
    "encryption_entries",
    "encryption_inbound_sessions",
    "encryption_key_answers",
    "encryption_key_requests",
    "encryption_message_indexes",
    "encryption_olm_recoveries",
    "encryption_olm_sessions",
    "encryption_outbound_sessions",
    "encryption_shared_keys",
    "encryption_to_device_outbox",
    "encryption_tracked_users",
    "encryption_undecrypted",
    "encryption_withheld_keys",
    "erased_ids",
    "erasure_redactions",
    "erasures",
    "feed",
    "former_matrix_rooms",
    "ghosts",
    "inbox",
    "interactions",
    "invitations",
    "key_values",
    "media",
    "media_shown",
    "members",
    "membership_periods",
    "mentions",
    "messages",
    "metadata",
    "microdaos",
    "nodes",
    "notification_modes",
    "outbox",
    "poll_responses",
    "push_subscriptions",
    "reactions",
    "read_marks",
    "read_receipts",
    "removed_agents",
    "removed_rooms",
    "restrictions",
    "revisions",
    "room_events",
    "rooms",
    "search_entries",
    "secondme_turns",
    "sign_in_uses",
    "transactions",
    "watermarks",
]

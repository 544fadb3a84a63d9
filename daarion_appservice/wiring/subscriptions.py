"""Subscribes the parts of the service to the events of the bus."""

from __future__ import annotations

from functools import partial

from ..city.events import (
    AccountsChanged,
    BotChatChanged,
    BusEventsLost,
    CanonicalSubjectChanged,
    ChatReadersChanged,
    DirectChatChanged,
    InboxChanged,
    InvitationRejected,
    KeysChanged,
    LocalUserRead,
    LocalUserTyping,
    MemberChanged,
    MembershipChanged,
    MessagePosted,
    MessageRemovalStored,
    NotificationModeChanged,
    OutboxChanged,
    PresenceChanged,
    PresenceRenumbered,
    ProfileChanged,
    ReceiptsChanged,
    RegistryChanged,
    RepliesPending,
    RoomChanged,
    RoomCheckRequested,
    RoomEventStored,
    RoomRemoved,
    TypingChanged,
    VerificationRequested,
)
from ..city.presence import Status
from ..city.types import Author, AuthorKind, CitizenId, SubjectId
from ..ops.city_metrics import count_message
from .city import City


def subscribe(city: City) -> None:
    """Subscribe the parts of ``city`` to the events of its bus.

    The order of the subscriptions has no meaning. A part that needs the result of another one is called by a function
    below, after that one. Frames with member counts are encoded after the counts have changed: either at the end of their
    tick, or for an event that the publisher sends after the change of membership (``city/member_log``).
    """
    _wake_workers(city)
    city.bus.subscribe(AccountsChanged, lambda _: city.account_cache.wake())
    city.bus.subscribe(BusEventsLost, lambda _: city.account_cache.wake())
    city.bus.subscribe(AccountsChanged, lambda _: city.erasures.wake())
    city.bus.subscribe(InboxChanged, lambda _: _inbox_filled(city))
    city.bus.subscribe(BusEventsLost, lambda _: _inbox_filled(city))
    city.bus.subscribe(BusEventsLost, lambda _: city.outbound.wake())
    city.bus.subscribe(RoomEventStored, city.request_watcher.on_room_event)
    city.bus.subscribe(BusEventsLost, lambda _: city.room_streams.on_bus_events_lost())
    city.bus.subscribe(RegistryChanged, lambda _: city.reconciler.wake())
    city.bus.subscribe(RegistryChanged, lambda _: city.inbound.wake())
    # A CLI command may have put failed messages back into the outbox, which changes their rooms' history.
    city.bus.subscribe(RegistryChanged, lambda _: city.outbound.wake())
    city.bus.subscribe(RegistryChanged, lambda _: city.room_streams.on_bus_events_lost())
    city.bus.subscribe(BusEventsLost, lambda _: city.room_updates.on_bus_events_lost())
    city.bus.subscribe(KeysChanged, lambda _: city.undecrypted.wake())
    city.bus.subscribe(VerificationRequested, city.verification_declines.add)
    city.bus.subscribe(RoomCheckRequested, partial(_check_room, city))
    city.bus.subscribe(PresenceChanged, city.presence_sender.on_presence_changed)
    city.bus.subscribe(PresenceChanged, partial(_show_presence, city))
    city.bus.subscribe(PresenceChanged, city.feed_writer.on_presence_changed)
    city.bus.subscribe(PresenceRenumbered, city.stream.renumber)
    city.bus.subscribe(BusEventsLost, lambda _: city.memberships.on_bus_events_lost())
    city.bus.subscribe(MembershipChanged, city.memberships.on_membership_changed)
    city.bus.subscribe(MembershipChanged, partial(_change_membership, city))
    city.bus.subscribe(MembershipChanged, city.typing.on_membership_changed)
    city.bus.subscribe_local(MessagePosted, count_message)
    city.bus.subscribe(MessagePosted, city.room_streams.on_message_posted)
    city.bus.subscribe(RoomEventStored, city.room_streams.on_room_event)
    city.bus.subscribe(RoomChanged, city.room_streams.on_room_changed)
    city.bus.subscribe(RoomRemoved, partial(_remove_room, city))
    city.bus.subscribe(MemberChanged, city.room_streams.on_member_changed)
    city.bus.subscribe(MessagePosted, city.room_updates.on_message_posted)
    city.bus.subscribe(RoomEventStored, city.room_updates.on_room_event)
    city.bus.subscribe(RoomChanged, city.room_updates.on_room_changed)
    city.bus.subscribe(MembershipChanged, city.room_updates.on_membership_changed)
    city.bus.subscribe(TypingChanged, city.room_typing.set_matrix_users)
    city.bus.subscribe(LocalUserTyping, city.room_typing.set_local_user)
    city.bus.subscribe(LocalUserTyping, city.typing_sender.on_local_typing)
    city.bus.subscribe(LocalUserRead, city.receipt_sender.on_local_read)
    # Each process stores the receipts of its own clients.
    city.bus.subscribe_local(LocalUserRead, city.receipt_writer.on_local_read)
    city.bus.subscribe(ReceiptsChanged, city.room_streams.on_receipts_changed)
    city.bus.subscribe(MessagePosted, city.room_typing.end_for_author)
    city.bus.subscribe(MessagePosted, city.typing_sender.on_message_posted)
    _subscribe_profiles(city)
    _subscribe_unread(city)


def _wake_workers(city: City) -> None:
    """Wake the workers for which an event says that there is something to do."""
    city.bus.subscribe(OutboxChanged, lambda _: city.outbound.wake())
    city.bus.subscribe(MessageRemovalStored, lambda _: city.message_removals.wake())
    city.bus.subscribe(BotChatChanged, lambda _: city.bot_chats.wake())
    city.bus.subscribe(DirectChatChanged, city.direct_chats.wake)
    city.bus.subscribe(InvitationRejected, lambda _: city.invitation_decliner.wake())
    city.bus.subscribe(RepliesPending, lambda _: city.reply_worker.wake())


def _subscribe_profiles(city: City) -> None:
    city.bus.subscribe(CanonicalSubjectChanged, partial(_change_canonical_subject, city))
    city.bus.subscribe(ProfileChanged, partial(_change_profile, city))
    city.bus.subscribe(MemberChanged, lambda change: _read_profile(city, change.member.subject))
    city.bus.subscribe(MembershipChanged, partial(_name_member, city))
    city.bus.subscribe(RegistryChanged, lambda _: city.agent_profiles.wake())
    city.bus.subscribe(ProfileChanged, city.citizen_ghosts.on_profile_changed)


def _check_room(city: City, requested: RoomCheckRequested) -> None:
    city.reconciler.request_check(requested.room_id)
    city.citizen_chat_rooms.wake()


def _subscribe_chat_receipts(city: City) -> None:
    city.bus.subscribe(MessagePosted, city.chat_receipts.on_message_posted)
    city.bus.subscribe(LocalUserRead, city.chat_receipts.on_local_read)
    city.bus.subscribe(ReceiptsChanged, city.chat_receipts.on_receipts_changed)
    city.bus.subscribe(ChatReadersChanged, lambda _: city.chat_receipts.wake())
    city.bus.subscribe(CanonicalSubjectChanged, lambda _: city.chat_receipts.on_links_changed())
    city.bus.subscribe(BusEventsLost, lambda _: city.chat_receipts.on_links_changed())


def _subscribe_unread(city: City) -> None:
    _subscribe_chat_receipts(city)
    city.bus.subscribe(ChatReadersChanged, city.room_streams.on_chat_readers_changed)
    city.bus.subscribe_local(LocalUserRead, city.read_mark_writer.on_local_read)
    city.bus.subscribe(MembershipChanged, city.read_mark_writer.on_membership_changed)
    city.bus.subscribe(MessagePosted, city.unread_stream.on_message_posted)
    city.bus.subscribe(RoomEventStored, city.unread_stream.on_room_event)
    city.bus.subscribe(LocalUserRead, city.unread_stream.on_local_read)
    city.bus.subscribe(ReceiptsChanged, city.unread_stream.on_receipts_changed)
    city.bus.subscribe(MembershipChanged, city.unread_stream.on_membership_changed)
    city.bus.subscribe(ChatReadersChanged, city.unread_stream.on_chat_readers_changed)
    city.bus.subscribe(NotificationModeChanged, city.unread_stream.on_mode_changed)
    city.bus.subscribe(RoomChanged, city.unread_stream.on_room_changed)
    city.bus.subscribe(RoomRemoved, city.unread_stream.on_room_removed)
    city.bus.subscribe(CanonicalSubjectChanged, city.unread_stream.on_canonical_subject_changed)
    city.bus.subscribe(BusEventsLost, lambda _: city.unread_stream.on_bus_events_lost())
    if city.settings.push.enabled:
        # Each message is stored by one process, which sends its pushes.
        city.bus.subscribe_local(MessagePosted, city.push_sender.on_message_posted)
        city.bus.subscribe_local(RoomEventStored, city.push_sender.on_room_event)


def _show_presence(city: City, change: PresenceChanged) -> None:
    if (transition := city.person_presence.apply(change.transition)) is not None:
        shown = PresenceChanged(transition, change.seq)
        _count_presence(city, shown)
        city.stream.on_presence_changed(shown)


def _count_presence(city: City, change: PresenceChanged) -> None:
    city.online_counts.apply(change.transition)
    if change.transition.after.status is Status.OFFLINE:
        city.online_members.set_offline(change.transition.subject)
    else:
        city.online_members.set_online(change.transition.subject)
    city.room_streams.on_presence_changed(change)
    city.room_updates.on_presence_changed(change)


def _change_canonical_subject(city: City, change: CanonicalSubjectChanged) -> None:
    person = city.identities.accounts.canonical_subject(change.citizen)
    rooms = city.online_members.set_canonical_subject(change.citizen, person)
    transitions = city.person_presence.set_canonical_subject(change.citizen, person)
    for transition in transitions:
        _count_presence(city, PresenceChanged(transition, city.stream.seq))
    city.stream.on_canonical_subject_changed(transitions)
    city.room_updates.on_canonical_subject_changed(rooms)
    # Authors and members of the rooms have other names now: clients read them again.
    city.room_streams.on_canonical_subject_changed(change.citizen, rooms)


def _change_profile(city: City, change: ProfileChanged) -> None:
    citizen = CitizenId(change.citizen)
    name = change.token_name or city.identities.accounts.own_profile(citizen).token_name or ""
    member = Author(AuthorKind.CITIZEN, citizen, name)
    if city.identities.accounts.shown(member).display_name:
        for room in city.online_members.rooms_of(change.citizen):
            city.room_streams.on_member_changed(MemberChanged(room, member))

    person = city.identities.accounts.canonical_subject(change.citizen)
    city.stream.on_profiles_changed([person])
    _read_profile(city, change.citizen)


def _name_member(city: City, change: MembershipChanged) -> None:
    """Read the name of a Matrix user whose first public room this is."""
    if change.joined and city.profiles.is_nameless(change.subject):
        _read_profile(city, change.subject)


def _read_profile(city: City, subject: SubjectId) -> None:
    city.profiles.reload(
        [subject], partial(city.stream.on_profiles_changed, [city.identities.accounts.canonical_subject(subject)])
    )


def _remove_room(city: City, removed: RoomRemoved) -> None:
    city.room_streams.on_room_removed(removed)
    for subject in set(city.online_members.members_of(removed.room_id)):
        # In this process only: the others get the removal itself.
        city.bus.publish_remote(MembershipChanged(removed.room_id, subject, joined=False))
    # A room with the same id may have been opened since, whose members are in the database.
    city.memberships.on_bus_events_lost()
    # Clients drop the room from their lists when they read these again.
    city.room_updates.on_bus_events_lost()


def _change_membership(city: City, change: MembershipChanged) -> None:
    change_members = city.online_members.add_membership if change.joined else city.online_members.remove_membership
    if change_members(change.room_id, change.subject):
        # Only a real join or leave: a repeated one must not cause a request for the user's presence.
        city.observer_coverage.on_membership_changed(change)


def _inbox_filled(city: City) -> None:
    city.monitor.mark_reachable()
    city.inbound.wake()

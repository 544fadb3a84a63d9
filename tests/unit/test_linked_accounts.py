"""Unit tests of canonical subjects: authors, presence and memberships of a person with two subjects."""

from __future__ import annotations

import pytest

from daarion_appservice.city.linked_accounts import LinkedAccount, LinkedAccounts
from daarion_appservice.city.online_members import OnlineMembers
from daarion_appservice.city.person_presence import PersonPresence, merged
from daarion_appservice.city.presence import PresenceState, Status, Transition
from daarion_appservice.city.types import Author, AuthorKind, CitizenId, RoomId, SubjectId, UserId

ALICE, OKSANA, TARAS = SubjectId("@alice:x"), SubjectId("u_1"), SubjectId("u_2")
LINK = LinkedAccount(CitizenId("u_1"), UserId("@alice:x"), "Alice", "mxc://x/face")
ROOM = RoomId("city_general")
ONLINE, AWAY, OFFLINE = (PresenceState(status) for status in (Status.ONLINE, Status.AWAY, Status.OFFLINE))
CITIZEN = Author(AuthorKind.CITIZEN, "u_1", "Оксана")
PERSON = Author(AuthorKind.MATRIX, "@alice:x", "Alice", "mxc://x/face")


# --- authors ------------------------------------------------------------------------------------------


def test_linked_citizen_is_shown_as_matrix_user() -> None:
    accounts = LinkedAccounts([LINK])
    assert accounts.shown(CITIZEN) == PERSON
    assert [accounts.canonical_subject(each) for each in (OKSANA, ALICE, TARAS)] == [ALICE, ALICE, TARAS]
    assert accounts.subjects_of(OKSANA) == accounts.subjects_of(ALICE) == (ALICE, OKSANA)
    assert accounts.canonical_subjects([TARAS, OKSANA, ALICE]) == (TARAS, ALICE)


def test_unknown_profile_keeps_name_of_author() -> None:
    accounts = LinkedAccounts([LinkedAccount(LINK.citizen, LINK.user)])
    assert accounts.shown(CITIZEN) == Author(AuthorKind.MATRIX, "@alice:x", "Оксана")


@pytest.mark.parametrize("author", [Author(AuthorKind.AGENT, "u_1", "Писар"), Author(AuthorKind.CITIZEN, "u_2", "Т")])
def test_author_without_link_is_unchanged(author: Author) -> None:
    accounts = LinkedAccounts([LINK])
    assert accounts.shown(author) == author
    assert accounts.authors_of(author) == (author,)


def test_both_authors_of_person_are_own() -> None:
    accounts = LinkedAccounts([LINK])
    for author in (CITIZEN, PERSON):
        assert {each.subject for each in accounts.authors_of(author)} == {ALICE, OKSANA}
        assert accounts.authors_of(author)[0] == author


def test_replace_returns_citizens_with_another_self() -> None:
    accounts = LinkedAccounts([LINK])
    version = accounts.version
    assert accounts.replace([LINK]) == []
    assert accounts.version == version
    assert accounts.replace([LinkedAccount(LINK.citizen, LINK.user, "Аліса")]) == []
    assert accounts.version == version + 1, "a changed name is shown in cached responses"
    assert set(accounts.replace([LinkedAccount(CitizenId("u_2"), LINK.user)])) == {OKSANA, TARAS}


# --- presence -----------------------------------------------------------------------------------------


def test_merged_state_is_the_strongest() -> None:
    page = PresenceState(Status.AWAY, "на сторінці", 5)
    matrix = PresenceState(Status.ONLINE, None, 3)
    assert merged([page, matrix]) == merged([matrix, page]) == PresenceState(Status.ONLINE, "на сторінці", 5)
    assert merged([]) == OFFLINE


def linked_presence() -> PersonPresence:
    persons = PersonPresence(LinkedAccounts([LINK]), lambda _: OFFLINE)
    persons.set_canonical_subject(OKSANA, ALICE)
    return persons


def test_person_is_online_while_one_subject_is() -> None:
    persons = linked_presence()
    assert persons.apply(Transition(OKSANA, OFFLINE, ONLINE)) == Transition(ALICE, OFFLINE, ONLINE)
    assert persons.apply(Transition(ALICE, OFFLINE, ONLINE)) is None
    assert persons.apply(Transition(OKSANA, ONLINE, OFFLINE)) is None
    assert persons.apply(Transition(ALICE, ONLINE, AWAY)) == Transition(ALICE, ONLINE, AWAY)
    assert persons.apply(Transition(TARAS, OFFLINE, ONLINE)) == Transition(TARAS, OFFLINE, ONLINE)


def test_link_moves_presence_to_person_and_back() -> None:
    persons = PersonPresence(LinkedAccounts(), lambda _: OFFLINE)
    persons.apply(Transition(OKSANA, OFFLINE, ONLINE))
    linked = [Transition(OKSANA, ONLINE, OFFLINE), Transition(ALICE, OFFLINE, ONLINE)]
    assert persons.set_canonical_subject(OKSANA, ALICE) == linked
    assert persons.set_canonical_subject(OKSANA, OKSANA) == [
        Transition(each.subject, each.after, each.before) for each in linked[::-1]
    ]


def test_moved_account_is_applied_in_any_order() -> None:
    for order in ((OKSANA, OKSANA), (TARAS, ALICE)), ((TARAS, ALICE), (OKSANA, OKSANA)):
        persons = linked_presence()
        persons.apply(Transition(TARAS, OFFLINE, ONLINE))
        for citizen, person in order:
            persons.set_canonical_subject(citizen, person)
        assert persons.apply(Transition(TARAS, ONLINE, OFFLINE)) == Transition(ALICE, ONLINE, OFFLINE)
        assert persons.apply(Transition(OKSANA, OFFLINE, ONLINE)) == Transition(OKSANA, OFFLINE, ONLINE)


# --- members ------------------------------------------------------------------------------------------


def test_two_memberships_of_person_count_once() -> None:
    members = OnlineMembers()
    members.set_canonical_subject(OKSANA, ALICE)
    for subject in (OKSANA, ALICE):
        members.add_membership(ROOM, subject)
    members.set_online(ALICE)
    assert (set(members.online_members(ROOM)), members.members_online(ROOM)) == ({ALICE}, 1)
    members.remove_membership(ROOM, ALICE)
    assert (set(members.online_members(ROOM)), members.members_online(ROOM)) == ({ALICE}, 1)
    assert members.has_person(ROOM, OKSANA)
    assert not members.is_member(ROOM, ALICE)
    members.remove_membership(ROOM, OKSANA)
    assert (set(members.online_members(ROOM)), members.members_online(ROOM)) == (set(), 0)


def test_link_and_unlink_change_member_rows() -> None:
    members = OnlineMembers()
    for subject in (OKSANA, ALICE):
        members.add_membership(ROOM, subject)
    members.set_online(ALICE)
    members.set_online(OKSANA)
    members.set_canonical_subject(OKSANA, ALICE)
    assert (set(members.online_members(ROOM)), members.members_online(ROOM)) == ({ALICE}, 1)
    members.set_canonical_subject(OKSANA, OKSANA)
    assert (set(members.online_members(ROOM)), members.members_online(ROOM)) == ({ALICE, OKSANA}, 2)

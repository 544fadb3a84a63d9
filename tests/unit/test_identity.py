"""Matrix user ids of ghosts and service users, and the reverse mapping."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daarion_appservice.city.identity import (
    MAX_USER_ID_BYTES,
    Identities,
    ServiceUser,
    is_citizen_id,
    parse_user_id,
)
from daarion_appservice.city.types import (
    AgentSlug,
    Author,
    AuthorKind,
    CitizenId,
    SubjectId,
    UserId,
    agent_subject,
    citizen_subject,
)
from daarion_appservice.errors import InvalidInput

IDENTITIES = Identities("daarion.space", "daarion_bot")
WITH_PORT = Identities("localhost:8448", "daarion_bot")


@pytest.mark.parametrize(
    ("citizen", "user"),
    [
        ("u_123", "@citizen_u_123:daarion.space"),
        (
            "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
            "@citizen_6ba7b810-9dad-11d1-80b4-00c04fd430c8:daarion.space",
        ),
        ("U_123", "@citizen_=55_123:daarion.space"),
        ("oksana@daarion.space", "@citizen_oksana=40daarion.space:daarion.space"),
        ("Ю", "@citizen_=d0=ae:daarion.space"),
        ("a=41", "@citizen_a=3d41:daarion.space"),
        ("a/b:c d", "@citizen_a=2fb=3ac=20d:daarion.space"),
        ("agent_x", "@citizen_agent_x:daarion.space"),
    ],
)
def test_any_citizen_id_has_a_ghost(citizen: str, user: str) -> None:
    assert IDENTITIES.citizen(CitizenId(citizen)) == user
    assert IDENTITIES.describe(UserId(user)) == (AuthorKind.CITIZEN, citizen)
    assert IDENTITIES.subject(UserId(user)) == citizen_subject(CitizenId(citizen))


@pytest.mark.parametrize(
    "user",
    [
        "@citizen_agent=3ax:daarion.space",
        "@citizen_=40alice=3ahs:daarion.space",
        "@citizen_U1:daarion.space",
        "@citizen_=75_1:daarion.space",  # a second way to write @citizen_u_1
        "@citizen_=FF:daarion.space",
        "@citizen_" + "=ff" * 60 + ":daarion.space",
        "@citizen_:daarion.space",
        "@citizen_=20:daarion.space",
        "@citizen_u_1=20:daarion.space",
        "@citizen_u_1=00:daarion.space",
        "@citizen_=e2=80=ae:daarion.space",  # U+202E, which reverses the direction of text
        "@citizen_" + "x" * 201 + ":daarion.space",
        "@agent_:daarion.space",
        "@agent_=ff:daarion.space",
        "@agent_Daarwizz:daarion.space",
        "@agent_" + "x" * 65 + ":daarion.space",
    ],
)
def test_impossible_ghost_id_is_not_ours(user: str) -> None:
    assert IDENTITIES.describe(UserId(user)) is ServiceUser.INVALID_NAME
    assert not IDENTITIES.is_ours(UserId(user))
    assert not IDENTITIES.is_person(UserId(user))
    assert IDENTITIES.subject(UserId(user)) is None
    assert IDENTITIES.subject(UserId("@citizen_" + "U" * 200 + ":daarion.space")) is None


CITIZENS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=18).map(CitizenId)
"""Eighteen characters of four bytes, each written =hh, just fit."""


@given(CITIZENS, CITIZENS)
def test_no_two_citizens_share_a_ghost(one: CitizenId, other: CitizenId) -> None:
    assert (IDENTITIES.citizen(one) == IDENTITIES.citizen(other)) == (one == other)


@given(
    st.one_of(
        CITIZENS.filter(is_citizen_id),
        st.from_regex(r"agent:[a-z0-9][a-z0-9_-]{0,20}", fullmatch=True),
    )
)
def test_subject_is_found_by_its_ghost(subject: str) -> None:
    for identities in (IDENTITIES, WITH_PORT):
        ghost = identities.ghost(SubjectId(subject))
        assert ghost is not None
        assert parse_user_id(ghost) == ghost
        assert identities.is_ours(ghost)
        assert identities.subject(ghost) == subject
        assert identities.user(SubjectId(subject)) == ghost


def test_agent_maps_to_ghost() -> None:
    daarwizz = AgentSlug("daarwizz")
    assert IDENTITIES.agent(daarwizz) == "@agent_daarwizz:daarion.space"
    assert IDENTITIES.describe(IDENTITIES.agent(daarwizz)) == (AuthorKind.AGENT, "daarwizz")
    assert IDENTITIES.subject(IDENTITIES.agent(daarwizz)) == agent_subject(daarwizz) == "agent:daarwizz"


@pytest.mark.parametrize(
    ("user", "who"),
    [
        ("@daarion_bot:daarion.space", ServiceUser.BOT),
        ("@city_observer:daarion.space", ServiceUser.OBSERVER),
        ("@alice:daarion.space", (AuthorKind.MATRIX, "@alice:daarion.space")),
        ("@agent_daarwizz:elsewhere.org", (AuthorKind.MATRIX, "@agent_daarwizz:elsewhere.org")),
        ("@daarion_bot:elsewhere.org", (AuthorKind.MATRIX, "@daarion_bot:elsewhere.org")),
        ("@agent_x:daarion.space:8448", (AuthorKind.MATRIX, "@agent_x:daarion.space:8448")),
        ("@AGENT_x:daarion.space", (AuthorKind.MATRIX, "@AGENT_x:daarion.space")),
        ("@xagent_y:daarion.space", (AuthorKind.MATRIX, "@xagent_y:daarion.space")),
    ],
)
def test_user_ids_are_classified(user: str, who: object) -> None:
    assert IDENTITIES.describe(UserId(user)) == who
    assert IDENTITIES.is_ours(UserId(user)) == (isinstance(who, ServiceUser))
    assert (IDENTITIES.subject(UserId(user)) is None) == isinstance(who, ServiceUser)


def test_server_name_may_have_port() -> None:
    assert WITH_PORT.bot == "@daarion_bot:localhost:8448"
    assert WITH_PORT.describe(UserId("@agent_x:localhost:8448")) == (AuthorKind.AGENT, "x")
    assert WITH_PORT.describe(UserId("@agent_x:localhost")) == (AuthorKind.MATRIX, "@agent_x:localhost")
    assert WITH_PORT.room_slug("#city_general:localhost:8448") == "general"
    assert WITH_PORT.room_slug("#city_general:localhost") is None


def test_people_on_matrix_need_no_ghost() -> None:
    alice = SubjectId("@alice:elsewhere.org")
    assert IDENTITIES.ghost(alice) is None
    assert IDENTITIES.user(alice) == "@alice:elsewhere.org"


def test_every_author_has_matrix_user() -> None:
    assert IDENTITIES.author(Author(AuthorKind.AGENT, "scribe", "Писар")) == "@agent_scribe:daarion.space"
    assert IDENTITIES.author(Author(AuthorKind.CITIZEN, "u_1", "Оксана")) == "@citizen_u_1:daarion.space"
    assert IDENTITIES.author(Author(AuthorKind.MATRIX, "@alice:hs", "Alice")) == "@alice:hs"


def test_an_id_that_is_too_long_for_matrix_is_refused() -> None:
    longest = MAX_USER_ID_BYTES - len("@citizen_:daarion.space")
    assert len(IDENTITIES.citizen(CitizenId("x" * longest))) == MAX_USER_ID_BYTES
    for citizen in ("x" * (longest + 1), "Ю" * (longest // 6 + 1)):
        with pytest.raises(InvalidInput) as raised:
            IDENTITIES.citizen(CitizenId(citizen))
        assert (raised.value.status, raised.value.code) == (422, "citizen_id_too_long")


def test_subject_with_too_long_ghost_id_has_no_ghost() -> None:
    citizen = "Ю" * 39
    assert IDENTITIES.ghost(SubjectId(citizen)) is None
    assert IDENTITIES.ghost(SubjectId("agent:" + "x" * 250)) is None
    # What is stored is shown all the same.
    shown = IDENTITIES.user(SubjectId(citizen))
    assert shown.startswith("@citizen_=d0=ae")
    assert IDENTITIES.author(Author(AuthorKind.CITIZEN, citizen, "Юлія")) == shown


@pytest.mark.parametrize(
    ("alias", "slug"),
    [
        ("#city_general:daarion.space", "general"),
        ("#city_:daarion.space", ""),
        ("#city:daarion.space", None),
        ("#general:daarion.space", None),
        ("#city_general:elsewhere.org", None),
        ("city_general:daarion.space", None),
        ("", None),
    ],
)
def test_which_aliases_are_rooms_of_the_city(alias: str, slug: str | None) -> None:
    assert IDENTITIES.room_slug(alias) == slug
    assert IDENTITIES.space_alias == "#city:daarion.space"
    assert IDENTITIES.room_alias("general") == "#city_general:daarion.space"


@pytest.mark.parametrize(
    "text",
    [
        "@alice:example.org",
        "@alice:example.org:8448",
        "@alice:[2001:db8::1]:8448",
        "@:example.org",
        "@Old_Style!(user):example.org",
        "@" + "a" * 242 + ":example.org",
    ],
)
def test_a_matrix_user_id_is_recognised(text: str) -> None:
    assert parse_user_id(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "alice",
        "@alice",
        "@alice:",
        "alice:example.org",
        "#alice:example.org",
        "@alice:exam ple.org",
        "@alice:example.org/path",
        "@alice:example.org\n",
        "@alice:example.org\0",
        "@alice:\ud800",
        "@" + "a" * 244 + ":example.org",
    ],
)
def test_anything_else_is_no_matrix_user_id(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a Matrix user id") as raised:
        parse_user_id(text)
    assert raised.value.code == "M_INVALID_PARAM"

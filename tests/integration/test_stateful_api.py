"""Random sequences of API calls with usual and hostile values, compared with a model."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import count
from typing import Any, ClassVar, Final
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from structlog.testing import capture_logs

from tests.parts.city import ADMIN_TOKEN, citizen_token
from tests.parts.hostile import FAULTS, TEXTS, VALUES
from tests.parts.in_process_city import HttpResponse, InProcessCity, in_process_city

NO_LIMITS: Final = dict.fromkeys(
    ["reads", "wrong_tokens", "messages", "changes", "sign_ins", "uploads", "rooms", "typing", "heartbeats"], ""
)
MODERATOR: Final = "u_admin"
TOKENS: Final = {
    "u_1": citizen_token("u_1", "Оксана"),
    "u_2": citizen_token("u_2", "Тарас"),
    MODERATOR: citizen_token(MODERATOR, "Ада", role="admin"),
}
WHO: Final = st.sampled_from(list(TOKENS))
EMOJI: Final = st.sampled_from(["👍", "🌻", "так"])
BODY: Final = st.sampled_from(
    ["Добрий **вечір**", "> цитата\n\nтекст", "@daarwizz що нового?", "[тут](https://city.example)"]
)
CLIENT_ID: Final = st.sampled_from(["tab-1", "tab-2"])

MARK: Final = re.compile(r"№\d+№")
numbers = count(1)


def text() -> str:
    """Return a text that no other message has."""
    return f"№{next(numbers)}№"


@dataclass
class PostedMessage:
    id: str
    author: str
    body: str
    deleted: bool = False
    reactions: dict[str, set[str]] = field(default_factory=dict)

    @property
    def seen(self) -> tuple[str, str, str, bool, dict[str, set[str]]]:
        given = {emoji: by for emoji, by in self.reactions.items() if by}
        return self.id, self.author, self.body, self.deleted, given

    def delete(self) -> None:
        self.deleted, self.body, self.reactions = True, "", {}


@dataclass
class StatefulApiHarness:
    slug: str
    archived: bool = False
    posted: list[PostedMessage] = field(default_factory=list)
    by_client_id: dict[tuple[str, str], PostedMessage] = field(default_factory=dict)


Call = Callable[..., HttpResponse]


@pytest.fixture
def call(database_url: str) -> Iterator[Call]:
    """Calls of the API of a city in this process, which runs while one is made; none may be answered 5xx."""
    with asyncio.Runner() as runner, capture_logs() as logs:
        stack = AsyncExitStack()

        async def start() -> InProcessCity:
            return await stack.enter_async_context(in_process_city(database_url, limits=NO_LIMITS))

        city = runner.run(start())

        def call(method: str, path: str, content: Any = ..., *, by: str = "") -> HttpResponse:
            token = TOKENS.get(by, by) or None
            answer = runner.run(city.call(method, path, content, token=token))
            assert answer.status < 500, (method, path, content, answer)
            return answer

        yield call
        runner.run(stack.aclose())
    assert [entry for entry in logs if entry["event"] in FAULTS] == []


class ApiStateMachine(RuleBasedStateMachine):
    call: ClassVar[Call]
    halls = Bundle("halls")

    def __init__(self) -> None:
        super().__init__()
        self.touched: StatefulApiHarness | None = None
        self.gone: set[str] = set()
        """Marks of texts that were deleted or replaced."""

    # --- what is usual --------------------------------------------------------------------------------

    @initialize(target=halls)
    def open_first_room(self) -> StatefulApiHarness:
        return self._open("u_1")

    @rule(target=halls, who=WHO)
    def open_room(self, who: str) -> StatefulApiHarness:
        return self._open(who)

    def _open(self, who: str) -> StatefulApiHarness:
        slug = f"room-{next(numbers)}"
        answer = self.call("POST", "/city/rooms", {"name": slug, "slug": slug}, by=who)
        assert (answer.status, answer.content["slug"]) == (201, slug)
        assert self.call("POST", "/city/rooms", {"name": "x", "slug": slug}, by=who).status == 409
        return StatefulApiHarness(slug)

    @rule(hall=halls, who=WHO, body=BODY)
    def post(self, hall: StatefulApiHarness, who: str, body: str) -> None:
        self._post(hall, who, {"body": f"{body} {text()}"})

    @rule(hall=halls, who=WHO, client_id=CLIENT_ID)
    def post_with_client_id(self, hall: StatefulApiHarness, who: str, client_id: str) -> None:
        first = hall.by_client_id.get((who, client_id))
        content = {"body": text(), "client_id": client_id}
        if first is None or hall.archived:
            posted = self._post(hall, who, content)
            if posted is not None:
                hall.by_client_id[who, client_id] = posted
            return
        again = self.call("POST", f"/city/rooms/{hall.slug}/messages", content, by=who)
        assert (again.status, again.content["id"], again.content["body"]) == (200, first.id, first.body)

    @rule(hall=halls, who=WHO, which=st.integers(0, 50), other=halls)
    def reply(self, hall: StatefulApiHarness, who: str, which: int, other: StatefulApiHarness) -> None:
        if not other.posted:
            return
        posted = other.posted[which % len(other.posted)]
        content = {"body": f"Відповідь {text()}", "reply_to": posted.id}
        if hall is other:
            self._post(hall, who, content)
        else:
            assert self.call("POST", f"/city/rooms/{hall.slug}/messages", content, by=who).status in {404, 409}

    @rule(hall=halls, who=WHO, which=st.integers(0, 50), body=BODY)
    def edit(self, hall: StatefulApiHarness, who: str, which: int, body: str) -> None:
        self._edit(hall, who, which, {"body": f"{body} {text()}"})

    @rule(hall=halls, who=WHO, which=st.integers(0, 50))
    def delete(self, hall: StatefulApiHarness, who: str, which: int) -> None:
        if not hall.posted:
            return
        posted = hall.posted[which % len(hall.posted)]
        answer = self.call("DELETE", self._path(hall, posted), by=who)
        may = who in {posted.author, MODERATOR}
        assert answer.status == (409 if hall.archived else 200 if may else 403)
        if answer.status == 200 and not posted.deleted:
            self.gone |= set(MARK.findall(posted.body))
            posted.delete()
        self.touched = hall

    @rule(hall=halls, who=WHO, which=st.integers(0, 50), emoji=EMOJI, take_back=st.booleans())
    def react(self, hall: StatefulApiHarness, who: str, which: int, emoji: str, take_back: bool) -> None:
        if not hall.posted:
            return
        posted = hall.posted[which % len(hall.posted)]
        path = f"{self._path(hall, posted)}/reactions/{quote(emoji)}"
        answer = self.call("DELETE" if take_back else "PUT", path, by=who)
        if hall.archived or (posted.deleted and not take_back):
            assert answer.status == 409
            return
        assert answer.status == 200
        given = posted.reactions.setdefault(emoji, set())
        (given.discard if take_back else given.add)(who)
        self.touched = hall

    @rule(hall=halls, who=WHO, what=st.sampled_from(["join", "leave"]))
    def come_or_go(self, hall: StatefulApiHarness, who: str, what: str) -> None:
        answer = self.call("POST", f"/city/rooms/{hall.slug}/{what}", by=who)
        assert answer.status == (409 if hall.archived and what == "join" else 200)

    @rule(hall=halls, who=WHO, typing=st.booleans(), which=st.integers(0, 50))
    def type_and_read(self, hall: StatefulApiHarness, who: str, typing: bool, which: int) -> None:
        self.call("PUT", f"/city/rooms/{hall.slug}/typing", {"typing": typing}, by=who)
        if hall.posted:
            posted = hall.posted[which % len(hall.posted)]
            read = self.call("PUT", f"/city/rooms/{hall.slug}/read", {"message_id": posted.id}, by=who)
            assert read.status in {204, 409}

    @rule(who=WHO, status=st.sampled_from(["online", "away", "offline"]))
    def beat(self, who: str, status: str) -> None:
        answer = self.call("POST", "/api/v1/presence/heartbeat", {"status": status, "session_id": "tab"}, by=who)
        assert answer.status == 200
        assert self.call("GET", f"/api/v1/presence?ids={who}").status in {200, 422}

    @rule(hall=halls, archived=st.booleans())
    def archive_or_reopen(self, hall: StatefulApiHarness, archived: bool) -> None:
        answer = self.call("PATCH", f"/city/rooms/{hall.slug}", {"archived": archived}, by=ADMIN_TOKEN)
        assert (answer.status, answer.content["archived"]) == (200, archived)
        hall.archived = archived
        self.touched = hall

    # --- what is not ----------------------------------------------------------------------------------

    @rule(
        hall=halls,
        who=WHO,
        fields=st.fixed_dictionaries(
            {"body": TEXTS | VALUES},
            optional={"msgtype": VALUES, "reply_to": VALUES, "client_id": VALUES, "media": VALUES},
        )
        | VALUES,
    )
    def post_anything(self, hall: StatefulApiHarness, who: str, fields: Any) -> None:
        self._post(hall, who, fields, is_usual=False)

    @rule(hall=halls, who=WHO, which=st.integers(0, 50), body=TEXTS | VALUES)
    def edit_to_anything(self, hall: StatefulApiHarness, who: str, which: int, body: Any) -> None:
        self._edit(hall, who, which, {"body": body}, is_usual=False)

    @rule(hall=halls, who=WHO, which=st.integers(0, 50), text=TEXTS)
    def react_with_anything(self, hall: StatefulApiHarness, who: str, which: int, text: str) -> None:
        if not hall.posted:
            return
        posted = hall.posted[which % len(hall.posted)]
        sign = quote(text, safe="", errors="surrogatepass")[:6_000]
        answer = self.call("PUT", f"{self._path(hall, posted)}/reactions/{sign}", by=who)
        if answer.status == 200:
            posted.reactions = {tally["emoji"]: set(tally["by"]) for tally in answer.content["reactions"]}
            assert who in set().union(*posted.reactions.values())
        self.touched = hall

    @rule(who=WHO, name=TEXTS | VALUES, slug=TEXTS | VALUES, description=TEXTS | VALUES)
    def open_anything(self, who: str, name: Any, slug: Any, description: Any) -> None:
        content = {"name": name, "slug": slug, "description": description}
        answer = self.call("POST", "/city/rooms", content, by=who)
        if answer.status == 201:
            assert self.call("GET", f"/city/rooms/{answer.content['slug']}").content["name"] == answer.content["name"]

    @rule(hall=halls, name=TEXTS | VALUES, archived=VALUES)
    def change_to_anything(self, hall: StatefulApiHarness, name: Any, archived: Any) -> None:
        answer = self.call("PATCH", f"/city/rooms/{hall.slug}", {"name": name, "archived": archived}, by=ADMIN_TOKEN)
        if answer.status == 200:
            hall.archived = answer.content["archived"]
        self.touched = hall

    @rule(
        who=WHO | st.sampled_from(["", ADMIN_TOKEN, "nobody's"]),
        method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"]),
        path=st.sampled_from(
            [
                "/city/rooms/{}",
                "/city/rooms/{}/messages",
                "/city/rooms/general/messages/{}",
                "/city/rooms/general/messages?before={}",
                "/city/rooms/general/messages?around={}",
                "/city/rooms/{}/join",
                "/city/rooms/{}/typing",
                "/city/rooms/{}/read",
                "/city/rooms?ids={}",
                "/city/citizens?ids={}",
                "/city/feed?limit={}",
                "/city/me/unread?after={}",
                "/api/v1/presence?ids={}",
                "/api/v1/presence/heartbeat?{}",
                "/api/v1/agents/{}",
                "/api/v1/agents/{}/heartbeat",
                "/api/v1/nodes/{}",
                "/api/v1/microdaos/{}",
                "/api/v1/districts/{}",
            ]
        ),
        text=TEXTS,
        content=VALUES,
    )
    def call_anything(self, who: str, method: str, path: str, text: str, content: Any) -> None:
        where = path.format(quote(text, safe="", errors="surrogatepass")[:6_000])
        self.call(method, where, content if method in {"POST", "PUT", "PATCH"} else ..., by=who)

    # --- what is read then ----------------------------------------------------------------------------

    @rule(hall=halls, limit=st.integers(1, 7))
    def read_on(self, hall: StatefulApiHarness, limit: int) -> None:
        """Page forward through all that was said."""
        read: list[Any] = []
        while True:
            after = read[-1]["seq"] if read else -(1 << 53)
            page = self.call("GET", f"/city/rooms/{hall.slug}/messages?after={after}&limit={limit}")
            read += page.content
            if 'rel="next"' not in page.headers.get("Link", ""):
                break
        assert_read(read, hall)

    @rule(hall=halls, limit=st.integers(1, 7))
    def read_back(self, hall: StatefulApiHarness, limit: int) -> None:
        """Page back from the newest."""
        read: list[Any] = []
        while True:
            before = f"&before={read[0]['seq']}" if read else ""
            page = self.call("GET", f"/city/rooms/{hall.slug}/messages?limit={limit}{before}")
            read = page.content + read
            if 'rel="prev"' not in page.headers.get("Link", ""):
                break
        assert_read(read, hall)

    @rule()
    def read_city(self) -> None:
        for path in ("/city/home", "/city/feed?limit=100", "/city/rooms?limit=500"):
            shown = self.call("GET", path)
            assert shown.status == 200
            assert not any(text in str(shown.content) for text in self.gone)

    @invariant()
    def room_shows_what_was_done(self) -> None:
        hall, self.touched = self.touched, None
        if hall is not None:
            room = self.call("GET", f"/city/rooms/{hall.slug}").content
            assert room["archived"] == hall.archived
            last = hall.posted[-len(room["messages"]) :] if room["messages"] else []
            assert_read(room["messages"], StatefulApiHarness(hall.slug, posted=last))
            assert len(last) == min(len(hall.posted), 50) or room["has_older"]

    # --- parts of rules -------------------------------------------------------------------------------

    def _path(self, hall: StatefulApiHarness, posted: PostedMessage) -> str:
        return f"/city/rooms/{hall.slug}/messages/{posted.id}"

    def _post(self, hall: StatefulApiHarness, who: str, content: Any, *, is_usual: bool = True) -> PostedMessage | None:
        answer = self.call("POST", f"/city/rooms/{hall.slug}/messages", content, by=who)
        self.touched = hall
        if is_usual:
            assert answer.status == (409 if hall.archived else 201), answer
        if answer.status != 201:
            return None
        if is_usual:
            assert answer.content["body"] == content["body"]
        posted = PostedMessage(answer.content["id"], who, answer.content["body"])
        hall.posted.append(posted)
        if (client_id := answer.content["client_id"]) is not None:
            hall.by_client_id[who, client_id] = posted
        return posted

    def _edit(self, hall: StatefulApiHarness, who: str, which: int, content: Any, *, is_usual: bool = True) -> None:
        if not hall.posted:
            return
        posted = hall.posted[which % len(hall.posted)]
        answer = self.call("PATCH", self._path(hall, posted), content, by=who)
        self.touched = hall
        if is_usual:
            is_wrong = hall.archived or (posted.deleted and who == posted.author)
            assert answer.status == (409 if is_wrong else 200 if who == posted.author else 403), answer
        if answer.status == 200:
            assert not is_usual or answer.content["body"] == content["body"]
            self.gone |= set(MARK.findall(posted.body)) - set(MARK.findall(answer.content["body"]))
            posted.body = answer.content["body"]


def assert_read(read: list[Any], hall: StatefulApiHarness) -> None:
    seen = [
        (
            each["id"],
            each["author"]["id"],
            each["body"],
            each["deleted"],
            {tally["emoji"]: set(tally["by"]) for tally in each["reactions"]},
        )
        for each in read
    ]
    assert seen == [posted.seen for posted in hall.posted]
    assert [each["seq"] for each in read] == sorted({each["seq"] for each in read})


@pytest.mark.parametrize(
    ("examples", "steps"), [(6, 40), pytest.param(300, 100, marks=pytest.mark.soak)], ids=["short", "long"]
)
def test_api_shows_result_of_random_operations(call: Call, examples: int, steps: int) -> None:
    run_state_machine_as_test(
        type("Machine", (ApiStateMachine,), {"call": staticmethod(call)}),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            # Shrinking takes longer than reading the steps of an example that failed.
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )

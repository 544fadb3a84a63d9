"""A Matrix user in matrix-js-sdk, the client library of Element, in a Node process."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypedDict, cast

from daarion_appservice.demo.local_synapse import LocalSynapse
from tests.parts.city import RunningCity
from tests.parts.js_process import JsProcess

TIMEOUT_S = 60.0
PASSWORD = "secret"

Content = Mapping[str, Any]


class JsEvent(TypedDict):
    """An event as the SDK shows it: with edits and redactions applied (tests/parts/js_sdk/describe.js)."""

    event_id: str
    room_id: str
    type: str
    state_key: str | None
    sender: str
    sender_name: str | None
    timestamp_ms: int
    content: dict[str, Any]
    original_content: dict[str, Any]
    relates_to: dict[str, Any] | None
    reply_to: str | None
    thread_root: str | None
    is_thread_root: bool
    redacted: bool
    replaced: bool
    encrypted: bool
    decryption_failure: str | None
    status: str | None


class JsThreadSummary(TypedDict):
    root_id: str
    length: int
    """The number of replies."""
    reply_to_event: JsEvent | None
    """The last reply."""
    participated: bool


class JsThread(JsThreadSummary):
    events: list[JsEvent]


class JsMember(TypedDict):
    user_id: str
    name: str
    membership: str
    power_level: int | None
    """None where it is infinite: that of creators in rooms of version 12."""
    avatar_url: str | None
    changed_by: str | None
    reason: str | None


class JsRoom(TypedDict):
    room_id: str
    name: str
    membership: str
    space: bool


class JsInvite(TypedDict):
    room_id: str
    name: str
    inviter: str
    is_direct: bool
    reason: str | None


class JsCounts(TypedDict):
    total: int
    highlight: int


class JsNotifications(JsCounts):
    main: JsCounts
    """Of the room without its threads."""
    thread: JsCounts | None


class JsPushActions(TypedDict):
    notify: bool
    highlight: bool
    rule_id: str | None


class JsPoll(TypedDict):
    question: str
    kind: str
    max_selections: int
    answers: list[dict[str, str]]
    votes: dict[str, list[str]]
    """Ids of the answers by user id; empty where the last response is spoiled."""
    results: dict[str, int]
    ended: bool


class JsShield(TypedDict):
    colour: str
    reason: str | None


class JsIdentity(TypedDict):
    known: bool
    """Whether the user has cross-signing keys."""
    needs_approval: bool
    """Whether these keys are others than before."""
    devices: dict[str, bool]
    """By device id, whether its owner signed it."""


class JsVerification(TypedDict):
    phase: str
    code: str | None
    """Why it was cancelled."""


class JsLogin(TypedDict):
    user_id: str
    device_id: str | None
    access_token: str


@dataclass
class JsClient:
    """One user on one device. ``timeout_s`` bounds what waits for the sync, in seconds."""

    node: JsProcess
    homeserver_url: str
    user_id: str
    timeout_s: float = TIMEOUT_S

    @classmethod
    @asynccontextmanager
    async def running(cls, homeserver_url: str, user_id: str) -> AsyncIterator[JsClient]:
        """Start the process of a client that has not signed in; nothing of it is left at the end."""
        node = await JsProcess.start()
        try:
            yield cls(node, homeserver_url, user_id)
        finally:
            await node.end()

    # --- the session ----------------------------------------------------------------------------------

    async def login(
        self, *, password: str | None = None, access_token: str | None = None, device_id: str | None = None
    ) -> JsLogin:
        result = await self._call(
            "login",
            base_url=self.homeserver_url,
            user_id=self.user_id,
            password=password,
            access_token=access_token,
            device_id=device_id,
        )
        return cast("JsLogin", result)

    async def start(self, *, initial_sync_limit: int = 20) -> list[str]:
        """Sync in the background; returns the ids of all rooms after the first sync."""
        result = await self._wait("start", initial_sync_limit=initial_sync_limit)
        return cast("list[str]", result["rooms"])

    async def stop(self) -> None:
        """Stop the sync; `login` and `start` then begin with an empty store, as a reloaded page does."""
        await self._call("stop")

    async def logout(self) -> None:
        await self._call("logout")

    # --- rooms ----------------------------------------------------------------------------------------

    async def create_room(
        self, options: Content | None = None, *, direct_with: str | None = None, encrypted: bool = False
    ) -> str:
        """Create a room with options of ``POST /createRoom``; ``direct_with`` opens a direct chat as Element does."""
        result = await self._wait("create_room", options=options or {}, direct_with=direct_with, encrypted=encrypted)
        return str(result["room_id"])

    async def join(self, room: str) -> str:
        """Join a room by id or alias; returns its id when the sync shows it."""
        return str((await self._wait("join", room=room))["room_id"])

    async def leave(self, room_id: str) -> None:
        await self._call("leave", room_id=room_id)

    async def invite(self, room_id: str, user_id: str, *, reason: str | None = None) -> None:
        await self._call("invite", room_id=room_id, user_id=user_id, reason=reason)

    async def kick(self, room_id: str, user_id: str, *, reason: str | None = None) -> None:
        await self._call("kick", room_id=room_id, user_id=user_id, reason=reason)

    async def ban(self, room_id: str, user_id: str, *, reason: str | None = None) -> None:
        await self._call("ban", room_id=room_id, user_id=user_id, reason=reason)

    async def rooms(self) -> list[JsRoom]:
        return cast("list[JsRoom]", await self._call("rooms"))

    async def invites(self) -> list[JsInvite]:
        return cast("list[JsInvite]", await self._call("invites"))

    async def members(self, room_id: str) -> dict[str, JsMember]:
        """Return all members by user id, with those who left, are invited or banned."""
        members = cast("list[JsMember]", await self._call("members", room_id=room_id))
        return {member["user_id"]: member for member in members}

    async def state(self, room_id: str, type_: str, state_key: str = "") -> dict[str, Any] | None:
        """Return the content of a state event."""
        return cast(
            "dict[str, Any] | None", await self._call("state", room_id=room_id, type=type_, state_key=state_key)
        )

    async def send_state(self, room_id: str, type_: str, content: Content, state_key: str = "") -> str:
        result = await self._call("send_state", room_id=room_id, type=type_, content=content, state_key=state_key)
        return str(result["event_id"])

    async def power_level(self, room_id: str, user_id: str) -> int | None:
        return cast("int | None", await self._call("power_level", room_id=room_id, user_id=user_id))

    async def set_power_level(self, room_id: str, user_id: str, level: int) -> None:
        await self._wait("power_level", room_id=room_id, user_id=user_id, level=level)

    # --- events ---------------------------------------------------------------------------------------

    async def send(self, room_id: str, type_: str, content: Content) -> str:
        """Send an event with this content as it is; returns its id when the sync shows it."""
        return str((await self._wait("send", room_id=room_id, type=type_, content=content))["event_id"])

    async def say(self, room_id: str, body: str) -> str:
        return await self.send(room_id, "m.room.message", {"msgtype": "m.text", "body": body})

    async def send_reply(self, room_id: str, event_id: str, body: str) -> str:
        """Reply to an event as Element Web does: in its thread, but to the root of a thread in the room's timeline."""
        return str((await self._wait("send_reply", room_id=room_id, event_id=event_id, body=body))["event_id"])

    async def send_in_thread(self, room_id: str, root_id: str, body: str) -> str:
        content = {"msgtype": "m.text", "body": body}
        result = await self._wait("send_in_thread", room_id=room_id, root_id=root_id, content=content)
        return str(result["event_id"])

    async def redact(self, room_id: str, event_id: str, *, reason: str | None = None) -> None:
        await self._call("redact", room_id=room_id, event_id=event_id, reason=reason)

    async def timeline(self, room_id: str, *, limit: int = 50) -> list[JsEvent]:
        """Return the last loaded events of the room outside of threads, oldest first."""
        return cast("list[JsEvent]", await self._call("timeline", room_id=room_id, limit=limit))

    async def load_older(self, room_id: str, *, limit: int = 50) -> bool:
        """Load older events into the timeline; returns whether there are more."""
        return bool(await self._call("load_older", room_id=room_id, limit=limit))

    async def wait_for(self, fields: Content, *, room_id: str | None = None, timeout_s: float | None = None) -> JsEvent:
        """Return the first event, loaded or to come, of which ``fields`` is a part: ``{"content": {"body": "hello"}}``."""
        result = await self._wait("wait_for", timeout_s=timeout_s, fields=fields, room_id=room_id)
        return cast("JsEvent", result)

    # --- threads, reading, polls ----------------------------------------------------------------------

    async def thread(self, room_id: str, root_id: str) -> JsThread | None:
        """Return a thread with all events, root first, as Element shows it; None where the root has no replies."""
        return cast("JsThread | None", await self._wait("thread", room_id=room_id, root_id=root_id))

    async def threads(self, room_id: str) -> list[JsThreadSummary]:
        return cast("list[JsThreadSummary]", await self._call("threads", room_id=room_id))

    async def send_receipt(
        self, room_id: str, event_id: str, *, unthreaded: bool = False, hidden: bool = False
    ) -> None:
        """Send ``m.read``, or ``m.read.private`` if ``hidden``; with the thread of the event unless ``unthreaded``."""
        await self._call("receipt", room_id=room_id, event_id=event_id, unthreaded=unthreaded, hidden=hidden)

    async def read_up_to(self, room_id: str, user_id: str, *, root_id: str | None = None) -> str | None:
        """Return the last event that a user has read in the room, or in one of its threads."""
        result = await self._call("read_up_to", room_id=room_id, user_id=user_id, root_id=root_id)
        return cast("str | None", result)

    async def notifications(self, room_id: str, *, root_id: str | None = None) -> JsNotifications:
        result = await self._call("notifications", room_id=room_id, root_id=root_id)
        return cast("JsNotifications", result)

    async def push_actions(self, room_id: str, event_id: str) -> JsPushActions:
        return cast("JsPushActions", await self._call("push_actions", room_id=room_id, event_id=event_id))

    async def fully_read(self, room_id: str) -> str | None:
        return cast("str | None", await self._call("fully_read", room_id=room_id))

    async def poll(self, room_id: str, event_id: str) -> JsPoll:
        return cast("JsPoll", await self._wait("poll", room_id=room_id, event_id=event_id))

    # --- users ----------------------------------------------------------------------------------------

    async def profile(self, user_id: str) -> dict[str, Any]:
        return cast("dict[str, Any]", await self._call("profile", user_id=user_id))

    async def account_data(self, type_: str) -> dict[str, Any] | None:
        return cast("dict[str, Any] | None", await self._call("account_data", type=type_))

    async def set_account_data(self, type_: str, content: Content) -> None:
        await self._call("account_data", type=type_, content=content)

    # --- encryption -----------------------------------------------------------------------------------

    async def init_crypto(self, *, password: str | None = None) -> None:
        """Start the SDK's Rust engine, before `start`; with a password the user gets cross-signing keys, too."""
        await self._call("init_crypto", password=password)

    async def is_encrypted(self, room_id: str) -> bool:
        return bool(await self._call("is_encrypted", room_id=room_id))

    async def shield(self, room_id: str, event_id: str) -> JsShield | None:
        """Return the shield that Element shows beside an event; None for an event in clear."""
        return cast("JsShield | None", await self._call("shield", room_id=room_id, event_id=event_id))

    async def isolate(self, *, only_signed: bool) -> None:
        """Exclude devices that their owners did not sign, as "Exclude insecure devices" of Element Web, or include them."""
        await self._call("isolate", only_signed=only_signed)

    async def discard_session(self, room_id: str) -> None:
        """Encrypt the next event of the room with a new session."""
        await self._call("discard_session", room_id=room_id)

    async def identity(self, user_id: str) -> JsIdentity:
        """Query the keys of a user, and return what the engine says of them."""
        return cast("JsIdentity", await self._call("identity", user_id=user_id))

    async def request_verification(self, room_id: str, user_id: str) -> JsVerification:
        """Ask the user of a direct chat to verify, and wait until the request is cancelled or done."""
        return cast("JsVerification", await self._wait("request_verification", room_id=room_id, user_id=user_id))

    async def upload_file(self, content: bytes) -> dict[str, Any]:
        """Upload a file encrypted; returns the field ``file`` of a message."""
        result = await self._call("upload_file", content=base64.b64encode(content).decode())
        return cast("dict[str, Any]", result)

    async def download_file(self, file: Content) -> bytes:
        """Download and decrypt a file."""
        return base64.b64decode(await self._call("download_file", file=file))

    async def _call(self, method: str, **params: Any) -> Any:
        given = {name: value for name, value in params.items() if value is not None}
        return await self.node.request(method, **given)

    async def _wait(self, method: str, *, timeout_s: float | None = None, **params: Any) -> Any:
        return await self._call(method, timeout_ms=1000 * (timeout_s or self.timeout_s), **params)


class ArriveByJsSdk(Protocol):
    """What `arriving_by_js_sdk` gives."""

    async def __call__(self, where: RunningCity | LocalSynapse, name: str, *, encryption: bool = False) -> JsClient: ...


@asynccontextmanager
async def arriving_by_js_sdk() -> AsyncIterator[ArriveByJsSdk]:
    """Bring people to a homeserver, each by a name of their own and synced; their processes end at the end.

    With ``encryption`` the device has keys and is signed by its user, as in Element.
    """
    async with AsyncExitStack() as stack:

        async def arrive(where: RunningCity | LocalSynapse, name: str, *, encryption: bool = False) -> JsClient:
            homeserver = where.homeserver if isinstance(where, RunningCity) else where
            account = await homeserver.register(name, PASSWORD, display_name=name.capitalize())
            client = await stack.enter_async_context(JsClient.running(homeserver.url, account.user_id))
            await client.login(access_token=account.access_token, device_id=account.device_id)
            if encryption:
                await client.init_crypto(password=PASSWORD)
            await client.start()
            return client

        yield arrive

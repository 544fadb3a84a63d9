"""Every ``code`` that the city listener says no with: its status, when it is said, and what ``detail`` may look like."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from ..views import JSON


@dataclass(frozen=True, slots=True)
class Problem:
    status: int
    code: str
    when: str
    detail: str
    """An example."""

    @property
    def example(self) -> JSON:
        content: JSON = {
            "type": f"urn:daarion:problem:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        }
        if self.code == "invalid":
            field, _, message = self.detail.partition(": ")
            content["errors"] = [{"field": field, "message": message}]
        return content


PROBLEMS: Final = (
    Problem(400, "not_json", "the body is not JSON", "the body is not JSON: unexpected end of data: line 1 column 10"),
    Problem(
        400,
        "bad_request",
        "the body is not packed as its `Content-Encoding` says",
        "the body is not packed as its Content-Encoding says",
    ),
    Problem(401, "sign_in", "this needs a token, and none came", "this needs `Authorization: Bearer <token>`"),
    Problem(
        401,
        "token_invalid",
        "the token is wrong, has expired or was revoked; it is never taken for no token",
        "the token is not valid: Signature has expired",
    ),
    Problem(403, "not_allowed", "the token is good, but not for this", "this is for citizens and agents only"),
    Problem(
        403,
        "sign_in_closed",
        "the city lets nobody in this way",
        "this city lets nobody in this way; see sign_in.name",
    ),
    Problem(403, "not_this_agent", "it is another agent's token", "this token is daarwizz's, not litopys's"),
    Problem(403, "not_you", "`user_id` is somebody else", "this token is u_123's, not u_456's"),
    Problem(
        403,
        "openid_invalid",
        "the homeserver does not know the OpenID token, or not any more",
        "the homeserver says that this token is nobody's: get a new one",
    ),
    Problem(
        403,
        "openid_foreign",
        "the OpenID token is of another homeserver, or of one of the city's own ghosts",
        "only accounts of city.localhost can be linked, and this one is of matrix.example",
    ),
    Problem(403, "not_yours", "somebody else wrote it", "only their author may edit messages"),
    Problem(
        403,
        "members_only",
        "what is said in the room is for its members; on a WebSocket the close code 1008 follows",
        "only its members may read what is said in the room podil",
    ),
    Problem(
        403,
        "banned",
        "those who look after the room on Matrix banned one from it",
        "you are banned from the room podil: реклама",
    ),
    Problem(
        403,
        "kicked",
        "they put one out of it; to join it again lifts that",
        "you were put out of the room podil; join it again first",
    ),
    Problem(
        403,
        "muted",
        "their power levels let one read, but not do this",
        "those who look after the room podil let you read, but not write there",
    ),
    Problem(
        403,
        "invite_only",
        "one is no member, and they let in only whom somebody invites on Matrix",
        "only those whom somebody invites on Matrix come into the room podil",
    ),
    Problem(
        403,
        "media_refused",
        "the homeserver does not take this file",
        "the homeserver does not take this file: Media upload limit exceeded",
    ),
    Problem(
        421,
        "host_not_allowed",
        "the header `Host` names a host that is not the city's; see `api.public_url`",
        "this city is not asked as attacker.example; see api.public_url or api.allowed_hosts",
    ),
    Problem(404, "no_such_room", "there is no such room", "there is no room 'obolon'"),
    Problem(404, "no_such_agent", "there is no such agent", "there is no agent 'nobody'"),
    Problem(404, "no_such_token", "the agent has no such token, or not any more", "litopys has no such token"),
    Problem(404, "no_such_node", "there is no such node", "there is no node 'node-9'"),
    Problem(404, "no_such_microdao", "there is no such microDAO", "there is no microDAO 'nobody'"),
    Problem(404, "no_such_district", "there is no such district", "there is no district 'obolon'"),
    Problem(
        404,
        "no_such_message",
        "the room has no such message",
        "there is no message '01M80JJAXFTK9TPCTY26E2R4Y5' in the room podil",
    ),
    Problem(
        404,
        "no_such_media",
        "the city shows no such file, or it is not one's own upload",
        "the city shows no such file",
    ),
    Problem(
        404, "no_thumbnail", "there are no smaller pictures of such a file", "there is no smaller picture of this file"
    ),
    Problem(404, "no_such_route", "the address is none of ours", "Not Found"),
    Problem(408, "body_too_slow", "the body does not come within 30 seconds", "the body did not come in time"),
    Problem(408, "media_too_slow", "the file does not come, or too slowly", "the file did not come in time"),
    Problem(409, "slug_taken", "there is a room with that slug", "there is a room with the slug 'podil' already"),
    Problem(
        409,
        "account_taken",
        "the Matrix account is another citizen's: they have to unlink it first",
        "@oksana:daarion.space is another citizen's account: they have to unlink it first",
    ),
    Problem(
        409,
        "secondme_busy",
        "another question of the same citizen is being answered",
        "another question of yours is still being answered: ask again after that",
    ),
    Problem(
        409,
        "room_archived",
        "the room is archived",
        "the room podil is archived: it can be read, but not written to",
    ),
    Problem(
        409,
        "room_encrypted",
        "somebody turned on encryption on Matrix",
        "the room podil is encrypted on Matrix: nothing can be said there from the city any more",
    ),
    Problem(
        409, "message_deleted", "the message was taken back", "this message is deleted: there is nothing left to edit"
    ),
    Problem(
        409,
        "too_many_reactions",
        "the message has as many different signs as it may",
        "a message may have 100 different signs at most",
    ),
    Problem(
        409,
        "place_in_use",
        "agents live in the place, or places lie in the district, that is to be removed",
        "the node 'node-kyiv-1' cannot be removed: it is where hospodar, varta stay",
    ),
    Problem(
        409,
        "agent_lives_here",
        "the registry says that the agent lives in the room",
        "the registry says that litopys lives in the room podil: take it from the agent's rooms",
    ),
    Problem(
        411,
        "media_size_unknown",
        "the file's size is not said, or it is packed",
        "send the file as it is, with Content-Length: how many bytes it has",
    ),
    Problem(
        413,
        "media_too_large",
        "the file is larger than the city or the homeserver takes or gives out",
        "a file may have 52428800 bytes at most, and this one has 61203288",
    ),
    Problem(413, "body_too_large", "the body is larger than 1 MiB", "Request Entity Too Large"),
    Problem(
        413,
        "message_too_long",
        "the message is larger than 48,000 bytes as JSON",
        "a message may have 48000 bytes at most; send a longer one in parts",
    ),
    Problem(
        415,
        "not_json",
        "the body is sent as something else than JSON",
        "send the body as Content-Type: application/json",
    ),
    Problem(
        415,
        "media_type_wrong",
        "the file is not what its `Content-Type` says",
        "this file is no image/png: it begins like image/jpeg",
    ),
    Problem(415, "media_type_not_allowed", "the city takes no such files", "this city takes no application/zip"),
    Problem(422, "invalid", "a field is wrong; `errors` names each", "name: String should have at least 1 character"),
    Problem(
        422,
        "not_text",
        "a text holds U+0000 or half a surrogate pair",
        "a text must not hold U+0000 or half a surrogate pair",
    ),
    Problem(
        422,
        "too_deep",
        "lists and objects lie within each other more than 64 deep",
        "lists and objects go at most 64 deep",
    ),
    Problem(422, "name_needed", "the name is nothing but spaces", "a room needs a name"),
    Problem(
        422,
        "name_wrong",
        "the name has more than 60 characters, or some that cannot be seen",
        "a name may have 60 characters at most",
    ),
    Problem(
        422,
        "slug_needed",
        "no slug can be made of the name",
        "no slug can be made from the name '🌳'; send one as `slug`",
    ),
    Problem(
        422,
        "slug_wrong",
        "the slug has other characters than `a-z`, `0-9`, `_` and `-`, or is an address of the city's own",
        "the slug 'Поділ' must be 1 to 64 of a-z, 0-9, _ and -, and start with a letter or digit",
    ),
    Problem(422, "message_empty", "there is nothing but spaces in it", "a message needs a text"),
    Problem(422, "media_empty", "the file is empty", "there is nothing in this file"),
    Problem(422, "no_emoji", "that can be no sign", "react with an emoji, or up to 64 characters"),
    Problem(
        422,
        "citizen_id_too_long",
        "the token's `sub` does not fit in a Matrix user id",
        "this citizen's id is too long for a Matrix user id",
    ),
    Problem(422, "prompt_empty", "there is nothing but spaces in it", "ask something: the prompt is empty"),
    Problem(422, "prompt_too_long", "it has more than 8,000 characters", "a prompt may have 8000 characters at most"),
    Problem(
        429,
        "too_many_requests",
        "not so often: `Retry-After` says in how many seconds it will do",
        "too many messages: at most 10 per 10 seconds",
    ),
    Problem(
        431,
        "head_too_large",
        "the head of the request has more than 64 KiB",
        "a head may have 65536 bytes at most",
    ),
    Problem(
        502,
        "core_failed",
        "the agents core answered nothing that can be used, or broke off",
        "the agents core broke off in the middle of its answer",
    ),
    Problem(
        503,
        "too_many_request_bytes",
        "the service holds too many bytes of requests; `Retry-After` says when to try again",
        "too many bytes of requests are under way; try again",
    ),
    Problem(503, "no_core", "the city has no agents core", "agents do not answer in this city: it has no agents core"),
    Problem(
        503,
        "core_busy",
        "as many are being asked as may be: `Retry-After` says in how many seconds to try again",
        "too much is asked at the moment; try again in a moment",
    ),
    Problem(
        503,
        "core_resting",
        "the agents core failed so often that it is left alone for a while, by `Retry-After`",
        "agents cannot answer at the moment; try again in half a minute",
    ),
    Problem(
        503,
        "media_busy",
        "too many files are on their way: `Retry-After` says when to try again",
        "too many files are on their way at the moment; try again",
    ),
    Problem(
        503,
        "homeserver_away",
        "the homeserver, which this needs, does not answer: try again",
        "the homeserver, which keeps the files, does not answer; try again",
    ),
    Problem(
        503,
        "openid_unavailable",
        "the homeserver does not tell whose OpenID tokens are: whoever runs it has to allow that",
        "the homeserver does not say whose tokens are; its admin finds in the log what to do",
    ),
    Problem(
        503,
        "media_unavailable",
        "the homeserver cannot give or take this file now: try again",
        "this file cannot be had at the moment; try again",
    ),
    Problem(
        503,
        "jwks_unavailable",
        "the keys that citizens' tokens are signed with cannot be fetched: try again",
        "the keys that tokens are checked with cannot be fetched",
    ),
    Problem(
        503,
        "database_away",
        "the city's database does not answer: try again",
        "the city's database does not answer; try again",
    ),
    Problem(
        504,
        "core_timeout",
        "the agents core did not answer in time",
        "the agents core did not answer within 60 seconds",
    ),
)


def problems_of(codes: Iterable[str]) -> list[Problem]:
    """Those with these codes, in the order above. Raises LookupError for a code that is none."""
    wanted = set(codes)
    found = [problem for problem in PROBLEMS if problem.code in wanted]
    if missing := wanted - {problem.code for problem in found}:
        raise LookupError(f"not among the codes in {__name__}: {', '.join(sorted(missing))}")
    return found

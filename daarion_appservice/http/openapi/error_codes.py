"""The error codes of the city listener, with their status, condition and an example of ``detail``.

They describe the responses in the OpenAPI document. The text of a response is where its rule is checked: search the
package for the code, as in ``Conflict("slug_taken", "…")``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from .error_code import ErrorCode
from .service_error_codes import SERVICE_ERROR_CODES
from .validation_error_codes import VALIDATION_ERROR_CODES

ERROR_CODES: Final = (
    ErrorCode(
        400, "not_json", "the body is not JSON", "the body is not JSON: unexpected end of data: line 1 column 10"
    ),
    ErrorCode(
        400,
        "bad_request",
        "the body does not match its `Content-Encoding`, or the request is not valid",
        "the body does not match its Content-Encoding",
    ),
    ErrorCode(
        401, "sign_in", "the operation needs a token", "authentication is required: `Authorization: Bearer <token>`"
    ),
    ErrorCode(
        401,
        "token_invalid",
        "the token is invalid, has expired or was revoked",
        "the token is invalid: Signature has expired",
    ),
    ErrorCode(
        401,
        "account_erased",
        "the citizen was erased after the token was issued, or is being erased",
        "this account was erased; sign in again to start a new one",
    ),
    ErrorCode(403, "not_allowed", "the principal lacks the permission", "only citizens and agents may do this"),
    ErrorCode(403, "sign_in_closed", "this way to sign in is off", "sign_in.name is off in this city"),
    ErrorCode(403, "not_this_agent", "the token belongs to another agent", "the token is of daarwizz, not of litopys"),
    ErrorCode(403, "user_id_mismatch", "`user_id` is another citizen", "the token is of u_123, not of u_456"),
    ErrorCode(
        403, "blocked", "one of the two citizens blocks the other", "one of the two blocks direct messages of the other"
    ),
    ErrorCode(
        403, "nonce_invalid", "the nonce is missing, used or expired", "the nonce was used before: request a new one"
    ),
    ErrorCode(
        403, "openid_used", "the OpenID token was used before", "this OpenID token was used before: request a new one"
    ),
    ErrorCode(
        403,
        "openid_invalid",
        "the homeserver does not know the OpenID token, or it has expired",
        "the homeserver does not know this token: request a new one",
    ),
    ErrorCode(
        403,
        "openid_foreign",
        "the OpenID token is of another homeserver, or of a ghost of the city",
        "only accounts on city.localhost are accepted; this one is on matrix.example",
    ),
    ErrorCode(
        403, "not_yours", "the client is not the author of the message", "only the author of a message may edit it"
    ),
    ErrorCode(
        403,
        "members_only",
        "only members may read the room; on a WebSocket the close code 1008 follows",
        "only members may read the room podil",
    ),
    ErrorCode(
        403,
        "banned",
        "a moderator banned the client's ghost from the room on Matrix",
        "you are banned from the room podil: реклама",
    ),
    ErrorCode(
        403,
        "kicked",
        "a moderator kicked the client's ghost from the room on Matrix; joining again lifts this",
        "you were kicked from the room podil; join it again first",
    ),
    ErrorCode(
        403,
        "muted",
        "the power levels of the Matrix room do not allow this",
        "the power levels of the room podil do not allow you to write",
    ),
    ErrorCode(
        403,
        "invite_only",
        "the Matrix room can be joined by invitation only, and the client is not a member",
        "the room podil can be joined by an invitation on Matrix only",
    ),
    ErrorCode(
        403,
        "media_refused",
        "the homeserver refuses the file",
        "the homeserver refuses the file: Media upload limit exceeded",
    ),
    ErrorCode(
        421,
        "host_not_allowed",
        "the header `Host` is not a name of the city (`api.public_url`, `api.allowed_hosts`)",
        "attacker.example is not a name of this city; see api.public_url or api.allowed_hosts",
    ),
    ErrorCode(404, "no_such_citizen", "there is no such citizen", "there is no citizen 'u_999'"),
    ErrorCode(
        404, "no_such_room", "there is no such room, or the client may not know of it", "there is no room 'obolon'"
    ),
    ErrorCode(404, "no_such_person", "the city has no data of this person", "the city has no data of u_9"),
    ErrorCode(404, "no_such_agent", "there is no such agent", "there is no agent 'nobody'"),
    ErrorCode(
        404,
        "no_such_token",
        "the agent has no such token, or it is revoked",
        "litopys has no such token, or it was revoked already",
    ),
    ErrorCode(404, "no_such_node", "there is no such node", "there is no node 'node-9'"),
    ErrorCode(404, "no_such_microdao", "there is no such microDAO", "there is no microDAO 'nobody'"),
    ErrorCode(404, "no_such_district", "there is no such district", "there is no district 'obolon'"),
    ErrorCode(
        404, "no_such_poll", "the message is not a poll", "the message '01M80JJAXFTK9TPCTY26E2R4Y5' is not a poll"
    ),
    ErrorCode(
        404,
        "no_such_message",
        "the room has no such message, or the client may not read it",
        "there is no message '01M80JJAXFTK9TPCTY26E2R4Y5' in the room podil",
    ),
    ErrorCode(
        404,
        "no_such_media",
        "the city shows no such file, or it is not an upload of the client",
        "the city shows no such file",
    ),
    ErrorCode(
        404,
        "no_preview",
        "the page has no preview, or `media.url_previews` is off",
        "this page has no preview",
    ),
    ErrorCode(404, "no_thumbnail", "the file has no thumbnail", "this file has no thumbnail"),
    ErrorCode(
        404,
        "embedding_off",
        "no site may embed the chat of a room",
        "no site may embed the chat: web.embed_ancestors in the configuration is empty",
    ),
    ErrorCode(404, "no_such_route", "there is no such path", "Not Found"),
    ErrorCode(408, "body_too_slow", "the body does not arrive within 30 seconds", "the body did not come in time"),
    ErrorCode(408, "media_too_slow", "the file does not arrive, or too slowly", "the file did not arrive in time"),
    ErrorCode(409, "slug_taken", "another room has this slug", "there is a room with the slug 'podil' already"),
    ErrorCode(
        409,
        "linked_profile",
        "the name and picture of a linked citizen are those of the Matrix account",
        "the name and the picture are those of the linked Matrix account",
    ),
    ErrorCode(
        409,
        "account_taken",
        "the Matrix account is linked with another citizen, who must unlink it first",
        "@oksana:daarion.space is linked with another citizen, who must unlink it first",
    ),
    ErrorCode(
        409,
        "secondme_busy",
        "another prompt of the citizen is being processed",
        "another request of yours is still running; try again when it has ended",
    ),
    ErrorCode(
        409, "room_archived", "the room is archived", "the room podil is archived: it can be read, but not written to"
    ),
    ErrorCode(
        409,
        "room_being_deleted",
        "the room is being deleted: it can be read until nothing is left, and not be changed",
        "the room podil is being deleted: it cannot be changed any more",
    ),
    ErrorCode(
        409,
        "room_encrypted",
        "the Matrix room is encrypted",
        "the room podil is encrypted on Matrix: messages can no longer be posted",
    ),
    ErrorCode(
        409,
        "encryption_off",
        "the city has no encrypted chats: `encryption.enabled` is false, or there is no `encryption.pickle_key`",
        "encryption is off: encryption.pickle_key is empty",
    ),
    ErrorCode(
        409,
        "push_off",
        "the city has no Web Push: `push.enabled` is false",
        "Web Push is off: push.enabled is false",
    ),
    ErrorCode(
        409,
        "no_device",
        "the agent has no encryption device yet",
        "scribe has no encryption device yet; the running service makes one",
    ),
    ErrorCode(409, "message_deleted", "the message is deleted", "the message is deleted and cannot be edited"),
    ErrorCode(409, "poll_ended", "the poll has ended", "this poll has ended: nobody can vote any more"),
    ErrorCode(
        409, "poll_not_editable", "the message is a poll", "a poll cannot be edited: delete it, and start another one"
    ),
    ErrorCode(
        409,
        "sent_on_matrix",
        "the author sent the message or reaction on Matrix, and only a Matrix client can change it",
        "edit this message in the Matrix client that you sent it with",
    ),
    ErrorCode(
        409,
        "too_many_reactions",
        "the message has 100 different reactions already",
        "a message may have 100 different reactions at most",
    ),
    ErrorCode(
        409,
        "agent_erased",
        "an agent with this slug was erased",
        "the agent scribe was erased, and its slug cannot be used again",
    ),
    ErrorCode(
        409,
        "entry_in_use",
        "agents, nodes or microDAOs refer to the entry that would be deleted",
        "the node 'node-kyiv-1' cannot be removed: it is used by hospodar, varta",
    ),
    ErrorCode(
        409,
        "room_assigned_to_agent",
        "the registry assigns the room to the agent",
        "the registry assigns the room podil to litopys: remove it from the agent's rooms first",
    ),
    ErrorCode(
        411,
        "media_size_unknown",
        "the request has no `Content-Length`, or a `Content-Encoding`",
        "send the file without Content-Encoding, and with Content-Length",
    ),
    ErrorCode(
        413,
        "media_too_large",
        "the file exceeds the limit of the city or of the homeserver",
        "the file has 61203288 bytes; the limit is 52428800",
    ),
    ErrorCode(413, "body_too_large", "the body is larger than 1 MiB", "Request Entity Too Large"),
    ErrorCode(
        413,
        "message_too_long",
        "the message exceeds 48,000 bytes as JSON",
        "a message may have 48000 bytes at most; send a longer one in parts",
    ),
    ErrorCode(
        415,
        "not_json",
        "the `Content-Type` of the body is not `application/json`",
        "send the body as Content-Type: application/json",
    ),
    ErrorCode(
        415,
        "media_type_mismatch",
        "the content of the file does not match its `Content-Type`",
        "the file is not of the type image/png: its first bytes are those of image/jpeg",
    ),
    ErrorCode(
        415,
        "media_type_not_allowed",
        "files of this type are not accepted (`media.allowed_types`)",
        "files of the type application/zip are not accepted",
    ),
    ErrorCode(
        403,
        "power_too_low",
        "the power level in the Matrix room does not allow this, or the person's level is not lower",
        "your power level in the room podil does not allow this",
    ),
    ErrorCode(
        403,
        "homeserver_refused",
        "the homeserver refuses the change of the room",
        "the homeserver refuses this: You don't have permission to kick",
    ),
    ErrorCode(409, "not_a_member", "the person is not a member of the room", "u_124 is not a member of the room podil"),
    ErrorCode(
        409,
        "room_not_linked",
        "the room is not linked with its Matrix room (`matrix_status`)",
        "the room podil is not linked with its Matrix room yet; try again",
    ),
    ErrorCode(
        409, "message_not_sent", "the message is not on Matrix yet", "the message is not on Matrix yet; try again"
    ),
    ErrorCode(
        409,
        "message_in_former_room",
        "the message is from before an upgrade of the Matrix room, and cannot be pinned in the new one",
        "the message is in the Matrix room from before the upgrade: Matrix clients find no pinned message there",
    ),
    ErrorCode(
        409,
        "too_many_pins",
        "the room has 100 pinned messages",
        "a room has at most 100 pinned messages: unpin one first",
    ),
    ErrorCode(
        429,
        "too_many_requests",
        "a rate limit is exceeded; `Retry-After` is the number of seconds to wait",
        "too many messages: at most 10 per 10 seconds",
    ),
    ErrorCode(431, "head_too_large", "the request head exceeds 64 KiB", "the request head exceeds 65536 bytes"),
    *VALIDATION_ERROR_CODES,
    *SERVICE_ERROR_CODES,
)


def error_codes_of(codes: Iterable[str]) -> list[ErrorCode]:
    """Return the descriptions of the given codes, in the order of ``ERROR_CODES``. Raises LookupError for an unknown code."""
    wanted = set(codes)
    found = [each for each in ERROR_CODES if each.code in wanted]
    if missing := wanted - {each.code for each in found}:
        raise LookupError(f"not among the codes in {__name__}: {', '.join(sorted(missing))}")
    return found

"""The error codes of the city listener with status 422: invalid fields and parameters of requests."""

from __future__ import annotations

from typing import Final

from .error_code import ErrorCode

VALIDATION_ERROR_CODES: Final = (
    ErrorCode(
        422,
        "no_person",
        "the id is not that of a person",
        "'a:b:c' is not an id of a person: use a citizen's id, @user:server or agent:<slug>",
    ),
    ErrorCode(
        422,
        "url_not_public",
        "the URL is not `http` or `https` with a public host name and the default port",
        "url: must be an http or https URL of a public host name",
    ),
    ErrorCode(
        422, "invalid", "a field is invalid; `errors` lists each", "name: String should have at least 1 character"
    ),
    ErrorCode(
        422,
        "text_invalid",
        "a string contains U+0000 or an unpaired surrogate",
        "a string must not contain U+0000 or an unpaired surrogate",
    ),
    ErrorCode(
        422,
        "too_deep",
        "the body is nested more than 64 levels deep",
        "lists and objects may be nested at most 64 levels deep",
    ),
    ErrorCode(422, "query_empty", "the query of a search has no word", "q: must contain a word"),
    ErrorCode(422, "same_person", "a direct chat with oneself", "a direct chat needs another citizen"),
    ErrorCode(422, "name_required", "the name is empty", "the room's name is empty; send a name"),
    ErrorCode(
        422,
        "status_invalid",
        "the status text is longer than 255 characters",
        "a status text may have 255 characters at most",
    ),
    ErrorCode(
        422,
        "avatar_unknown",
        "the avatar is not a file that the citizen uploaded",
        "the avatar must be a file that you uploaded",
    ),
    ErrorCode(
        422,
        "avatar_invalid",
        "the avatar is not a picture, or larger than 10 MiB",
        "the avatar must be a PNG, JPEG, GIF, WebP or AVIF of 10 MiB at most",
    ),
    ErrorCode(
        422,
        "name_invalid",
        "the name has more than 60 characters, or invisible ones",
        "a name may have 60 characters at most",
    ),
    ErrorCode(
        422,
        "slug_required",
        "no slug can be derived from the name",
        "no slug can be derived from the name '🌳'; send one as `slug`",
    ),
    ErrorCode(
        422,
        "slug_invalid",
        "the slug has characters other than `a-z`, `0-9`, `_` and `-`, or is another path of the city",
        "the slug 'Поділ' must be 1 to 64 of a-z, 0-9, _ and -, and start with a letter or digit",
    ),
    ErrorCode(422, "message_empty", "the message has no text", "the message is empty; send a text"),
    ErrorCode(422, "media_empty", "the file is empty", "the file is empty"),
    ErrorCode(422, "no_such_option", "the poll has no option with this id", "the poll has no option '7'"),
    ErrorCode(
        422,
        "too_many_selections",
        "the vote selects more options than the poll allows",
        "select at most 1 options of this poll",
    ),
    ErrorCode(422, "no_audio", "`voice` is given for a file that is not audio", "a voice message needs an audio file"),
    ErrorCode(
        422,
        "reaction_key_invalid",
        "the reaction key is empty, too long or not printable",
        "the key of a reaction must be an emoji or 1 to 64 printable characters",
    ),
    ErrorCode(
        422,
        "no_thread_root",
        "the message named as `thread_root` is itself a reply in a thread",
        "this message is in a thread already: name the root of that thread",
    ),
    ErrorCode(
        422,
        "other_thread",
        "the message named as `reply_to` does not belong to the thread named as `thread_root`",
        "the message that is replied to does not belong to this thread",
    ),
    ErrorCode(
        422,
        "citizen_id_too_long",
        "a Matrix user id (255 bytes, three for each byte outside of `a-z0-9._-`) cannot contain `sub` of the token",
        "this citizen's id is too long for a Matrix user id",
    ),
    ErrorCode(422, "prompt_empty", "the prompt is empty", "the prompt is empty; send a text"),
    ErrorCode(
        422, "prompt_too_long", "the prompt has more than 8,000 characters", "a prompt may have 8000 characters at most"
    ),
)

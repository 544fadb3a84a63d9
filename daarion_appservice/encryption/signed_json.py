"""Canonical JSON and its signatures, as the Matrix specification defines them (appendices, "Signing JSON")."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from .errors import InvalidContent, InvalidSignature
from .json_fields import Json
from .primitives import is_valid_signature

_MAX_INTEGER = (1 << 53) - 1
_NOT_SIGNED = ("signatures", "unsigned")


def canonical_json(content: Json) -> bytes:
    """Encode a JSON object in its one canonical form: sorted keys, no spaces, no floats.

    Raises:
        InvalidContent: The object has a float, an integer beyond 2^53, a lone surrogate or too deep a nesting.
    """
    _require_canonical(content)
    try:
        return orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise InvalidContent("the JSON has no canonical form") from error


def _require_canonical(content: Json) -> None:
    values: list[Any] = [content]
    while values:
        match values.pop():
            case dict() as mapping:
                values.extend(mapping.values())
            case list() as array:
                values.extend(array)
            case float():
                raise InvalidContent("canonical JSON has no floats")
            case int() as number if abs(number) > _MAX_INTEGER:
                raise InvalidContent("canonical JSON has no integers beyond 2^53")


def sign_json(content: Json, *, user: str, key_id: str, sign: Callable[[bytes], str]) -> dict[str, Any]:
    """Return a copy of a JSON object with one more signature.

    Args:
        content: The object, with or without signatures of others.
        user: The user whose key signs.
        key_id: The name of the key: a device id, or the public key of a cross-signing key.
        sign: Returns the Ed25519 signature of bytes in base64.

    Returns:
        The object with the signature under ``signatures``.
    """
    signatures = {name: dict(keys) for name, keys in content.get("signatures", {}).items()}
    signatures.setdefault(user, {})[f"ed25519:{key_id}"] = sign(_signed_bytes(content))
    return {**content, "signatures": signatures}


def require_signature(content: Json, *, user: str, key_id: str, public_key: str) -> None:
    """Verify one signature of a JSON object.

    Args:
        content: The object as it was received.
        user: The user who must have signed.
        key_id: The name of the key: a device id, or the public key of a cross-signing key.
        public_key: The Ed25519 key in base64.

    Raises:
        InvalidSignature: The signature is missing or wrong.
        InvalidContent: The object has no canonical form.
    """
    signatures = content.get("signatures")
    by_user = signatures.get(user) if isinstance(signatures, dict) else None
    signature = by_user.get(f"ed25519:{key_id}") if isinstance(by_user, dict) else None
    if not isinstance(signature, str) or not is_valid_signature(public_key, _signed_bytes(content), signature):
        raise InvalidSignature(f"no valid signature of {user} with ed25519:{key_id}")


def _signed_bytes(content: Json) -> bytes:
    return canonical_json({key: value for key, value in content.items() if key not in _NOT_SIGNED})

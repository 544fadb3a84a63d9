"""Validates values that clients send: JSON bodies, queries, path parameters and client events."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any, Final, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from ..errors import InvalidInput

_MAX_DEPTH: Final = 64

M = TypeVar("M", bound=BaseModel)


def check_text(content: Any) -> None:
    """Check that all strings of a JSON value can be stored and that the value is not nested too deep.

    PostgreSQL does not store U+0000, and a lone surrogate is not a character. Recursive code would overflow its stack on a
    deeply nested value.

    Raises:
        InvalidInput: a string contains such a character, or the value is more than 64 levels deep.
    """
    level = [content]
    for _ in range(_MAX_DEPTH):
        level = [inner for each in level for inner in _children(each)]
        if not level:
            return
    raise InvalidInput("too_deep", f"lists and objects may be nested at most {_MAX_DEPTH} levels deep", status=422)


def _children(content: Any) -> Iterable[Any]:
    match content:
        case str() if "\0" in content or (
            not content.isascii() and any("\ud800" <= each <= "\udfff" for each in content)
        ):
            raise InvalidInput("text_invalid", "a string must not contain U+0000 or an unpaired surrogate", status=422)
        case dict():
            return chain(content, content.values())
        case list():
            return content
    return ()


class ValidationErrors(InvalidInput):
    """Invalid fields, each with its path (``field``) and reason (``message``)."""

    def __init__(self, errors: list[dict[str, str]]) -> None:
        detail = "; ".join(f"{error['field']}: {error['message']}" for error in errors)
        super().__init__("invalid", detail, status=422)
        self.errors = errors


def validate_parameter(adapter: TypeAdapter[str], value: str, field: str) -> str:
    """Validate a path parameter.

    Raises:
        ValidationErrors: ``value`` is not a valid ``field``.
    """
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise ValidationErrors([{"field": field, "message": error.errors()[0]["msg"]}]) from error


def validate(model: type[M], content: Any) -> M:
    """Return ``content`` as an instance of ``model``.

    Raises:
        ValidationErrors: the content does not match the model.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise ValidationErrors(
            [
                {"field": ".".join(map(str, error_details["loc"])) or "body", "message": error_details["msg"]}
                for error_details in error.errors(include_url=False, include_input=False, include_context=False)
            ]
        ) from error

"""Keys of config.yaml, derived from the settings models; used by the example, docs, environment and checks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from .settings import Settings

ENV_PREFIX = "DAARION_"

KeyPath = tuple[str, ...]
"""For example ("api", "jwt", "secret")."""


@dataclass(frozen=True)
class Key:
    """One key of the file: a section with keys of its own, a list, or a single value."""

    path: KeyPath
    field: FieldInfo

    @property
    def name(self) -> str:
        return self.path[-1]

    @property
    def dotted(self) -> str:
        return ".".join(self.path)

    @property
    def description(self) -> str:
        assert self.field.description, f"{self.dotted} has no description"
        return self.field.description

    @property
    def section(self) -> type[BaseModel] | None:
        """The model of the section; None if the key is not a section."""
        return _model(self.field.annotation)

    @property
    def item(self) -> type[BaseModel] | None:
        """The model of the list's items; None if the key is not a list of models."""
        return _model(get_args(self.field.annotation)[0]) if self.is_list else None

    @property
    def is_list(self) -> bool:
        return get_origin(self.field.annotation) is list

    @property
    def default(self) -> Any:
        """The default as plain strings, numbers, lists and mappings."""
        return plain(self.field.get_default(call_default_factory=True))

    @property
    def variable(self) -> str:
        """The environment variable that sets the key."""
        return ENV_PREFIX + "__".join(self.path).upper()


def plain(value: Any) -> Any:
    """Convert a setting's value into types that YAML represents."""
    match value:
        case SecretStr():
            return value.get_secret_value()
        case BaseModel():
            return {name: plain(getattr(value, name)) for name in type(value).model_fields}
        case list():
            return [plain(each) for each in value]
        case bool() | int() | float():
            return value
        case _:
            return str(value)


def keys_of(model: type[BaseModel], above: KeyPath = ()) -> Iterator[Key]:
    """Yield the keys directly inside one section, in the order of the file."""
    for name, field in model.model_fields.items():
        yield Key((*above, name), field)


def all_keys(model: type[BaseModel] = Settings, above: KeyPath = ()) -> Iterator[Key]:
    """Yield every key of the file, each section before its keys; keys of list items are left out."""
    for key in keys_of(model, above):
        yield key
        if key.section is not None:
            yield from all_keys(key.section, key.path)


@cache
def environment_keys() -> dict[str, Key]:
    """Return the keys that the environment can set, all single values, by the name of the variable."""
    return {key.variable: key for key in all_keys() if key.section is None and not key.is_list}


def find_key(path: KeyPath) -> Key | None:
    return next((key for key in all_keys() if key.path == path), None)


def _model(annotation: Any) -> type[BaseModel] | None:
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None

"""Models as JSON schemas, and whole examples put together of those of their fields."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from ..views import JSON

Mode = Literal["validation", "serialization"]
"""What we take, and what we give."""

_REF: Final = "#/components/schemas/"


class Models:
    """``components``: every model that is meant somewhere in ``wanted``, by its name."""

    def __init__(self, wanted: Iterable[tuple[Any, Mode]]) -> None:
        inputs = [(model, mode, TypeAdapter(model)) for model, mode in dict.fromkeys(wanted)]
        self._found, definitions = TypeAdapter.json_schemas(
            inputs, ref_template=_REF + "{model}", schema_generator=_Untitled
        )
        self.components: dict[str, JSON] = definitions.get("$defs", {})

    def schema(self, model: Any, mode: Mode) -> JSON:
        return self._found[model, mode]

    def example(self, schema: JSON) -> Any:
        """Raises LookupError, with the way to it, where a field shows none."""
        match schema:
            case {"examples": [shown, *_]} | {"enum": [shown, *_]} | {"const": shown}:
                return shown
            case {"$ref": str(ref)}:
                return self.example(self.components[ref.removeprefix(_REF)])
            case {"anyOf": [first, *_]}:
                return self.example(first)
            case {"type": "array", "items": dict(items)}:
                return [self.example(items)]
            case {"type": "object", "properties": dict(properties)}:
                return {name: self._field(name, each) for name, each in properties.items()}
        raise LookupError("no example")

    def _field(self, name: str, schema: JSON) -> Any:
        try:
            return self.example(schema)
        except LookupError as error:
            raise LookupError(f"{name}: {error}") from error


def query_parameters(model: type[BaseModel]) -> list[JSON]:
    schema = model.model_json_schema(schema_generator=_Untitled)
    required = schema.get("required", [])
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "description": field.pop("description", ""),
            "schema": field,
        }
        for name, field in schema.get("properties", {}).items()
    ]


class _Untitled(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:
        return False  # it would only be the name once more

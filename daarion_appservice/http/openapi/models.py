"""Generates JSON schemas of pydantic models, and examples composed of the examples of their fields."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from ...json_encoding import JSON

Mode = Literal["validation", "serialization"]
"""The schema of requests and of responses, in pydantic's terms."""

_REF: Final = "#/components/schemas/"


class Models:
    """The JSON schemas of models.

    Args:
        wanted: the models with their modes.

    Attributes:
        components: the schema of every model that ``wanted`` refers to, by name.
    """

    def __init__(self, wanted: Iterable[tuple[Any, Mode]]) -> None:
        inputs = [(model, mode, TypeAdapter(model)) for model, mode in dict.fromkeys(wanted)]
        self._found, definitions = TypeAdapter.json_schemas(
            inputs, ref_template=_REF + "{model}", schema_generator=_Untitled
        )
        self.components: dict[str, JSON] = definitions.get("$defs", {})

    def schema(self, model: Any, mode: Mode) -> JSON:
        return self._found[model, mode]

    def example(self, schema: JSON) -> Any:
        """Return an example of a schema.

        Raises:
            LookupError: a field has no example; the text contains the path of the field.
        """
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
        return False  # pydantic's title only repeats the name

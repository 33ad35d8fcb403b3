"""The JSON Schema of configuration files, with which editors complete and check them."""

import ast
import inspect
import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from liif.core.section import Section

Kinds = Sequence[type[Section]]
"""What a file may configure; the first one if its keys do not tell."""

DRAFT = "http://json-schema.org/draft-07/schema#"
"""The newest draft that all editors know."""

BASE = {"type": "string", "description": "Another file, whose values are read first."}


def files_schema(kinds: Kinds) -> dict[str, Any]:
    """Return the schema of files of several kinds, any of which may leave keys to its bases."""
    names = {kind: {"$ref": f"#/definitions/{kind.__name__}"} for kind in kinds}
    _, schema = models_json_schema(
        [(kind, "validation") for kind in kinds],
        ref_template="#/definitions/{model}",
        schema_generator=_DocumentedSchema,
    )
    definitions = _as_draft_7(schema["$defs"])
    for kind in kinds:
        definitions[kind.__name__]["properties"]["base"] = BASE
    whole: dict[str, Any] = names[kinds[0]]
    for kind in reversed(kinds[1:]):
        has_own_key = {"anyOf": [{"required": [key]} for key in _own_keys(kind, kinds)]}
        whole = {"if": has_own_key, "then": names[kind], "else": whole}
    return {"$schema": DRAFT, **whole, "definitions": definitions}


def kind_of(keys: Collection[str], kinds: Kinds) -> type[Section]:
    """Return what a file with these keys configures."""
    return next((k for k in kinds[1:] if set(_own_keys(k, kinds)) & set(keys)), kinds[0])


def field_docs(section: type[Section]) -> dict[str, str]:
    """Return the docstring under each field of a section and of its base classes."""
    found: dict[str, str] = {}
    for owner in reversed(section.__mro__):
        is_section = issubclass(owner, Section) and owner is not Section
        if not is_section or owner.__name__ == "_Keys":  # made by a call, without a source
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, text in zip(body.body, body.body[1:], strict=False):
            if not (isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr)):
                continue
            if isinstance(text.value, ast.Constant) and isinstance(field.target, ast.Name):
                found[field.target.id] = " ".join(str(text.value.value).split())
    return found


class _DocumentedSchema(GenerateJsonSchema):
    """Adds the docstrings of fields, which editors show."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        found = super().model_schema(schema)
        for key, text in field_docs(schema["cls"]).items():
            if key in found["properties"]:
                found["properties"][key]["description"] = text
        return found


def _own_keys(kind: type[Section], kinds: Kinds) -> list[str]:
    """Return the keys that only this kind of file has."""
    others = {key for other in kinds if other is not kind for key in other.model_fields}
    return [key for key in kind.model_fields if key not in others]


def _as_draft_7(schema: Any) -> Any:  # noqa: ANN401
    """Return a part of a schema as draft 7 writes it, without required keys, which a base may give,
    and without the title that pydantic makes of each key."""
    if isinstance(schema, list):
        return [_as_draft_7(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    changed: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("required", "discriminator") or (key == "title" and isinstance(value, str)):
            continue
        if key == "enum" and "const" in schema:  # pydantic below 2.10 states both
            continue
        if key == "properties":
            changed[key] = {name: _as_draft_7(part) for name, part in value.items()}
        elif key in ("default", "const", "enum", "examples"):
            changed[key] = value
        else:
            # Sections without a name, which their base gives, fit several members of a union.
            changed[{"prefixItems": "items", "oneOf": "anyOf"}.get(key, key)] = _as_draft_7(value)
    if "anyOf" in changed:  # unions in unions, which pydantic below 2.11 flattens itself
        changed["anyOf"] = [
            inner
            for part in changed["anyOf"]
            for inner in (part["anyOf"] if part.keys() == {"anyOf"} else [part])
        ]
    return changed

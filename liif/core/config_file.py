"""Read, override, validate and write configuration files.

A file states only the values that differ from the defaults. `base: FILE` (relative to the file, or
a shipped configuration by name) loads another file's values first. A configuration is validated as
a whole before it is used.
"""

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from liif.core.errors import UserError
from liif.core.section import Section
from liif.core.shipped import find_config, similar_configs

# Our wording, for people who write YAML: pydantic's wording, which is about JSON.
WORDING = {
    "must be": "Input should be", "must have": "Tuple should have", "": " after validation",
    "a whole number": "a valid integer", "a number": "a valid number", "a list": "a valid array",
    "true or false": "a valid boolean", "text": "a valid string", "keys and values": "an object",
    "must hold": "Dictionary should have",
}  # fmt: skip

MAX_BYTES = 2**17  # parsing larger files as YAML would take minutes
MAX_BASES = 50  # files in a chain of bases

C = TypeVar("C", bound=Section)
Origins = dict[tuple[str, ...], str]
"""The file or option that each key's value comes from."""


def load_config(config_type: type[C], path: Path, overrides: Sequence[str] = ()) -> C:
    """Read a YAML file with its bases, apply overrides, and validate the result.

    Each override is KEY=VALUE, with a dotted key and a YAML value; the last one wins. Raises
    UserError with one line for each mistake: file, dotted key and valid values.
    """
    data, origins = read_values(path, overrides)
    return validated(config_type, data, origins, path)


def read_values(path: Path | None, overrides: Sequence[str] = ()) -> tuple[dict[str, Any], Origins]:
    """Return the values of a YAML file, if any, with its bases and overrides, and their origins.
    Raises UserError if a file cannot be read, or an override is not KEY=VALUE."""
    origins: Origins = {}
    data = {} if path is None else _read_with_bases(path, origins, seen=())
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key:
            raise UserError(f"--set {override}: must be KEY=VALUE, e.g. --set batch_size=8")
        nested: Any = _parse_yaml(value, f"--set {override}")
        for part in reversed(key.split(".")):
            nested = {part: nested}
        _merge(data, nested, f"--set {key}", origins)
    return data, origins


def validated(config_type: type[C], data: Mapping[str, Any], origins: Origins, path: Path) -> C:
    """Return the configuration of these values. Raises UserError as `load_config` does."""
    try:
        # Strict validation of JSON: text is not taken for a number, nor a number for a boolean.
        return config_type.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        found = error.errors()
        found = [e for e in found if not _is_consequence(e, found)]
        lines = [_explain(config_type, e, origins, str(path)) for e in found]
        raise UserError("\n".join(dict.fromkeys(lines))) from None


def dump_config(config: Section) -> str:
    """Return YAML text from which `load_config` restores an equal configuration."""
    return yaml.dump(config.model_dump(mode="json"), Dumper=_Dumper, sort_keys=False)


def annotated_lines(
    config: Section, data: Mapping[str, Any], origins: Origins
) -> Iterator[tuple[str, str]]:
    """Yield the lines of YAML text from which `load_config` restores an equal configuration, each
    with where its value comes from: a file, an option, or "default"; empty for a section.

    `data` and `origins` are those of `read_values`.
    """

    def lines(section: Mapping[str, Any], *above: str) -> Iterator[tuple[str, str]]:
        for key, value in section.items():
            path, indent = (*above, key), "  " * len(above)
            if isinstance(value, dict) and value:
                yield f"{indent}{key}:", ""
                yield from lines(cast(dict[str, Any], value), *path)
            else:
                text = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, width=10**9)
                text = text.removesuffix("\n").removesuffix("\n...")
                yield f"{indent}{key}: {text}", _origin(path, data, origins)

    yield from lines(config.model_dump(mode="json"))


def _origin(path: tuple[str, ...], data: Mapping[str, Any], origins: Origins) -> str:
    """Return where a value comes from: where it is given, or the value that it is a part of."""
    value: Any = data
    for n, key in enumerate(path, 1):
        if not isinstance(value, Mapping) or key not in value:
            return "default" if isinstance(value, Mapping) else origins[path[: n - 1]]
        value = value[key]
    return origins[path]


class _Loader(yaml.SafeLoader):
    """A YAML 1.1 loader, except: 1e-4 is a number, 010 is ten, 1:30 is text; repeated keys, aliases
    and tags are errors."""

    def compose_node(self, parent: Any, index: Any) -> Any:  # noqa: ANN401
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not supported; use `base:`")
        if self.peek_event().tag is not None:
            raise yaml.YAMLError("tags (!name) are not supported")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:  # noqa: ANN401
        keys = [key.value for key, _ in node.value if isinstance(key.value, str)]
        for key, times in Counter(keys).items():
            if times > 1:
                raise yaml.YAMLError(f"line {node.start_mark.line + 1}: key {key!r} is given twice")
        return super().construct_mapping(node, deep)


REPLACED = (":timestamp", ":int", ":float")
INT = re.compile(r"[-+]?(0|[1-9][\d_]*)$")
FLOAT = re.compile(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)([eE][-+]?\d+)?$|[-+]?\.inf$|\.nan$")
_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if not tag.endswith(REPLACED)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", INT, list("-+0123456789"))
_Dumper = type("_Dumper", (yaml.SafeDumper,), {})  # quotes text that would load as a number
for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+.0123456789"))


def _parse_yaml(text: str, where: str) -> Any:  # noqa: ANN401
    try:
        data = yaml.load(text, Loader=_Loader)  # a SafeLoader
        json.dumps(data, ensure_ascii=False).encode()  # raises for half a surrogate pair
        return data
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{where}: not valid YAML: {reason}") from None


def _read_with_bases(path: Path, origins: Origins, seen: tuple[Path, ...]) -> dict[str, Any]:
    try:
        resolved = path.resolve()
        if seen and path.exists() and not (path.is_file() or path.is_dir()):
            raise UserError(f"{path}: cannot be read: a pipe or a device, not a file")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode()
    except FileNotFoundError:
        hint = f"; did you mean {' or '.join(close)}?" if (close := similar_configs(path)) else ""
        raise UserError(f"{path}: no such configuration file{hint}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: cannot be read: not a text file (UTF-8)") from None
    except (OSError, RuntimeError, ValueError) as error:  # such as a loop of links, a NUL in a name
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be read: {reason}") from None
    if len(content) > MAX_BYTES:
        raise UserError(f"{path}: too large for a configuration: at most {MAX_BYTES} bytes")
    if len(seen) > MAX_BASES:
        raise UserError(f"{path}: too many bases: at most {MAX_BASES}")
    if resolved in seen:
        raise UserError(f"{path}: is its own base")
    data = _parse_yaml(text, str(path))
    if not isinstance(data, dict):
        raise UserError(f"{path}: must hold keys and values (KEY: VALUE)")
    base = data.pop("base", None)
    if not isinstance(base, str | None):
        raise UserError(f"{path}: base: must be a file name")
    seen = (*seen, resolved)
    merged = {} if base is None else _read_with_bases(base_file(path, base), origins, seen)
    _merge(merged, data, str(path), origins)
    return merged


def base_file(path: Path, base: str) -> Path:
    """Return the file that the key `base` of a configuration names: one beside it, else a shipped
    configuration."""
    beside = path.parent / base
    return beside if beside.is_file() else find_config(Path(base))


def _merge(
    target: dict[str, Any], data: Mapping[str, Any], source: str, origins: Origins, *prefix: str
) -> None:
    """Overwrite `target` with `data`, key by key, and record the source of each key in `origins`.
    A section with another `name` or `sampling` replaces the old section as a whole."""
    for key, value in data.items():
        key = str(key)
        origins[(*prefix, key)] = source
        old = target.get(key)
        if not isinstance(value, Mapping):
            target[key] = value
            continue
        if not isinstance(old, dict):
            old = target[key] = {}
        if any(tag in value and value[tag] != old.get(tag) for tag in ("name", "sampling")):
            old.clear()
            place = (*prefix, key)
            for other in [each for each in origins if each[: len(place)] == place != each]:
                del origins[other]
        _merge(old, value, source, origins, *prefix, key)


def _is_consequence(error: ErrorDetails, found: Sequence[ErrorDetails]) -> bool:
    """Whether a list is too short only because its items have mistakes of their own."""
    place = error["loc"]
    return error["type"] == "too_short" and any(
        e["loc"][: len(place)] == place != e["loc"] for e in found
    )


def _explain(config_type: type[Section], error: ErrorDetails, origins: Origins, file: str) -> str:
    """Return one line: the file or option, the key, what is wrong, and valid values."""
    parts, section = _locate(config_type, error["loc"])
    lengths = range(len(parts), 0, -1)
    source = next((origins[parts[:n]] for n in lengths if parts[:n] in origins), file)
    key = ".".join(parts)
    option = source.removeprefix("--set ")
    if key in ("", option):
        where = source
    elif source != option and key.startswith(f"{option}."):
        where = f"--set {key}"
    else:
        where = f"{source}: {key}"
    context = error.get("ctx") or {}
    match error["type"]:
        case "extra_forbidden":
            valid = sorted(section.model_fields)
            hint = _guess(parts[-1], valid)
            return f"{where}: unknown key;{hint} valid keys are {', '.join(valid)}"
        case "missing":
            return f"{where}: must be given"
        case "union_tag_not_found" | "union_tag_invalid":
            tag = str(context.get("discriminator", "name")).strip("'")
            fields = section.model_fields
            choices = sorted(_members(section, next(p for p in reversed(parts) if p in fields)))
            given = error["input"].get(tag) and context.get("tag")  # of null, pydantic says "None"
            problem = f"unknown {tag} {given!r};" if given else f"{tag} must be given;"
            return f"{where}: {problem}{_guess(given, choices)} choose from {', '.join(choices)}"
        case "json_invalid":  # the one reason after YAML was parsed
            return f"{source}: its values are nested too deeply"
        case _:
            message = error["msg"].removeprefix("Value error, ")
            for ours, theirs in WORDING.items():
                message = message.replace(theirs, ours)
            is_complete = error["type"] in ("value_error", "too_short", "too_long")
            if not (is_complete or isinstance(error["input"], dict)):
                message += f", not {json.dumps(error['input'], default=str)[:80]}"
            return f"{where}: {message}"


def _guess(given: str | None, choices: list[str]) -> str:
    close = difflib.get_close_matches(given, choices, n=1) if given else []
    return f" did you mean {close[0]!r}?" if close else ""


def _locate(
    section: type[Section], loc: Sequence[int | str]
) -> tuple[tuple[str, ...], type[Section]]:
    """Return the keys of a pydantic location, without the tags that name a union's member, and the
    section that the last key belongs to."""
    parts: list[str] = []
    members: dict[str, type[Section]] = {}
    for item in loc:
        if isinstance(item, int):
            parts.append(str(item))
        elif item in members:
            section, members = members[item], {}
        elif item in section.model_fields or item == loc[-1]:
            if parts and len(members) == 1:
                section = next(iter(members.values()))
            parts.append(item)
            if item in section.model_fields and item != loc[-1]:
                members = _members(section, item)
                if len(members) == 1:
                    section, members = next(iter(members.values())), {}
    return tuple(parts), section


def _members(section: type[Section], key: str) -> dict[str, type[Section]]:
    """Return the sections that a key allows, by tag."""
    return {_tag(member): member for member in _sections(section.model_fields[key].annotation)}


def _sections(annotation: Any) -> Iterator[type[Section]]:  # noqa: ANN401
    """Yield the sections that an annotation allows."""
    if get_origin(annotation) in (Union, UnionType, Annotated, tuple):
        for argument in get_args(annotation):
            yield from _sections(argument)
    elif isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation


def _tag(section: type[Section]) -> str:
    """Return what selects a section in a union: the one value of a key such as `name`."""
    for field in section.model_fields.values():
        if get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1:
            return str(get_args(field.annotation)[0])
    return section.__name__

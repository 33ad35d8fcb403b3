"""Configuration files: read, override, check, explain, write.

A file states only what differs from the defaults; `base: FILE` (relative to the file) takes over
another file's values first. Nothing starts before the whole has passed.
"""

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from liif.core.errors import UserError
from liif.core.section import Section

WORDING = {
    "must be": "Input should be",
    "must have": "Tuple should have",
    "": " after validation",
    "a whole number": "a valid integer",
    "a number": "a valid number",
    "a list": "a valid array",
    "true or false": "a valid boolean",
    "text": "a valid string",
    "keys and values": "an object",
}
"""What pydantic says of JSON, in the words of someone who writes YAML."""

LONGEST, MOST_BASES = 2**17, 50
"""Of a file, in bytes, and of files that take over from each other: what is more is no
configuration, and would take minutes to say so."""

C = TypeVar("C", bound=Section)


def load_config(kind: type[C], path: Path, overrides: Sequence[str] = ()) -> C:
    """Read a file with its bases, apply KEY=VALUE overrides (dotted keys, YAML values), check.

    Raises:
        UserError: a line for everything that is wrong: file, dotted key, what would be right.
    """
    origins: dict[tuple[str, ...], str] = {}
    data = _read_with_bases(path, origins, seen=())
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key:
            raise UserError(f"--set {override}: must be KEY=VALUE, e.g. --set batch_size=8")
        nested: Any = _parse_yaml(value, f"--set {override}")
        for part in reversed(key.split(".")):
            nested = {part: nested}
        _merge(data, nested, f"--set {key}", origins)
    try:
        # Checked as JSON and strictly: no text for a number, no number for a yes or no.
        return kind.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        lines = [_explain(kind, e, origins, str(path)) for e in error.errors()]
        raise UserError("\n".join(dict.fromkeys(lines))) from None


def dump_config(config: Section) -> str:
    """YAML that loads back equal."""
    return yaml.dump(config.model_dump(mode="json"), Dumper=_Dumper, sort_keys=False)


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as people expect it: 1e-4 is a number, 010 is ten, 1:30 is text, a key stands once;
    no aliases, no tags."""

    def compose_node(self, parent: Any, index: Any) -> Any:  # noqa: ANN401
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not used here; see `base:`")
        if self.peek_event().tag is not None:
            raise yaml.YAMLError("tags (!name) are not used here")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:  # noqa: ANN401
        keys = [key.value for key, _ in node.value if isinstance(key.value, str)]
        for key, times in Counter(keys).items():
            if times > 1:
                raise yaml.YAMLError(f"line {node.start_mark.line + 1}: key {key!r} stands twice")
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
        json.dumps(data, ensure_ascii=False).encode()  # half a surrogate pair is no text
        return data
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{where}: not valid YAML: {reason}") from None


def _read_with_bases(
    path: Path, origins: dict[tuple[str, ...], str], seen: tuple[Path, ...]
) -> dict[str, Any]:
    try:
        resolved = path.resolve()
        if seen and path.exists() and not (path.is_file() or path.is_dir()):
            raise UserError(f"{path}: cannot be read: a pipe or a device, not a file")
        with path.open("rb") as file:
            content = file.read(LONGEST + 1)
        text = content.decode()
    except FileNotFoundError:
        raise UserError(f"{path}: no such configuration file") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: cannot be read: not a text file (UTF-8)") from None
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be read: {reason}") from None
    if len(content) > LONGEST or len(seen) > MOST_BASES:
        raise UserError(f"{path}: too much: at most {LONGEST} bytes and {MOST_BASES} bases")
    if resolved in seen:
        raise UserError(f"{path}: is its own base")
    data = _parse_yaml(text, str(path))
    if not isinstance(data, dict):
        raise UserError(f"{path}: must hold keys and values (KEY: VALUE)")
    base = data.pop("base", None)
    if not isinstance(base, str | None):
        raise UserError(f"{path}: base: must be a file name")
    seen = (*seen, resolved)
    merged = {} if base is None else _read_with_bases(path.parent / base, origins, seen)
    _merge(merged, data, str(path), origins)
    return merged


def _merge(
    into: dict[str, Any],
    data: Mapping[str, Any],
    source: str,
    origins: dict[tuple[str, ...], str],
    at: tuple[str, ...] = (),
) -> None:
    """Put data over `into`, key by key; a section that names another kind replaces the old one."""
    for key, value in data.items():
        key = str(key)
        origins[(*at, key)] = source
        old = into.get(key)
        if isinstance(old, dict) and isinstance(value, Mapping):
            for tag in ("name", "sampling"):
                if tag in value and value[tag] != old.get(tag):
                    old.clear()
            _merge(old, value, source, origins, (*at, key))
        else:
            into[key] = {} if isinstance(value, Mapping) else value
            if isinstance(value, Mapping):
                _merge(into[key], value, source, origins, (*at, key))


def _explain(
    kind: type[Section], error: ErrorDetails, origins: Mapping[tuple[str, ...], str], file: str
) -> str:
    """One line: where, which key, what is wrong, what would be right."""
    parts, section = _locate(kind, error["loc"])
    source = next(
        (origins[parts[:n]] for n in range(len(parts), 0, -1) if parts[:n] in origins), file
    )
    key = ".".join(parts) or "the file"
    where = source if source == f"--set {key}" else f"{source}: {key}"
    context = error.get("ctx") or {}
    match error["type"]:
        case "extra_forbidden":
            valid = sorted(section.model_fields)
            close = difflib.get_close_matches(parts[-1], valid, n=1)
            guess = f" did you mean {close[0]!r}?" if close else ""
            return f"{where}: unknown key;{guess} valid keys are {', '.join(valid)}"
        case "missing":
            return f"{where}: must be given"
        case "union_tag_not_found" | "union_tag_invalid":
            tag = str(context.get("discriminator", "name")).strip("'")
            choices = sorted(_choices(section, parts[-1]))
            given = context.get("tag")
            close = difflib.get_close_matches(given, choices, n=1) if given else []
            guess = f" did you mean {close[0]!r}?" if close else ""
            what = f"unknown {tag} {given!r};{guess}" if given else f"{tag} must be given;"
            return f"{where}: {what} valid are {', '.join(choices)}"
        case "json_invalid":  # what passed as YAML is too deep for pydantic's parser, no more
            return f"{source}: its values are nested too deeply"
        case _:
            said = error["type"] in ("value_error", "too_short", "too_long")
            text = json.dumps(error["input"], default=str)[:80]
            shown = "" if said or isinstance(error["input"], dict) else f", not {text}"
            message = error["msg"].removeprefix("Value error, ")
            for ours, theirs in WORDING.items():
                message = message.replace(theirs, ours)
            return f"{where}: {message}{shown}"


def _locate(kind: type[Section], loc: Sequence[int | str]) -> tuple[tuple[str, ...], type[Section]]:
    """The dotted key of a pydantic location, without the tags that name a union's member, and the
    section that the last key belongs to."""
    parts: list[str] = []
    section, members = kind, dict[str, type[Section]]()
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
                members = {_tag(s): s for s in _sections(section.model_fields[item].annotation)}
                if len(members) == 1:
                    section, members = next(iter(members.values())), {}
    return tuple(parts), section


def _sections(annotation: Any) -> Iterator[type[Section]]:  # noqa: ANN401
    """The sections that an annotation allows."""
    if get_origin(annotation) in (Union, UnionType, Annotated):
        for argument in get_args(annotation):
            yield from _sections(argument)
    elif isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation


def _tag(section: type[Section]) -> str:
    """What names a section among others: the one value of its `name` or `sampling`."""
    for key in ("name", "sampling"):
        if key in section.model_fields:
            return str(get_args(section.model_fields[key].annotation)[0])
    return section.__name__


def _choices(section: type[Section], key: str) -> list[str]:
    return [_tag(member) for member in _sections(section.model_fields[key].annotation)]

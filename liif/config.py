"""Configuration of a training run and of a test: read, override, check, write.

A file states only what differs from the defaults; `base: FILE` (relative to the file) takes over
another file's values first. Nothing starts before the whole has passed.
"""

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)
from pydantic_core import ErrorDetails

from liif.data.samples import Scale, TrainData
from liif.errors import UserError
from liif.metrics import ProtocolName
from liif.models.build import ModelConfig
from liif.section import Section

Count = Annotated[int, Field(gt=0, le=10**9)]


def _both_axes(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not 1 <= value <= 1000:  # checked below too, but there it would be two mistakes
            raise ValueError(f"must be from 1 to 1000, not {value}")
        return (value, value)
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError("must be a number such as 2 or 2.5, or two: [vertical, horizontal]")
    return tuple(value)


Scales = Annotated[tuple[Scale, Scale], BeforeValidator(_both_axes)]
"""(vertical, horizontal); one number stands for both."""


class ValidConfig(Section):
    """Judging the model while it trains, on low-resolution images made by Pillow's bicubic."""

    images: str
    scales: Annotated[tuple[Scale, ...], Field(min_length=1)] = (2.0, 3.0, 4.0)
    every: PositiveInt = 1000
    """Steps between validations; one more follows the last step."""
    crop: PositiveInt | None = 240
    """Side of the centre square that is used of each image; null for whole images."""
    limit: NonNegativeInt = 0
    """Use the first so many images only; 0 for all."""
    protocol: ProtocolName = "div2k"


class FinalTestConfig(Section):
    """A last look at the finished model: a table beside bicubic and a comparison picture."""

    images: str
    scales: Annotated[tuple[Scale, ...], Field(min_length=1)] = (2.0, 3.0, 4.0, 6.0, 12.0)
    protocol: ProtocolName = "div2k"


class TrainConfig(Section):
    """A training run; the defaults are the paper's (Chen et al. 2021, sec. 5)."""

    data_root: str | None = None
    """Folder that the paths below are relative to; by default $LIIF_DATA, else datasets/."""
    model: ModelConfig
    train_data: TrainData
    valid: ValidConfig | None = None
    test: FinalTestConfig | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    steps: Count = 1_000_000
    batch_size: Count = 16
    learning_rate: PositiveFloat = 1e-4
    milestones: tuple[PositiveInt, ...] = (200_000, 400_000, 600_000, 800_000)
    """Steps after which the learning rate is multiplied by `decay`."""
    decay: PositiveFloat = 0.5
    precision: Literal["float32", "bf16"] = "float32"
    """bf16: convolutions and matrix products in bfloat16 (autocast), weights in float32."""
    compile: bool = False
    """Use torch.compile for the training step."""
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of an exponential moving average of the weights; it is judged and used then."""
    clip_gradient: PositiveFloat | None = None
    """Largest norm of the gradient over all parameters."""
    init: str | None = None
    """A checkpoint to take the first weights from, for fine-tuning."""
    workers: Annotated[int, Field(ge=0, le=1024)] = 2
    """Processes that make samples."""
    log_every: PositiveInt = 100
    save_every: PositiveInt = 1000
    """Steps between saves of the last checkpoint."""
    keep_every: PositiveInt | None = None
    """Steps between checkpoints that are kept for good."""


class TestConfig(Section):
    """One evaluation set at one scale."""

    __test__ = False  # pytest, this is no test

    data_root: str | None = None
    set: str
    """The set's name in results."""
    hr: str
    """Folder of high-resolution images, or one image."""
    lr: str | None = None
    """Folder of the published low-resolution ones; {scale} stands for the scale."""
    lr_scales: tuple[PositiveInt, ...] = (2, 3, 4)
    """Scales for which `lr` holds images; they are made from `hr` for all others."""
    scale: Scales
    protocol: ProtocolName
    checkpoint: str | None = None
    """Used where the command line names none."""

    @property
    def published_lr(self) -> str | None:
        """The folder of published low-resolution images for this scale, if there is one."""
        y, x = self.scale
        if self.lr is None or y != x or y not in self.lr_scales:
            return None
        return self.lr.replace("{scale}", f"{y:g}")


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
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"line {node.start_mark.line + 1}: key {key!r} stands twice")
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Quotes text that would load as a number, here or elsewhere."""


REPLACED = (":timestamp", ":int", ":float")
INT = re.compile(r"[-+]?(0|[1-9][\d_]*)$")
FLOAT = re.compile(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)([eE][-+]?\d+)?$|[-+]?\.inf$|\.nan$")
_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if not tag.endswith(REPLACED)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", INT, list("-+0123456789"))
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
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such configuration file") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: cannot be read: not a text file (UTF-8)") from None
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path}: cannot be read: {reason or error}") from None
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
            given = error["input"]
            text = json.dumps(given, default=str)[:80]
            said = error["type"] in ("value_error", "too_short", "too_long")
            shown = "" if said or isinstance(given, dict) else f", not {text}"
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

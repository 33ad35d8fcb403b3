"""Hooks of the documentation site: pages that are generated when it is built.

These are the pages of the commands, of the configuration's keys and of modules, and the pages that
are outside docs/ in the project (datasets/README.md and others).
"""

import argparse
import inspect
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

from pydantic import BeforeValidator, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from liif.cli import _parser
from liif.core.config_schema import field_docs
from liif.core.section import Section
from liif.data.degradations.pipeline import Stage
from liif.evaluation.config import TestConfig
from liif.evaluation.table_config import TableConfig
from liif.training.config import TrainConfig

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
ELSEWHERE = (
    "datasets/README.md",
    "benchmarks/README.md",
    "results/README.md",
    "liif/weights/README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
)
"""Pages outside docs/, with the same path in the site as in the project."""

PAGES = {"liif.models.geometry"}
"""Modules with a page of their own."""


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add the generated pages; mkdocs calls this."""
    from mkdocs.structure.files import File

    made = {name: make() for name, make in MADE.items()}
    for name in ELSEWHERE:
        text = (ROOT / name).read_text(encoding="utf-8")
        made[name] = text.replace("](../docs/", "](../").replace("](docs/", "](")
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    for path in sorted((ROOT / "results").rglob("*.*")):
        name = path.relative_to(ROOT).as_posix()
        if path.suffix in (".md", ".png", ".sh") and name not in made:
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: "Page", **_: object) -> str:
    """Let the links to pages outside docs/ lead to their copies in the site; mkdocs calls this."""
    if page.file.src_uri in ELSEWHERE:
        return markdown
    return re.sub(rf"\]\(\.\./(?=(?:{'|'.join(map(re.escape, ELSEWHERE))})[)#])", "](", markdown)


def modules(package: str) -> str:
    """Return the page of all modules of a package inside liif, without those in PAGES."""
    text = f"# liif.{package}\n"
    for path in sorted((ROOT / "liif" / package).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if path.stat().st_size and name not in PAGES:
            options = "show_root_heading: false, show_root_toc_entry: false"
            if name == "liif.models.model":  # SRModel has a page
                options += ", members: []"
            text += f"\n## {name}\n\n::: {name}\n    options: {{{options}}}\n"
    return text


def commands() -> str:
    """Return the page of every command's help."""
    text = (
        "# Commands\n\nThe output of `liif COMMAND --help`. Exit status: 0 for success; 1 for an "
        "error, which is reported in one line; 130 after Ctrl-C; 128 + the signal's number for a "
        "training that was stopped by a signal and saved.\n"
    )
    width, os.environ["COLUMNS"] = os.environ.get("COLUMNS"), "90"
    try:
        for parser in _all_parsers(_parser()):
            level = "#" * min(len(parser.prog.split()) + 1, 3)
            text += f"\n{level} {parser.prog}\n\n```text\n{parser.format_help().rstrip()}\n```\n"
    finally:
        del os.environ["COLUMNS"]
        if width is not None:
            os.environ["COLUMNS"] = width
    return text


def _all_parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from _all_parsers(sub)


def configuration() -> str:
    """Return the page of every key of a configuration."""
    parts = [
        "# Configuration\n\nOne YAML file configures a training, a test or a table. It states "
        "only what differs from the defaults; `base: FILE` first includes another file's values. "
        "`--set KEY=VALUE` overrides any value by its dotted key. Unknown keys, wrong types and "
        "impossible values are refused, each with a line that names the file, the key and the "
        "expected value.\n"
    ]
    for title, kind in (("Training", TrainConfig), ("Test", TestConfig), ("Table", TableConfig)):
        parts.append(f"## {title}\n\n{_cleaned(kind)}\n")
        parts += [section.table() for section in sections(kind)]
    parts.append("## Stages of a degradation\n\nThe keys under `stages` of every `degrade`.\n")
    parts += [section.table() for section in sections(Stage, "stages.")]
    return "\n".join(parts)


class Keys:
    """One section of a configuration with its keys."""

    def __init__(self, prefix: str, kind: type[Section], which: str = "") -> None:
        self.prefix, self.kind, self.which = prefix, kind, which

    def names(self) -> list[str]:
        return [f"{self.prefix}{key}" for key in self.kind.model_fields]

    def table(self) -> str:
        head = ""
        if self.prefix:
            head = f"### {self.prefix.rstrip('.')}{self.which}\n\n{_cleaned(self.kind)}\n\n"
        notes = {key: _in_cell(text) for key, text in field_docs(self.kind).items()}
        rows = [
            f"| `{name}` | {_type(field)} | {_default(field)} | {notes.get(key, '')} |"
            for name, (key, field) in zip(self.names(), self.kind.model_fields.items(), strict=True)
        ]
        return f"{head}| key | value | default | |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"


def sections(kind: type[Section], prefix: str = "", which: str = "") -> Iterator[Keys]:
    """Yield all sections of a configuration; the alternatives of a choice follow each other."""
    yield Keys(prefix, kind, which)
    for key, field in kind.model_fields.items():
        members = list(_sections_in(field.annotation))
        for member in members:
            if member is Stage:  # has a part of the page of its own, for all places
                continue
            tag = _tag(member)
            yield from sections(member, f"{prefix}{key}.", f": {tag}" if tag else "")


def _sections_in(annotation: object) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for part in get_args(annotation):
        yield from _sections_in(part)


def _tag(kind: type[Section]) -> str:
    """Return the key and value that choose a section among alternatives: a key, such as `name` or
    `sampling`, that has a single possible value."""
    for key, field in kind.model_fields.items():
        if get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1:
            return f"{key}: {get_args(field.annotation)[0]}"
    return ""


def _type(field: FieldInfo) -> str:
    """Describe a field's type in words, from its JSON schema, which contains the limits."""
    if list(_sections_in(field.annotation)) and str not in get_args(field.annotation):
        if get_origin(field.annotation) is tuple:
            return "list of sections"
        return "a section" + (", or null" if type(None) in get_args(field.annotation) else "")
    annotation: Any = field.annotation
    for extra in field.metadata:
        annotation = Annotated[annotation, extra]
    words = _words(TypeAdapter(annotation).json_schema(mode="serialization"))
    is_pair = words.startswith("[")
    if is_pair and any(isinstance(extra, BeforeValidator) for extra in field.metadata):
        words += "; one number sets both"
    return _in_cell(words)


def _words(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return "section"
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_words(part) for part in schema["anyOf"])
    kind = schema.get("type")
    if kind == "array":
        if "prefixItems" in schema:
            return "[" + ", ".join(_words(part) for part in schema["prefixItems"]) + "]"
        return f"list: {_words(schema['items'])}"
    names = {
        "integer": "integer", "number": "number", "boolean": "true or false",
        "string": "text", "null": "null", "object": "keys and values",
    }  # fmt: skip
    words = names[kind or "null"]
    low, high = schema.get("minimum"), schema.get("maximum", schema.get("exclusiveMaximum"))
    if schema.get("exclusiveMinimum") == 0:
        words += " > 0"
    elif low is not None:
        words += f" ≥ {low:g}"
    if high is not None:
        shown = f"{high:,}" if high < 2**32 else f"2^{int(high).bit_length() - 1}"
        words += f", {'≤' if 'maximum' in schema else '<'} {shown}"
    return words


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = to_jsonable_python(field.get_default(call_default_factory=True))
    if isinstance(field.default, Section):
        value = value.get("name", {key: part for key, part in value.items() if part})
    elif Stage in _sections_in(field.annotation):
        return "those published"
    return f"`{json.dumps(value)}`"


def _cleaned(kind: type[Section]) -> str:
    return inspect.cleandoc(kind.__doc__ or "")


def _in_cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


MADE: dict[str, Callable[[], str]] = {
    "reference/commands.md": commands,
    "reference/configuration.md": configuration,
    "reference/models.md": lambda: modules("models"),
    "reference/data.md": lambda: modules("data"),
}
"""The function that generates each page without a file."""

"""What encoders and decoders cost, as counted, beside the PSNR that was published for them."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pydantic

from liif.core.config_file import load_config
from liif.core.section import Section
from liif.models.build import DECODERS, ENCODERS
from liif.models.cost import Cost, decoder_cost, encoder_cost

PUBLISHED = Path(__file__).with_name("published.yaml")
SCALE = 4
"""Scale at which decoders are counted."""

Psnr = tuple[float, float]
"""PSNR in dB at x2 and x4."""


class Published(Section):
    """Numbers that were published for one part; published.yaml explains the sets."""

    name: str
    """Name of the encoder or decoder in a configuration."""
    title: str = ""
    """Name of the variant, if several were published."""
    options: Mapping[str, Any] = pydantic.Field(default_factory=dict)
    """Options of the variant."""
    div2k: Psnr | None = None
    set5: Psnr | None = None
    reproduced: Psnr | None = None
    source: str = ""
    unlike: str = ""
    """In what the protocol differs from that of the other rows, or why there are no numbers."""


class PublishedNumbers(Section):
    """The file published.yaml."""

    decoders: tuple[Published, ...]
    encoders: tuple[Published, ...]


@dataclass(frozen=True)
class Listed:
    """A row of the list: a part with the options of a published variant."""

    cost: Cost
    published: Published

    @property
    def title(self) -> str:
        """Name in a configuration, and that of the variant."""
        return f"{self.published.name} {self.published.title}".strip()


def listed_decoders() -> list[Listed]:
    """Return all decoders, in the order of the registry; variants in the order of the file."""
    width = ENCODERS["edsr-baseline"]().width
    return [
        Listed(decoder_cost(_config(DECODERS, each), width, SCALE), each)
        for each in _every(DECODERS, _numbers().decoders)
    ]


def listed_encoders() -> list[Listed]:
    """Return all encoders, in the order of the registry."""
    return [
        Listed(encoder_cost(_config(ENCODERS, each)), each)
        for each in _every(ENCODERS, _numbers().encoders)
    ]


def _numbers() -> PublishedNumbers:
    return load_config(PublishedNumbers, PUBLISHED)


def _every(registry: Iterable[str], numbers: Iterable[Published]) -> Iterable[Published]:
    """Yield the entries of each name of a registry, an empty one where there is none."""
    for name in registry:
        yield from [each for each in numbers if each.name == name] or [Published(name=name)]


def _config(registry: Mapping[str, Any], entry: Published) -> Any:  # noqa: ANN401
    """Return the configuration of an entry: the defaults, with its options."""
    kind = registry[entry.name]
    of_one_scale = {"scale": SCALE} if "scale" in kind.model_fields else {}
    return kind.model_validate({**of_one_scale, **entry.options})


HEADER = (
    "parameters",
    "per input pixel",
    "per output pixel",
    "reach",
    "tiles",
    "DIV2K",
    "Set5",
    "reproduced",
)
"""Columns of `cells`."""

LEGEND = f"""\
parameters: of this part alone
per input pixel, per output pixel: multiplications, counted at x{SCALE} in colour; n is the number
  of input pixels
reach: distance in input pixels up to which a pixel changes the result
tiles: whether an image is computed in tiles with the same result; "statistics first": after a pass
  over all points of the result; none: the image is encoded at once
DIV2K, Set5: published PSNR in dB at x2 and x4, DIV2K validation in RGB, Set5 in luma
reproduced: the published weights in this package, on Set5"""


def cells(row: Listed) -> list[str]:
    """Return the cells of a row as text, in the order of HEADER."""
    cost, published = row.cost, row.published
    per_input = short(cost.per_input_pixel)
    if cost.per_pair:
        per_input += f" + {short(cost.per_pair)} n"
    tiles = "exact, statistics first" if cost.has_statistics else "exact"
    return [
        short(cost.parameters),
        per_input,
        short(cost.per_output_pixel),
        "image" if cost.radius is None else str(cost.radius),
        "none" if cost.radius is None else tiles,
        *(_psnr(each) for each in (published.div2k, published.set5, published.reproduced)),
    ]


def as_text(rows: list[Listed]) -> str:
    """Return rows as aligned text, with numbered notes about protocols and the legend."""
    lines, notes = [["", *HEADER, ""]], list[str]()
    for row in rows:
        note = ""
        if row.published.unlike:
            notes.append(f"[{len(notes) + 1}] {row.title}: {row.published.unlike}")
            note = f"[{len(notes)}]"
        lines.append([row.title, *cells(row), note])
    kept = [i for i in range(len(lines[0])) if any(line[i] not in ("0", "–") for line in lines[1:])]
    widths = {i: max(len(line[i]) for line in lines) for i in kept}
    text = [
        "  ".join(line[i].rjust(widths[i]) if i else line[i].ljust(widths[i]) for i in kept)
        for line in lines
    ]
    return "\n".join([*(line.rstrip() for line in text), "", *notes, "", LEGEND])


def as_records(rows: list[Listed]) -> list[dict[str, Any]]:
    """Return rows as JSON values: the cost, and what was published."""
    return [
        {**row.published.model_dump(mode="json"), "title": row.title, **asdict(row.cost)}
        for row in rows
    ]


def short(number: float) -> str:
    """Return a number with three digits: 1234567 as "1.23 M"."""
    for power, unit in ((1e6, " M"), (1e3, " k")):
        if number >= 0.9995 * power:
            number /= power
            return f"{number:.{2 if number < 9.995 else 1 if number < 99.95 else 0}f}{unit}"
    return f"{number:.0f}"


def _psnr(numbers: Psnr | None) -> str:
    return "–" if numbers is None else "{:.2f} {:.2f}".format(*numbers)

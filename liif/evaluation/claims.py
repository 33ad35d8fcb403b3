"""Which definitions give a published number, and where the difference between two comes from."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from itertools import product
from typing import NamedTuple, get_args

from torch import Tensor

from liif.core.sizes import Scale
from liif.evaluation.definitions import (
    Axes,
    Colour,
    Compared,
    Definition,
    Fraction,
    Gray,
    Over,
    Psnr,
    Rounding,
    Ssim,
)
from liif.evaluation.measure import Measured, measure, over_set
from liif.evaluation.named import NAMED

BORDERS = ("0", "s", "s+6")
COLOUR_NAMES: tuple[Colour, ...] = get_args(Colour)
Pictures = Sequence[tuple[Tensor, Tensor]]
"""Results and true pictures, (C, H, W) in [0, 1] each."""


class Claim(NamedTuple):
    """A published number, with the digits that it has."""

    value: float
    decimals: int

    @staticmethod
    def of(text: str) -> "Claim":
        """Read a number such as 32.24. Raises ValueError."""
        value = float(text)
        if not math.isfinite(value) or "e" in text.lower():
            raise ValueError(f"{text}: must be a number such as 32.24")
        return Claim(value, len(text.partition(".")[2]))

    def fits(self, value: float) -> bool:
        """Whether a value is this number when rounded to its digits."""
        return abs(value - self.value) <= 0.5 * 10**-self.decimals + 1e-9


class Scores:
    """Scores of a set by definition, each computed when it is first asked for."""

    def __init__(self, pictures: Pictures, scale: Scale) -> None:
        self.pictures, self.scale = pictures, scale
        self.are_8_bit = all(
            bool(((sr * 255).round() - sr * 255).abs().max() < 1e-4) for sr, _ in pictures
        )
        """Whether the results have 8 bits already."""
        self._measured: dict[Definition, list[Measured]] = {}

    def of(self, definition: Definition) -> float:
        """Return the score of the set. Raises ValueError if a border leaves no pixels."""
        return over_set(definition, self.each(definition))

    def each(self, definition: Definition) -> list[Measured]:
        """Return the scores of the pictures. Definitions that differ in `eps` or `over` share the
        mean squared errors."""
        if isinstance(definition, Psnr) and definition.channels == "all":
            if definition.peak == "1" and definition.eps:
                plain = self.each(replace(definition, eps=0.0))
                return [score.with_eps(definition.eps) for score in plain]
            definition = replace(definition, over="images")
        if definition not in self._measured:
            self._measured[definition] = [
                measure(definition, sr, hr, self.scale) for sr, hr in self.pictures
            ]
        return self._measured[definition]


def possible_psnr(scores: Scores) -> Iterator[Psnr]:
    """Yield the definitions of PSNR that tools and papers have, in all combinations, the usual ones
    first; without those that mean the same for these pictures and this scale."""
    overs: list[Over] = ["images", "pixels"] if len(scores.pictures) > 1 else ["images"]
    grays: list[Gray] = ["kept", "rgb"] if _are_gray(scores.pictures) else ["kept"]
    lumas: list[Rounding] = ["float", "8bit"]
    for eps, over, luma, gray, sr, border, fraction, axes, colour in product(
        (0.0, 1e-8), overs, lumas, grays, _roundings(scores), BORDERS,
        _fractions(scores.scale), _axes(scores.scale), COLOUR_NAMES,
    ):  # fmt: skip
        if border == "0" and (fraction, axes) != ("ceil", "each"):
            continue
        if _are_gray(scores.pictures) and gray == "kept" and colour != "rgb":
            continue
        if luma == "8bit" and colour == "rgb" and (sr == "8bit" or scores.are_8_bit):
            continue  # rounded already
        yield Psnr(
            colour=colour, border=border, fraction=fraction, axes=axes, sr=sr, luma=luma,
            gray=gray, eps=eps, over=over,
        )  # fmt: skip


def possible_ssim(scores: Scores) -> Iterator[Ssim]:
    """Yield the definitions of SSIM that tools and papers have, each with every border."""
    seen: set[Ssim] = set()
    named = [both.ssim for both in NAMED.values() if both.ssim is not None]
    plain = [Ssim(colour=colour) for colour in COLOUR_NAMES]
    for each in plain + named:
        for border, fraction, axes, sr in product(
            BORDERS, _fractions(scores.scale), _axes(scores.scale), _roundings(scores)
        ):
            found = replace(each, border=border, fraction=fraction, axes=axes, sr=sr)
            if border == "0":
                found = replace(found, fraction="ceil", axes="each")
            if found not in seen:
                seen.add(found)
                yield found


def _fractions(scale: Scale) -> list[Fraction]:
    """Return how borders may be rounded, where that matters."""
    return ["ceil", "floor", "nearest"] if any(s % 1 for s in scale) else ["ceil"]


def _axes(scale: Scale) -> list[Axes]:
    """Return how the axes may share a border, where that matters."""
    return ["each", "largest"] if scale[0] != scale[1] else ["each"]


def _are_gray(pictures: Pictures) -> bool:
    return all(len(hr) == 1 for _, hr in pictures)


def _roundings(scores: Scores) -> list[Rounding]:
    """Return how results may be rounded, where that matters."""
    return ["float"] if scores.are_8_bit else ["float", "8bit"]


class Found(NamedTuple):
    """A definition and its score of the set."""

    definition: Definition
    value: float


def fitting(claim: Claim, scores: Scores, possible: Sequence[Definition]) -> list[Found]:
    """Return the definitions that give the claimed number, the best first; those for which a
    picture is too small are left out."""
    found: list[Found] = []
    for definition in possible:
        try:
            value = scores.of(definition)
        except ValueError:
            continue
        found.append(Found(definition, value))
    near = [each for each in found if claim.fits(each.value)]
    return near or sorted(found, key=lambda each: abs(each.value - claim.value))[:3]


def companion(definition: Compared) -> Ssim:
    """Return the usual SSIM of the pixels that another definition compares."""
    shared = {field.name: getattr(definition, field.name) for field in fields(Compared)}
    return Ssim(**shared)


def differing(definitions: Sequence[Definition]) -> dict[str, list[str]]:
    """Return the fields in which definitions of one metric differ, with their values."""
    values = {
        field.name: list(dict.fromkeys(str(getattr(each, field.name)) for each in definitions))
        for field in fields(definitions[0])
    }
    return {name: each for name, each in values.items() if len(each) > 1}


class Step(NamedTuple):
    """One field that was changed on the way from one definition to another."""

    definition: Definition
    field: str
    value: float
    """The score after the change."""
    change: float


def explained(first: Definition, last: Definition, scores: Scores) -> list[Step]:
    """Return the way from one definition to another of the same metric, field by field, in the
    order of the fields; the changes add up to the difference. Raises ValueError as `Scores.of`."""
    steps, current, value = [], first, scores.of(first)
    for field in fields(first):
        target = getattr(last, field.name)
        if getattr(current, field.name) != target:
            current = replace(current, **{field.name: target})
            before, value = value, scores.of(current)
            steps.append(Step(current, field.name, value, value - before))
    return steps

"""`liif metrics`: PSNR and SSIM of images by any protocol, and which protocol gives a number."""

import argparse
import math
from collections.abc import Sequence
from typing import Any

from liif.commands.arguments.shared import usage_error
from liif.commands.device import select_device
from liif.commands.quality import matched, quality_table, read_result
from liif.core.errors import UserError
from liif.core.files import to_json
from liif.core.progress import progress_bar
from liif.evaluation.claims import (
    Claim,
    Found,
    Scores,
    companion,
    differing,
    explained,
    fitting,
    possible_psnr,
    possible_ssim,
)
from liif.evaluation.definitions import Definition, Psnr, Ssim
from liif.evaluation.named import NAMED, definitions, names_of
from liif.evaluation.quality import Quality, quality_metrics


def run(options: argparse.Namespace) -> int:
    claims = _claim("--claim", options.claim), _claim("--claim-ssim", options.claim_ssim)
    asks_of_pixels = bool(options.explain or options.protocol or any(claims))
    quality = _quality(options, has_others=asks_of_pixels)
    found: dict[str, Any] = {"text": []}
    if asks_of_pixels or not quality:
        found = _of_pixels(options, claims)
    if quality:
        scored = quality_table(quality, options.sr, options.hr)
        found = {**found, **scored, "text": found["text"] + scored["text"]}
    if options.json:
        print(to_json(found, indent=2))
    else:
        print("\n".join(found["text"]))
    return 0


def _quality(options: argparse.Namespace, *, has_others: bool) -> list[Quality]:
    """Return the metrics of --metric. Raises UsageError if there is no HR, which is needed."""
    if options.hr is None and (has_others or not options.metric):
        raise usage_error("metrics", "HR is needed: the true images, a file or a folder")
    quality = quality_metrics(options.metric, select_device("auto"))
    for each in quality:
        if each.needs_reference and options.hr is None:
            raise usage_error("metrics", f"HR is needed: {each.name} compares with true images")
    return quality


def _of_pixels(
    options: argparse.Namespace, claims: tuple[Claim | None, Claim | None]
) -> dict[str, Any]:
    """Return what PSNR and SSIM say: a table, which definitions give a number, or the way from one
    protocol to another."""
    asked = [each for name in options.protocol for each in definitions(name)]
    ends = [definitions(name) for name in options.explain or ()]
    named = [each for both in NAMED.values() for each in both if each is not None]
    used = asked or [each for end in ends for each in end] or named
    if options.scale is None and any(each.border.startswith("s") for each in used):
        message = "--scale is needed: borders of some protocols depend on it; or give a --protocol "
        raise usage_error("metrics", message + "without, such as 'psnr colour=rgb border=0'")
    pairs = matched(options.sr, options.hr)
    pictures = [read_result(*pair) for pair in progress_bar(pairs, unit="image")]
    scores = Scores(pictures, options.scale or (1, 1))
    try:
        if options.explain:
            return _explanation(ends, scores)
        if any(claims):
            return _claims(claims, scores)
        names = [hr.stem for _, hr in pairs]
        return _table(options.protocol or list(NAMED), scores, names, bool(asked))
    except ValueError as error:
        raise UserError(f"{error}; give another --protocol, or larger images") from None


def _claim(option: str, text: str | None) -> Claim | None:
    if text is None:
        return None
    try:
        return Claim.of(text)
    except ValueError:
        raise usage_error("metrics", f"{option} {text}: must be a number such as 32.24") from None


def _table(
    protocols: Sequence[str], scores: Scores, names: Sequence[str], is_asked: bool
) -> dict[str, Any]:
    """Return a row for each protocol. Raises ValueError if an image is too small for one that was
    asked for."""
    rows: list[dict[str, Any]] = []
    for name in progress_bar(protocols, unit="protocol"):
        row: dict[str, Any] = {"protocol": name}
        for each in definitions(name):
            kind = type(each).__name__.lower()
            try:
                values = [measured.value for measured in scores.each(each)]
            except ValueError:
                if is_asked:
                    raise
                continue  # an image is too small for its border
            images = dict(zip(names, values, strict=True))
            row[kind] = {"definition": str(each), "value": scores.of(each), "images": images}
        rows.append(row)
    width = max(len(name) for name in protocols)
    text = [f"{_counted(scores)}", f"{'':{width}} {'PSNR, dB':>10} {'SSIM':>8}"]
    for row in rows:
        psnr, ssim = (row.get(kind, {}).get("value") for kind in ("psnr", "ssim"))
        shown = f"{_number(psnr, 4):>10} {_number(ssim, 6):>8}"
        text.append(f"{row['protocol']:{width}} {shown}".rstrip())
    return {"rows": rows, "text": text}


def _number(value: float | None, decimals: int) -> str:
    return "" if value is None else f"{value:.{decimals}f}"


def _counted(scores: Scores) -> str:
    count, (y, x) = len(scores.pictures), scores.scale
    scale = f"x{y:g}" if y == x else f"x{y:g} × {x:g}"
    return f"{count} image{'s' if count > 1 else ''}, {scale}"


def _claims(claims: tuple[Claim | None, Claim | None], scores: Scores) -> dict[str, Any]:
    """Return which definitions give the claimed numbers, and what would decide between them."""
    text, result = [_counted(scores)], dict[str, Any]()
    fits: dict[str, set[Definition]] = {}
    kinds = (("PSNR", "dB", possible_psnr), ("SSIM", "", possible_ssim))
    for claim, (kind, unit, possible) in zip(claims, kinds, strict=True):
        if claim is None:
            continue
        definitions = list(possible(scores))
        found = fitting(claim, scores, definitions)
        claimed = f"{kind} {claim.value:.{claim.decimals}f} {unit}".strip()
        is_found = claim.fits(found[0].value)
        fits[kind] = {each.definition for each in found} if is_found else set()
        if is_found:
            text += [f"{claimed} is given by {len(found)} of {len(definitions)} definitions:"]
        else:
            text += [f"{claimed} is given by none of {len(definitions)} definitions. The nearest:"]
        rows = _rows(found, scores)
        text += _listed(rows)
        if is_found:
            text += _deciding(found, scores)
        result[kind.lower()] = {
            "claim": claim.value,
            "fits": is_found,
            "definitions": _rows(found, scores),
        }
    if len(fits) == 2:
        both = _both(fits["PSNR"], fits["SSIM"], scores)
        text += ["", "Both numbers together: " + ("; ".join(both) if both else "no one protocol")]
        result["both"] = both
    return {**result, "text": text}


def _rows(found: Sequence[Found], scores: Scores) -> list[dict[str, Any]]:
    return [
        {
            "definition": str(definition),
            "value": value,
            "protocols": names_of(definition, of_8_bits=scores.are_8_bit),
        }
        for definition, value in found
    ]


def _listed(rows: Sequence[dict[str, Any]]) -> list[str]:
    lines: list[str] = []
    for row in rows:
        names = ", ".join(row["protocols"])
        shown = f"  {row['value']:.6f}  {row['definition']}"
        lines.append(shown + (f"  ({names})" if names else ""))
    return lines


def _deciding(found: Sequence[Found], scores: Scores) -> list[str]:
    """Return what distinguishes definitions that give one number, and what would decide."""
    if len(found) == 1:
        return []
    parts = differing([each.definition for each in found])
    shown = "; ".join(f"{name}: {' or '.join(values)}" for name, values in parts.items())
    lines = [f"They differ in {shown}."]
    digits = {f"{value:.4f}" for _, value in found}
    hints: list[str] = []
    if len(digits) > 1:
        hints.append(f"four decimals ({' or '.join(sorted(digits))})")
    if isinstance(found[0].definition, Psnr):
        ssims = {f"{_or_nan(companion(d), scores):.4f}" for d, _ in found}
        if len(ssims) > 1:
            hints.append(f"the SSIM of the same pixels ({' or '.join(sorted(ssims))})")
    if len(scores.pictures) == 1:
        hints.append("the mean over a set")
    return [*lines, f"What would decide: {', '.join(hints) or 'nothing on these images'}."]


def _or_nan(definition: Ssim, scores: Scores) -> float:
    try:
        return scores.of(definition)
    except ValueError:
        return math.nan


def _both(psnr: set[Definition], ssim: set[Definition], scores: Scores) -> list[str]:
    """Return the protocols that have a PSNR and an SSIM of these, by name, or as the pixels that
    are compared."""
    names = (
        {name for each in found for name in names_of(each, of_8_bits=scores.are_8_bit)}
        for found in (psnr, ssim)
    )
    common = set.intersection(*names)
    named = [name for name in NAMED if name in common]
    pixels = [
        str(each).removeprefix("psnr ")
        for each in sorted(psnr, key=str)
        if any(companion(each) == companion(other) for other in ssim)
    ]
    return named + pixels


def _explanation(ends: Sequence[Sequence[Definition]], scores: Scores) -> dict[str, Any]:
    """Return the way from one protocol to another, for each metric that both have."""
    text, result = [_counted(scores)], dict[str, Any]()
    for kind in (Psnr, Ssim):
        first, last = (next((d for d in end if isinstance(d, kind)), None) for end in ends)
        if first is None or last is None:
            continue
        start, steps = scores.of(first), explained(first, last, scores)
        text += [f"{start:10.4f}  {first}"]
        for step in steps:
            value = getattr(step.definition, step.field)
            text.append(f"{step.value:10.4f}  {step.change:+.4f}  {step.field}={value}")
        total = scores.of(last) - start
        text.append(f"{scores.of(last):10.4f}  {total:+.4f}  {last}")
        result[kind.__name__.lower()] = {
            "first": start,
            "steps": [{"field": s.field, "change": s.change, "value": s.value} for s in steps],
        }
    if not result:
        raise UserError("--explain: the two protocols have no metric in common")
    return {**result, "text": text}

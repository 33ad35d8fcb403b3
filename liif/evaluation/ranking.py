"""How sure the numbers of a table are, and the order of its rows, from the scores of each image."""

from collections.abc import Sequence
from itertools import combinations, groupby
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from liif.core.sizes import Scale, scale_value
from liif.evaluation.bootstrap import Means, difference, resampled_means
from liif.evaluation.table_config import TableCell

Comparison = dict[str, Any]
"""Two rows on one set at one scale, as in the JSON file; see docs/protocols.md."""


class RowScores(NamedTuple):
    """PSNR of a row on every image of a set at a scale."""

    names: tuple[str, ...]
    """Of the images."""
    scores: npt.NDArray[np.float64]
    """(trainings, images), in dB."""
    means: Means
    """Over the sets that are drawn from the images, and from the trainings where there are
    several."""


def row_scores(cells: Sequence[TableCell], row: int) -> RowScores | None:
    """Return the scores of the cells that differ in the seed only; None unless every image of every
    training that is there has one. `row` numbers the rows of a table."""
    found: list[dict[str, float]] = []
    for cell in cells:
        values = {m["name"]: m.get("psnr") for m in cell.measurements}
        known = {name: float(v) for name, v in values.items() if v is not None and np.isfinite(v)}
        if cell.measurements and len(known) < cell.settings.get("images", 0):
            return None
        found += [known] if known else []
    if not found:
        return None
    names = tuple(sorted(found[0]))
    scores = np.array([[each[name] for name in names] for each in found])
    return RowScores(names, scores, resampled_means(scores, row=row))


def comparisons(
    rows: Sequence[tuple[str, str, Scale, RowScores]],
) -> list[Comparison]:
    """Return the comparison of every two rows (name, set, scale, scores) of a set at a scale, the
    better one first; those that follow one another in the ranking are `neighbours`."""
    found: list[Comparison] = []
    ordered = sorted(rows, key=lambda each: (each[1], each[2]))
    for (name, scale), group in groupby(ordered, key=lambda each: each[1:3]):
        ranked = sorted(group, key=lambda each: -float(each[3].scores.mean()))
        for (i, better), (k, worse) in combinations(enumerate(ranked), 2):
            b, w = better[3], worse[3]
            if b.names != w.names:
                continue
            one = difference(w.scores, b.scores, b.means - w.means)
            found.append(
                {
                    "set": name,
                    "scale": scale_value(scale),
                    "better": better[0],
                    "worse": worse[0],
                    "difference": one.mean,
                    "low": one.low,
                    "high": one.high,
                    "stability": one.stability,
                    "wins": one.wins,
                    "images": one.images,
                    "neighbours": k == i + 1,
                }
            )
    return found

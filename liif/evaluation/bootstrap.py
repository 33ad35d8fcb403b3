"""How sure a difference between two models is, from the scores of the same images."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Difference(NamedTuple):
    """The mean of the differences between the scores of two models, image by image."""

    mean: float
    low: float
    high: float
    """The interval that holds 95 % of the means of sets drawn with replacement from the images."""
    stability: float
    """The share of these sets that rank the two models as the whole set does."""
    wins: int
    """Images on which the second model is better."""
    images: int


def paired_difference(
    first: Sequence[float], second: Sequence[float], *, resamples: int = 10_000, seed: int = 0
) -> Difference:
    """Return the difference of the second model from the first by a paired bootstrap (Efron and
    Tibshirani 1993, chapter 13): images are drawn, never scores, so that what makes an image hard
    for both cancels. It tells of other images of this kind, not of other trainings."""
    change = np.asarray(second, float) - np.asarray(first, float)
    drawn = np.random.default_rng(seed).integers(0, len(change), (resamples, len(change)))
    means = change[drawn].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    mean = float(change.mean())
    stability = float((np.sign(means) == np.sign(mean)).mean())
    return Difference(
        mean, float(low), float(high), stability, int((change > 0).sum()), len(change)
    )

"""How sure means and differences of scores are, by drawing sets of images with replacement.

Images are drawn, never scores: two models are compared on the same sets, so that what makes an
image hard for both cancels (the paired bootstrap; Efron and Tibshirani 1993, chapters 8 and 13).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

RESAMPLES = 10_000
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""97.5 % quantiles of Student's t distribution for 1 to 9 degrees of freedom."""

Means = npt.NDArray[np.float64]
"""The means of the sets that are drawn, (resamples,)."""


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
    first: Sequence[float], second: Sequence[float], *, resamples: int = RESAMPLES, seed: int = 0
) -> Difference:
    """Return the difference of the second model from the first on the same images. It tells of
    other images of this kind, not of other trainings."""
    ours, theirs = (np.asarray(each, float)[None] for each in (first, second))
    change = resampled_means(theirs - ours, resamples=resamples, seed=seed)
    return difference(ours, theirs, change)


def difference(
    first: npt.NDArray[np.float64], second: npt.NDArray[np.float64], means: Means
) -> Difference:
    """Return the difference of the second model from the first, of scores (trainings, images) and
    the means of their difference over the sets that were drawn."""
    change = second.mean(axis=0) - first.mean(axis=0)
    mean, (low, high) = float(change.mean()), interval(means)
    stability = float((np.sign(means) == np.sign(mean)).mean())
    return Difference(mean, low, high, stability, int((change > 0).sum()), len(change))


def resampled_means(
    scores: npt.NDArray[np.float64], *, resamples: int = RESAMPLES, seed: int = 0, row: int = 0
) -> Means:
    """Return the mean scores of sets that are drawn with replacement.

    Args:
        scores: (trainings, images) of one model.
        resamples: how many sets are drawn.
        seed: decides the images that are drawn, which are the same for all models with one number
            of images.
        row: decides, with the seed, which trainings are drawn with each set, where a model has
            several; another number for each model.
    """
    trainings, images = scores.shape
    drawn = np.random.default_rng(seed).integers(0, images, (resamples, images))
    if trainings == 1:
        return scores[0][drawn].mean(axis=1)
    means = np.stack([each[drawn].mean(axis=1) for each in scores])
    generator = np.random.default_rng((seed, row + 1))
    chosen = generator.integers(0, trainings, (resamples, trainings))
    return means[chosen, np.arange(resamples)[:, None]].mean(axis=1)


def interval(means: Means) -> tuple[float, float]:
    """Return the limits between which 95 % of the means are."""
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def training_interval(scores: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of the mean over further trainings, by Student's t distribution, of
    the mean scores of several; None for one. Beyond ten it is a little too wide."""
    if len(scores) < 2:
        return None
    values = np.asarray(scores, float)
    half = STUDENT[min(len(values) - 1, 9) - 1] * values.std(ddof=1) / len(values) ** 0.5
    return float(values.mean() - half), float(values.mean() + half)

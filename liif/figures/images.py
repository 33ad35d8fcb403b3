"""Plot the scores of two models against each other, image by image."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from liif.evaluation.bootstrap import Difference
from liif.figures.style import COLOURS, GRAY, panels, plot_style, printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ImageScores(NamedTuple):
    """Scores of two models on the same images of a set at a scale."""

    title: str
    first: Sequence[float]
    second: Sequence[float]
    difference: Difference


@plot_style()
def images_figure(sets: Sequence[ImageScores], names: tuple[str, str], quantity: str) -> "Figure":
    """Plot a panel for each set and scale: how much better the second model is on each image, over
    the score of the first; the line is the mean, and the band its interval of 95 %."""
    figure, axes = panels(len(sets), width=3.4, height=2.7)
    for axis, scores in zip(axes, sets, strict=True):
        change = [b - a for a, b in zip(scores.first, scores.second, strict=True)]
        axis.axhline(0, color=GRAY, linewidth=0.8)
        axis.axhspan(scores.difference.low, scores.difference.high, color=COLOURS[0], alpha=0.15)
        axis.axhline(scores.difference.mean, color=COLOURS[0], linewidth=1)
        axis.plot(scores.first, change, marker="o", linestyle="none", color=COLOURS[0], alpha=0.7)
        axis.set(
            title=printable(scores.title),
            xlabel=printable(f"{quantity} of {names[0]}"),
            ylabel=printable(f"{names[1]} above {names[0]}"),
        )
    return figure

"""Plot scores over scale."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from liif.evaluation.results import ScorePoint
from liif.figures.style import GRAY, Style, legend, line_styles, panels, plot_style, printable, tint

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RING: Style = {"marker": "o", "linestyle": "none", "fillstyle": "none", "markersize": 8, "mew": 0.7}


@plot_style()
def scores_figure(points: Sequence[ScorePoint], quantity: str) -> "Figure":
    """Plot a quantity over scale, with a panel for each set and a line for each method.

    Bicubic is gray. Rings are published values, pale markers are scales outside the training, and
    bars are the standard deviation over several trainings, upwards and downwards.
    """
    sets = list(dict.fromkeys(point.set for point in points))
    styles = line_styles(point.method for point in points)
    figure, axes = panels(len(sets), width=3.8, height=2.9)
    handles = dict(styles)
    for axis, name in zip(axes, sets, strict=True):
        here = sorted((p for p in points if p.set == name), key=_position)
        for method, style in styles.items():
            if not (its := [p for p in here if p.method == method]):
                continue
            x, y = [_position(p) for p in its], [p.value for p in its]
            axis.plot(x, y, **style, label=method, markevery=[p.trained for p in its])
            if any(p.deviation is not None for p in its):
                bars = [p.deviation or 0 for p in its]
                axis.errorbar(x, y, bars, fmt="none", color=style["color"], capsize=2)
            if not all(p.trained for p in its):
                pale: Style = {"linestyle": "none", "markerfacecolor": tint(style["color"])}
                axis.plot(x, y, **{**style, **pale}, markevery=[not p.trained for p in its])
                pale |= {"markerfacecolor": tint(GRAY), "color": GRAY, "marker": "o"}
                handles["beyond training"] = pale
            if published := [(_position(p), p.published) for p in its if p.published is not None]:
                axis.plot(*zip(*published, strict=True), **RING, color=style["color"])
                handles["published"] = {**RING, "color": GRAY}
        axis.set(title=printable(name), xlabel="scale", ylabel=printable(quantity), xscale="log")
        ticks = {_position(p): p.scale for p in here}
        axis.set_xticks(list(ticks), _tick_labels(ticks))
        axis.set_xticks([], minor=True)
    legend(figure, handles)
    return figure


def _position(point: ScorePoint) -> float:
    """Return the position of a scale on the axis: the geometric mean of its axes."""
    return math.sqrt(point.scale[0] * point.scale[1])


def _tick_labels(ticks: Mapping[float, tuple[float, float]]) -> list[str]:
    """Return x2, x3, … for increasing positions; "" where a label would overlap the one before."""
    labels: list[str] = []
    distance = 0.07 * math.log(max(ticks) / min(ticks))
    last = -math.inf
    for position, (y, x) in ticks.items():
        fits = math.log(position) - last >= distance
        last = math.log(position) if fits else last
        labels.append(f"x{y:g}" * fits + f",{x:g}" * (fits and x != y))
    return labels

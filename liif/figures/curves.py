"""Plot the training curves of runs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from liif.evaluation.results import RunCurves
from liif.figures.style import GRAY, Style, legend, line_styles, panels, plot_style, printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@plot_style()
def curves_figure(runs: Sequence[RunCurves]) -> "Figure":
    """Plot training loss, validation PSNR at every scale and learning rate over step."""
    from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullFormatter

    scales = list(dict.fromkeys(scale for run in runs for scale in run.psnr))
    styles = line_styles(run.label for run in runs)
    figure, axes = panels(len(scales) + 2, width=3.3, height=2.4)
    loss, *quality, rate = axes
    for axis in axes[1:]:
        axis.sharex(loss)
    handles = dict(styles)
    for run in runs:
        style = styles[run.label]
        line: Style = {**style, "marker": ""}
        if run.loss:
            steps, values = zip(*run.loss, strict=True)
            loss.plot(steps, values, **line, linewidth=0.7, alpha=0.3)
            loss.plot(steps, smoothed(values), **line)
        if run.learning_rate:
            rate.plot(*zip(*run.learning_rate, strict=True), **line)
        for axis, scale in zip(quality, scales, strict=True):
            if found := run.psnr.get(scale):
                # More markers than that would hide the line.
                axis.plot(*zip(*found, strict=True), **(style if len(found) <= 25 else line))
    for axis, scale in zip(quality, scales, strict=True):
        axis.set(title=printable(f"validation {scale}"), ylabel="PSNR (dB)")
        for value in {round(run.bicubic[scale], 3) for run in runs if scale in run.bicubic}:
            axis.axhline(value, color=GRAY, linestyle="--", zorder=1.5)
            handles["bicubic"] = {"color": GRAY, "linestyle": "--"}
    loss.set(title="training loss (pale: unsmoothed)", ylabel="L1 loss", yscale="log")
    loss.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    loss.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    loss.yaxis.set_minor_formatter(NullFormatter())
    rate.set(title="learning rate", ylabel="learning rate", ylim=(0, None))
    rate.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    for axis in axes:
        axis.set_xlabel("step")
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    legend(figure, handles)
    return figure


def smoothed(values: Sequence[float]) -> np.ndarray:
    """Return the means over a window of a twentieth of the curve, which narrows at both ends."""
    i = np.arange(len(values))
    reach = np.minimum(1 + len(values) // 40, np.minimum(i, i[::-1]))
    sums = np.concatenate([[0], np.cumsum(values)])
    return (sums[i + reach + 1] - sums[i - reach]) / (2 * reach + 1)

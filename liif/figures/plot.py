"""Figures from results: scores over scale, training curves, the same crop by several methods.

matplotlib is an extra, imported where something is drawn. Nothing global changes: there is no
pyplot, and its settings hold inside `styled` only.
"""

import io
import math
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from PIL import Image

from liif.core.errors import UserError
from liif.evaluation.results import RunCurves, ScorePoint
from liif.figures.crops import Scene

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

SUFFIXES = (".png", ".pdf")
DPI = 300
PANEL_PX = 420
"""Crops are enlarged by the largest whole number that keeps them within this, and larger ones drawn
as they are: every pixel of a crop is a square of whole pixels of the figure."""
OVERVIEW_PX = 500
GAP_PX = 24
TEXT_PX = 52
LARGEST_PX = 65_535

Look = dict[str, Any]
"""How matplotlib is to draw something."""

# Okabe and Ito's colours, told apart by all kinds of colour vision; without yellow, too pale here.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "os^DvPX<"
GRAY = "#7f7f7f"
STYLE: Look = {
    "figure.dpi": DPI,
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same figure everywhere
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "lines.linewidth": 1.3,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # whole fonts, which publishers ask for
    "text.parse_math": False,  # a dollar sign in a file's name starts no formula
}


@contextmanager
def styled() -> Generator[None, None, None]:
    """Inside, matplotlib draws in our style. Raises UserError where there is no matplotlib."""
    try:
        import matplotlib
    except ImportError:
        raise UserError('drawing needs matplotlib: pip install "liif[plot]"') from None
    with matplotlib.rc_context(cast(Any, STYLE)):
        yield


@styled()
def rendered(figure: "Figure", suffix: str) -> bytes:
    """The content of a file with one of SUFFIXES; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    form = suffix.lower().removeprefix(".")
    figure.savefig(buffer, format=form, metadata={"CreationDate": None} if form == "pdf" else None)
    return buffer.getvalue()


@styled()
def scores_figure(points: Sequence[ScorePoint], quantity: str) -> "Figure":
    """`quantity` over scale: a panel per set, a line per method, bicubic in gray. Published values
    are rings; scales that a model was not trained for have pale markers."""
    sets = list(dict.fromkeys(point.set for point in points))
    looks = _looks(point.method for point in points)
    figure, axes = _panels(len(sets), width=3.8, height=2.9)
    handles = {line: _sample(**look) for line, look in looks.items()}
    for axis, name in zip(axes, sets, strict=True):
        here = sorted((p for p in points if p.set == name), key=_position)
        for line, look in looks.items():
            its = [p for p in here if p.method == line]
            if not its:
                continue
            x, y = [_position(p) for p in its], [p.value for p in its]
            axis.plot(x, y, **look, label=line, markevery=[p.trained for p in its])
            if not all(p.trained for p in its):
                pale: Look = {"linestyle": "none", "markerfacecolor": _tint(look["color"])}
                axis.plot(x, y, **{**look, **pale}, markevery=[not p.trained for p in its])
                pale["markerfacecolor"] = _tint(GRAY)
                handles["beyond training"] = _sample(color=GRAY, marker="o", **pale)
            published = [(_position(p), p.published) for p in its if p.published is not None]
            if published:
                ring: Look = {"marker": "o", "linestyle": "none", "fillstyle": "none"}
                ring |= {"markersize": 8, "markeredgewidth": 0.7}
                axis.plot(*zip(*published, strict=True), **ring, color=look["color"])
                handles["published"] = _sample(color=GRAY, **ring)
        axis.set(title=printable(name), xlabel="scale", ylabel=printable(quantity), xscale="log")
        ticks = {_position(p): p.scale for p in here}
        axis.set_xticks(list(ticks), _tick_labels(ticks))
        axis.set_xticks([], minor=True)
    _legend(figure, handles)
    return figure


@styled()
def curves_figure(runs: Sequence[RunCurves]) -> "Figure":
    """Training loss, validation PSNR at every scale and learning rate over step, of all runs."""
    from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullFormatter

    scales = list(dict.fromkeys(scale for run in runs for scale in run.psnr))
    looks = _looks(run.label for run in runs)
    figure, axes = _panels(len(scales) + 2, width=3.3, height=2.4)
    loss, *quality, rate = axes
    for axis in axes[1:]:
        axis.sharex(loss)
    handles = {label: _sample(**look) for label, look in looks.items()}
    for run in runs:
        look = looks[run.label]
        line: Look = {**look, "marker": ""}
        if run.loss:
            steps, values = zip(*run.loss, strict=True)
            loss.plot(steps, values, **line, linewidth=0.7, alpha=0.3)
            loss.plot(steps, smoothed(values), **line)
        if run.learning_rate:
            rate.plot(*zip(*run.learning_rate, strict=True), **line)
        for axis, scale in zip(quality, scales, strict=True):
            if found := run.psnr.get(scale):
                # More markers would hide the line.
                axis.plot(*zip(*found, strict=True), **(look if len(found) <= 25 else line))
    for axis, scale in zip(quality, scales, strict=True):
        axis.set(title=printable(f"validation {scale}"), ylabel="PSNR (dB)")
        for value in {round(run.bicubic[scale], 3) for run in runs if scale in run.bicubic}:
            axis.axhline(value, color=GRAY, linestyle="--", zorder=1.5)
            handles["bicubic"] = _sample(color=GRAY, linestyle="--")
    loss.set(title="training loss (pale: as logged)", ylabel="L1 loss", yscale="log")
    loss.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    loss.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    loss.yaxis.set_minor_formatter(NullFormatter())
    rate.set(title="learning rate", ylabel="learning rate", ylim=(0, None))
    rate.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    for axis in axes:
        axis.set_xlabel("step")
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    _legend(figure, handles)
    return figure


@styled()
def crops_figure(scenes: Sequence[Scene]) -> "Figure":
    """A row for every image and scale, PSNR under the crops; on the left the image and its box.

    Raises:
        UserError: larger than can be drawn.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    titles = list(scenes[0].rows[0].crops)
    zooms = [max(1, PANEL_PX // max(scene.box.w, scene.box.h)) for scene in scenes]
    widths = [scene.box.w * zoom for scene, zoom in zip(scenes, zooms, strict=True)]
    column = max(PANEL_PX // 2, *widths)  # room for what stands above and below
    lefts = [OVERVIEW_PX + 3 * GAP_PX + i * (column + GAP_PX) for i in range(len(titles))]
    steps = [s.box.h * zoom + TEXT_PX + GAP_PX for s, zoom in zip(scenes, zooms, strict=True)]
    rows = sum(step * len(scene.rows) for step, scene in zip(steps, scenes, strict=True))
    W, H = lefts[-1] + column + GAP_PX, TEXT_PX + GAP_PX + rows + TEXT_PX
    if max(W, H) > LARGEST_PX:
        raise UserError(
            f"the figure would have {W}×{H} px, more than {LARGEST_PX} along a side; draw fewer "
            "images or scales, or smaller boxes"
        )
    # A hundredth of a pixel more, because the size is rounded down.
    figure = Figure(figsize=((W + 0.01) / DPI, (H + 0.01) / DPI))

    def write(middle: float, y: float, text: str, room: int, weight: str = "normal") -> None:
        size = min(8, 72 / DPI * room / (0.62 * max(1, len(text))))  # a letter is 0.62 of it
        look: Look = {"fontsize": size, "weight": weight, "ha": "center", "va": "center"}
        figure.text(middle / W, 1 - y / H, printable(text), **look)

    def draw(x: float, y: float, image: np.ndarray, label: str) -> "Axes":
        h, w = image.shape[:2]
        axis = figure.add_axes((x / W, 1 - (y + h) / H, w / W, h / H), label=label)
        axis.imshow(image, interpolation="none", aspect="auto")
        axis.set_axis_off()
        return axis

    for left, title in zip(lefts, titles, strict=True):
        write(left + column / 2, GAP_PX + TEXT_PX / 2, title, column)
    top = TEXT_PX + GAP_PX
    for scene, zoom, step in zip(scenes, zooms, steps, strict=True):
        h, w = scene.image.shape[:2]
        fit = min(OVERVIEW_PX / w, (step * len(scene.rows) - TEXT_PX - GAP_PX) / h)
        size = max(1, round(w * fit)), max(1, round(h * fit))
        small = np.asarray(Image.fromarray(scene.image).resize(size, Image.Resampling.LANCZOS))
        overview = draw(GAP_PX + (OVERVIEW_PX - size[0]) / 2, top, small, scene.name)
        for colour, thick in (("white", 2.4), (COLOURS[1], 1.2)):
            x, y, width, height = (fit * n for n in scene.box)
            look: Look = {"fill": False, "edgecolor": colour, "linewidth": thick}
            overview.add_patch(Rectangle((x - 0.5, y - 0.5), width, height, **look))
        write(GAP_PX + OVERVIEW_PX / 2, top + size[1] + TEXT_PX / 2, scene.name, OVERVIEW_PX)
        for row in scene.rows:
            best = max(row.psnr.values(), default=None)
            captions = {titles[0]: f"x{row.scale:g}"}
            captions |= {name: f"{value:.2f} dB" for name, value in row.psnr.items()}
            for left, title in zip(lefts, titles, strict=True):
                crop = row.crops[title].repeat(zoom, axis=0).repeat(zoom, axis=1)
                draw(left + (column - crop.shape[1]) // 2, top, crop, f"{title} x{row.scale:g}")
                weight = "bold" if row.psnr.get(title) == best else "normal"
                below = top + crop.shape[0] + TEXT_PX / 2
                write(left + column / 2, below, captions.get(title, ""), column, weight)
            top += step
    write(W / 2, H - TEXT_PX / 2, "Numbers: PSNR of the crop, RGB", W)
    return figure


def smoothed(values: Sequence[float]) -> np.ndarray:
    """Means over a window of a twentieth of the curve, which narrows towards both ends."""
    i = np.arange(len(values))
    reach = np.minimum(1 + len(values) // 40, np.minimum(i, i[::-1]))
    sums = np.concatenate([[0], np.cumsum(values)])
    return (sums[i + reach + 1] - sums[i - reach]) / (2 * reach + 1)


def printable(text: str) -> str:
    """Bytes of a file's name that are no text become question marks."""
    return text.encode(errors="replace").decode()


def _looks(names: Iterable[str]) -> dict[str, Look]:
    """Colour, marker and kind of line for every name; bicubic, the reference, comes last."""
    gray: Look = {"color": GRAY, "marker": ".", "linestyle": "--", "zorder": 1.5}
    looks: dict[str, Look] = {}
    for i, name in enumerate(sorted(dict.fromkeys(names), key=_is_reference)):
        # Seven colours and eight markers: 56 lines before a look comes back.
        look = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}
        looks[name] = gray if _is_reference(name) else look
    return looks


def _is_reference(name: str) -> bool:
    return name.lower().startswith("bicubic")


def _sample(**look: Any) -> "Line2D":  # noqa: ANN401
    from matplotlib.lines import Line2D

    return Line2D([], [], **look)


def _tint(colour: str) -> tuple[float, ...]:
    from matplotlib.colors import to_rgb  # opaque, so that no line shines through

    return tuple(0.3 * part + 0.7 for part in to_rgb(colour))


def _panels(count: int, *, width: float, height: float) -> "tuple[Figure, list[Axes]]":
    """A figure with so many axes, of a size in inches, in rows of up to three."""
    from matplotlib.figure import Figure

    columns = 2 if count == 4 else min(3, count)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for spare in axes[count:]:
        spare.remove()
    return figure, axes[:count]


def _legend(figure: "Figure", handles: "Mapping[str, Line2D]") -> None:
    """One for all panels, below them."""
    # matplotlib leaves out labels that start with an underscore.
    labels = [printable(f" {name}" if name.startswith("_") else name) for name in handles]
    fitting = int(figure.get_figwidth() * 15 / (max(map(len, labels)) + 8))  # 15 letters an inch
    columns = max(1, min(fitting, len(labels)))
    figure.set_figheight(figure.get_figheight() + 0.18 * math.ceil(len(labels) / columns))
    figure.legend(list(handles.values()), labels, loc="outside lower center", ncols=columns)


def _position(point: ScorePoint) -> float:
    """Where a scale is on the axis; an uneven one where an even one makes as many pixels."""
    return math.sqrt(point.scale[0] * point.scale[1])


def _tick_labels(ticks: Mapping[float, tuple[float, float]]) -> list[str]:
    """x2, x3, … for rising positions; empty where it would run into the one before."""
    labels: list[str] = []
    apart = 0.07 * math.log(max(ticks) / min(ticks))
    last = -math.inf
    for at, (y, x) in ticks.items():
        fits = math.log(at) - last >= apart
        last = math.log(at) if fits else last
        labels.append(f"x{y:g}" * fits + f",{x:g}" * (fits and x != y))
    return labels

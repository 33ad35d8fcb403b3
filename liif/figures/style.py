"""The style that all plots share, and the helpers that draw legends and panels.

matplotlib is installed by the extra [plot] and imported only to draw. Nothing global changes:
pyplot is not used, and settings are limited to `plot_style`.
"""

import io
import math
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from itertools import cycle
from typing import TYPE_CHECKING, Any, cast

from liif.core.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".pdf", ".svg")
METRIC_LABELS = {
    "psnr": "PSNR (dB)",
    "psnr_rgb": "PSNR, RGB (dB)",
    "psnr_y": "PSNR, luma (dB)",
    "ssim": "SSIM",
}
"""Labels of axes, by metric; psnr is that of the channels of the set's protocol."""
DPI = 300

Style = dict[str, Any]
"""Keyword arguments of matplotlib that set the appearance of an artist."""

# Colours of Okabe and Ito, which people with any colour vision can tell apart. Yellow is missing,
# because it is too pale on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "os^DvPX<"
GRAY = "#7f7f7f"
STYLE: Style = {
    "figure.dpi": DPI,
    "font.family": "DejaVu Sans",  # part of matplotlib: the same on every machine
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "lines.linewidth": 1.3,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # TrueType fonts, which publishers require
    "svg.hashsalt": "liif",  # names in the file, which would be random
    "text.parse_math": False,  # file names may contain dollar signs
}


@contextmanager
def plot_style() -> Generator[None, None, None]:
    """Set the style for the plots drawn inside. Raises UserError without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        raise UserError('drawing needs matplotlib: pip install "liif[plot]"') from None
    with matplotlib.rc_context(cast(Any, STYLE)):
        yield


@plot_style()
def encode_figure(figure: "Figure", suffix: str) -> bytes:
    """Return the content of a file with one of SUFFIXES, which does not depend on the time."""
    buffer, kind = io.BytesIO(), suffix.lower().removeprefix(".")
    metadata = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(kind)
    figure.savefig(buffer, format=kind, metadata=metadata)
    return buffer.getvalue()


def printable(text: str) -> str:
    """Return text with a question mark for every undecodable byte of a file name."""
    return text.encode(errors="replace").decode()


def line_styles(names: Iterable[str]) -> dict[str, Style]:
    """Return the style of the line of every name; bicubic, the reference, is gray and last."""
    gray: Style = {"color": GRAY, "marker": ".", "linestyle": "--", "zorder": 1.5}
    names = dict.fromkeys(names)
    references = [name for name in names if name.lower().startswith("bicubic")]
    # Seven colours and eight markers give 56 different lines.
    looks = zip((name for name in names if name not in references), cycle(COLOURS), cycle(MARKERS))
    styles: dict[str, Style] = {n: {"color": colour, "marker": mark} for n, colour, mark in looks}
    return styles | dict.fromkeys(references, gray)


def tint(colour: str) -> tuple[float, ...]:
    """Return a pale, opaque version of a colour."""
    from matplotlib.colors import to_rgb

    return tuple(0.3 * part + 0.7 for part in to_rgb(colour))


def panels(count: int, *, width: float, height: float) -> "tuple[Figure, list[Axes]]":
    """Return a figure of `count` axes in rows of up to three; sizes of one are in inches."""
    from matplotlib.figure import Figure

    columns = 2 if count == 4 else min(3, count)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for spare in axes[count:]:
        spare.remove()
    return figure, axes[:count]


def legend(figure: "Figure", handles: Mapping[str, Style]) -> None:
    """Draw one legend for all panels, below them: a line of each style with its name."""
    from matplotlib.lines import Line2D

    # matplotlib omits labels that start with an underscore.
    labels = [printable(f" {name}" if name.startswith("_") else name) for name in handles]
    fitting = int(figure.get_figwidth() * 15 / (max(map(len, labels)) + 8))  # 15 letters an inch
    columns = max(1, min(fitting, len(labels)))
    figure.set_figheight(figure.get_figheight() + 0.18 * math.ceil(len(labels) / columns))
    lines = [Line2D([], [], **style) for style in handles.values()]
    figure.legend(lines, labels, loc="outside lower center", ncols=columns)

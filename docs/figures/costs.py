"""The figure of what decoders cost, for models.py. The numbers are those of the table in models.md,
which a test compares with what the command `liif models decoders` counts."""

import math
from collections.abc import Iterator
from pathlib import Path

from svg import Figure

PAGE = Path(__file__).parent.parent / "models.md"


def table() -> Iterator[tuple[str, float, float]]:
    """Yield each decoder's name and its multiplications per output and per input pixel."""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if not line.startswith("| `"):
            continue
        name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        if len(cells) == 6:  # the encoders have fewer
            yield name.replace("`", ""), number(cells[2]), number(cells[1])


def number(text: str) -> float:
    """Return the number of a cell, such as "1.43 M" or "355 k + 648 n", of which n is left out."""
    first, unit = (text.partition(" +")[0] + " ").split(" ")[:2]
    return float(first) * {"": 1, "k": 1e3, "M": 1e6}[unit]


def costs() -> Figure:
    """Multiplications per input pixel over those per output pixel, of every decoder."""
    fig = Figure(860, 440, "What the decoders cost")
    left, top, w, h = 90, 48, 740, 330
    fig.text(left, 24, "Multiplications of each decoder at x4, in colour", "title")

    def place(per_output: float, per_input: float) -> tuple[float, float]:
        x = left + w * math.log10(max(per_output, 1)) / 7
        return x, top + h - h * (math.log10(max(per_input, 1e3)) - 3) / 4

    corners = [place(10**k / 16, 10**k) for k in (3, 7)]
    fig.line(*corners, kind="faint dashed")
    fig.text(corners[1][0] - 26, top + 16, "equal shares at x4", "small soft end")
    for k in range(8):
        x, _ = place(10**k, 1)
        fig.line((x, top), (x, top + h), kind="faint")
        fig.text(
            x,
            top + h + 18,
            ("1", "10", "100", "1 k", "10 k", "100 k", "1 M", "10 M")[k],
            "small middle",
        )
    for k in range(3, 8):
        _, y = place(1, 10**k)
        fig.line((left, y), (left + w, y), kind="faint")
        fig.text(left - 8, y + 4, ("1 k", "10 k", "100 k", "1 M", "10 M")[k - 3], "small end")
    below, before = {"srno", "lm-liif", "fourier"}, {"clit", "linf", "liif", "hiif"}
    for name, per_output, per_input in table():
        x, y = place(per_output, per_input)
        fig.dot(x, y, 5, "b" if name == "liif" else "a")
        if not per_input:
            fig.text(x + 10, y - 8, f"{name}: 0 per input pixel", "small end")
        elif name in below:
            fig.text(x, y + 20, name, "small middle")
        elif name in before:
            fig.text(x - 10, y + 4, name, "small end")
        else:
            fig.text(x + 10, y + 4, name, "small")
    fig.text(left + w / 2, top + h + 42, "per output pixel", "middle")
    style = f"transform: rotate(-90deg); transform-origin: 26px {top + h / 2}px"
    fig.text(26, top + h / 2, "per input pixel", "middle", style)
    return fig

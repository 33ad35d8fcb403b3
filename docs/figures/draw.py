"""Draw the figures of concepts.md: python docs/figures/draw.py

liif/models/geometry.py computes their coordinates, offsets and weights.
"""

from fractions import Fraction
from pathlib import Path

import torch
from svg import Figure

from liif.models.geometry import corners, nearest, pixel_centres

HERE = Path(__file__).parent


def centres(n: int) -> list[float]:
    return pixel_centres(n, torch.zeros(0)).tolist()


def as_fraction(number: float) -> str:
    """Return a number as a fraction, with a typographic minus sign."""
    fraction = Fraction(number).limit_denominator(99)
    return str(fraction).replace("-", "−")


def pixels() -> Figure:
    """Coordinates of an image, and of two images of different sizes along one axis."""
    fig = Figure(860, 330, "Pixel centres and coordinates")
    left, top, side, rows, cols = 90, 80, 66, 3, 4
    w, h = side * cols, side * rows
    fig.text(left, 24, "An image of 3 × 4 pixels", "title")
    fig.fill(left + 2 * side, top, side, side, "b", 0.2)
    fig.grid(left, top, w, h, rows, cols)
    fig.box(left, top, w, h)
    fig.arrow((left - 10, top - 12), (left + w + 14, top - 12))
    fig.text(left + w + 20, top - 8, "x")
    fig.arrow((left - 12, top - 10), (left - 12, top + h + 14))
    fig.text(left - 16, top + h + 30, "y")
    for j, x in enumerate(centres(cols)):
        fig.text(left + (j + 0.5) * side, top - 20, as_fraction(x), "small middle")
    for i, y in enumerate(centres(rows)):
        fig.text(left - 20, top + (i + 0.5) * side + 4, as_fraction(y), "small end")
        for j in range(cols):
            fig.dot(left + (j + 0.5) * side, top + (i + 0.5) * side)
    at = f"({as_fraction(centres(rows)[0])}, {as_fraction(centres(cols)[2])})"
    fig.text(left + 2.5 * side, top + 0.5 * side + 20, at, "small middle")
    fig.text(left - 20, top - 20, "−1", "small end")
    fig.text(left + w + 6, top + h + 16, "(1, 1)", "small")

    x0, span = 480, 330
    fig.text(x0, 24, "One axis, two sizes: the span is the same", "title")
    for n, y, name in ((4, 90, "n = 4"), (10, 200, "N = 10")):
        fig.text(x0 - 16, y + 26, name, "small end")
        fig.grid(x0, y, span, 44, 1, n)
        fig.box(x0, y, span, 44)
        for c in centres(n):
            fig.dot(x0 + (c + 1) / 2 * span, y + 22)
    queried = centres(10)[5]
    at = nearest(torch.tensor([queried]), 4)
    code = int(at.at)
    fig.fill(x0 + span * 0.5, 200, span / 10, 44, "a", 0.35)
    fig.fill(x0 + span * code / 4, 90, span / 4, 44, "b", 0.2)
    query_x, code_x = x0 + (queried + 1) / 2 * span, x0 + (centres(4)[code] + 1) / 2 * span
    fig.line((query_x, 222), (query_x, 112), kind="faint dashed")
    fig.line((code_x, 112), (code_x, 160), kind="faint dashed")
    fig.arrow((code_x, 156), (query_x, 156))
    fig.text(code_x + 10, 160, f"offset {as_fraction(float(at.offset))}", "small")
    fig.text(query_x, 262, "pixel 5: −1 + 11/10 = 1/10", "small middle")
    for x, name in ((x0, "−1"), (x0 + span, "1")):
        fig.line((x, 70), (x, 290), kind="faint dashed")
        fig.text(x, 64, name, "small middle")
        fig.text(x, 306, name, "small middle")
    fig.text(x0, 326, "pixel i of n is centred at −1 + (2i + 1)/n", "")
    return fig


def cell() -> Figure:
    """The cell at several scales, in half-pixels of the low-resolution grid."""
    fig = Figure(860, 268, "The cell: the size of the queried pixel")
    side = 150
    panels = (((1, 1), "x1"), ((2, 2), "x2"), ((4, 4), "x4"), ((2, 4), "x2 high, x4 wide"))
    for number, ((sy, sx), name) in enumerate(panels):
        left, top = 50 + number * 208, 56
        fig.text(left + side / 2, 24, name, "title middle")
        row, col = sy // 2, sx // 2
        fig.fill(left + col * side / sx, top + row * side / sy, side / sx, side / sy, "a", 0.35)
        fig.grid(left, top, side, side, sy, sx)
        fig.box(left, top, side, side)
        fig.dot(left + side / 2, top + side / 2, 9 if row == 0 else 5, "b")
        fig.cross(left + (col + 0.5) * side / sx, top + (row + 0.5) * side / sy, 4)
        y, x = top + (row + 1) * side / sy, left + col * side / sx
        fig.arrow((x, y + 12), (x + side / sx, y + 12), both=True)
        fig.arrow((x - 12, y - side / sy), (x - 12, y), both=True)
        fig.text(
            left + side / 2, 244, f"cell = ({as_fraction(2 / sy)}, {as_fraction(2 / sx)})", "middle"
        )
    words = "a low-resolution pixel, its code (dot) and the queried pixel (✕); cells in "
    words += "half-pixels of the low-resolution grid, (height, width): 2/scale"
    fig.text(430, 264, words, "small soft middle")
    return fig


def ensemble() -> Figure:
    """Areas and the codes that they weight; a line with and without the ensemble."""
    fig = Figure(860, 350, "The local ensemble")
    left, top, side = 60, 70, 220
    fig.text(left, 24, "Four codes, four areas", "title")
    colours = ("a", "b", "c", "d")
    y, x = 0.32, 0.64  # of the way from the first code to the next
    # The same point in coordinates: the codes are the centres of an image of 2 × 2 pixels.
    found = list(corners(torch.tensor([y - 0.5]), torch.tensor([x - 0.5]), (2, 2), ensemble=True))
    qx, qy = left + x * side, top + y * side
    xs, ys = (left, qx, left + side), (top, qy, top + side)
    for k, (colour, corner) in enumerate(zip(colours, found, strict=True)):
        i, j = divmod(3 - k, 2)  # the rectangle diagonally opposite to code k
        w, h = xs[j + 1] - xs[j], ys[i + 1] - ys[i]
        fig.fill(xs[j], ys[i], w, h, colour, 0.3)
        middle = xs[j] + w / 2, ys[i] + h / 2 + 5
        fig.text(*middle, f"{float(corner.weight):.2f}", "middle title", f"fill: var(--{colour})")
    fig.line((left + side / 2, top - 26), (left + side / 2, top + side + 26), kind="faint dashed")
    fig.line((left - 26, top + side / 2), (left + side + 26, top + side / 2), kind="faint dashed")
    for k, (colour, corner) in enumerate(zip(colours, found, strict=True)):
        i, j = divmod(k, 2)
        assert (int(corner.row), int(corner.col)) == (i, j)
        cx, cy = left + j * side, top + i * side
        fig.dot(cx, cy, 9, colour)
        label = f"code {'ABCD'[k]}"
        fig.text(cx, cy + (28 if i else -18), label, "middle", f"fill: var(--{colour})")
    fig.cross(qx, qy)
    fig.text(left + side / 2, top + side + 48, "✕ query; dashed: borders of pixels", "small middle")

    x0, y0, w, h = 420, 60, 400, 210
    fig.text(x0, 24, "Along a line: the nearest code alone, and the ensemble", "title")
    levels, slopes = (0.25, 0.72, 0.4, 0.8), (0.3, -0.15, 0.4, -0.3)
    px = w / 4
    for j in range(5):
        fig.line((x0 + j * px, y0), (x0 + j * px, y0 + h), kind="faint dashed")

    def predicted(code: int, at: float) -> float:
        """Return the prediction of one code at a distance from the left, in pixels."""
        return levels[code] + slopes[code] * (at - code - 0.5)

    def height(value: float) -> float:
        return y0 + h * (1 - value)

    for j in range(4):
        ends = [(x0 + at * px, height(predicted(j, at))) for at in (j, j + 1)]
        fig.line(*ends, kind="line thick", style="stroke: var(--b)")
    points: list[tuple[float, float]] = []
    for step in range(0, 401, 5):
        at = step / 100
        first = min(max(int(at - 0.5), 0), 3) if at >= 0.5 else 0
        second = min(first + 1, 3) if at >= 0.5 else 0
        share = min(max(at - first - 0.5, 0), 1)
        value = (1 - share) * predicted(first, at) + share * predicted(second, at)
        points.append((x0 + at * px, height(value)))
    fig.line(*points, kind="line thick", style="stroke: var(--a)")
    for j in range(4):
        fig.dot(x0 + (j + 0.5) * px, y0 + h + 14, 5)
    fig.text(x0 - 12, y0 + h + 18, "codes", "small soft end")
    for number, (colour, words) in enumerate(
        (("b", "nearest code alone: a jump at every border"), ("a", "ensemble: continuous"))
    ):
        y = y0 + h + 44 + 22 * number
        line = "line thick"
        fig.line((x0, y - 5), (x0 + 30, y - 5), kind=line, style=f"stroke: var(--{colour})")
        fig.text(x0 + 40, y, words, "small")
    return fig


def unfold() -> Figure:
    """A code becomes its 3×3 neighbourhood, with zeros outside."""
    fig = Figure(860, 330, "Feature unfolding")
    left, top, side = 70, 84, 34
    fig.text(left, 24, "Feature map, C numbers per pixel", "title")
    rows, cols = 6, 8
    for row, col, colour in ((3, 5, "b"), (0, 0, "a")):
        fig.fill(left + (col - 1) * side, top + (row - 1) * side, 3 * side, 3 * side, colour, 0.2)
        fig.fill(left + col * side, top + row * side, side, side, colour, 0.45)
    for x, y in ((-1, -1), (0, -1), (1, -1), (-1, 0), (-1, 1)):
        fig.text(left + (x + 0.5) * side, top + (y + 0.5) * side + 5, "0", "small soft middle")
    fig.grid(left, top, cols * side, rows * side, rows, cols)
    fig.box(left, top, cols * side, rows * side)
    fig.box(left - side, top - side, 3 * side, 3 * side, "faint dashed")
    x0, width, height = 500, 300, 30
    for y, colour, zeros, name in (
        (100, "a", {0, 1, 2, 3, 6}, "code of the corner: zeros beyond the image"),
        (218, "b", set[int](), "code of an inner pixel"),
    ):
        fig.text(x0, y - 14, name, "")
        for k in range(9):
            alpha = 0 if k in zeros else 0.45 if k == 4 else 0.2
            fig.fill(x0 + k * width / 9, y, width / 9, height, colour, alpha)
            word = "0" if k in zeros else "C"
            fig.text(x0 + (k + 0.5) * width / 9, y + 20, word, "small middle")
        fig.grid(x0, y, width, height, 1, 9)
        fig.box(x0, y, width, height)
    fig.arrow((left + 2 * side + 6, top - side / 2), (420, top - side / 2), (490, 110))
    fig.arrow((left + 7 * side + 6, top + 3.5 * side), (420, top + 3.5 * side), (490, 230))
    fig.text(x0, 282, "9C numbers: the code and its eight neighbours.", "small")
    fig.text(x0, 300, "With C = 64 that is 576.", "small")
    return fig


def folded() -> Figure:
    """The first layer as published, and as a convolution."""
    fig = Figure(860, 400, "The first layer, folded into a convolution")

    fig.text(30, 24, "As published: for every query, at each of four codes", "title")
    fig.block(30, 44, 130, 52, "b", "feature map", "C = 64")
    fig.arrow((160, 70), (214, 70))
    fig.block(220, 44, 150, 52, "b", "unfolded code", "576 numbers")
    fig.block(220, 108, 150, 36, "a", "offset, cell: 4")
    fig.arrow((370, 70), (430, 82))
    fig.arrow((370, 126), (430, 108))
    fig.block(436, 56, 190, 76, "d", "first layer", "256 × 580 products")
    fig.arrow((626, 94), (680, 94))
    fig.block(686, 68, 144, 52, "c", "rest of the MLP", "→ colour")
    fig.line((20, 172), (840, 172), kind="faint")

    fig.text(30, 204, "Here: the code's part once per image …", "title")
    fig.block(30, 224, 130, 52, "b", "feature map", "C = 64")
    fig.arrow((160, 250), (214, 250))
    fig.block(220, 224, 150, 52, "d", "3×3 convolution", "64 → 256 channels")
    fig.arrow((370, 250), (430, 250))
    fig.block(436, 224, 190, 52, "b", "256 numbers per pixel")
    fig.text(30, 322, "… and a small part per query and code", "title")
    fig.block(220, 340, 150, 36, "a", "offset, cell: 4")
    fig.arrow((370, 358), (430, 358))
    fig.block(436, 340, 110, 36, "d", "256 × 4")
    fig.arrow((546, 358), (600, 358))
    fig.text(620, 366, "+", "middle", "font-size: 26px")
    fig.arrow((620, 276), (620, 340))
    fig.text(632, 312, "one vector", "small soft")
    fig.arrow((638, 358), (680, 358))
    fig.block(686, 332, 144, 52, "c", "rest of the MLP", "→ colour")
    return fig


FIGURES = {
    "pixels": pixels, "cell": cell, "ensemble": ensemble, "unfold": unfold, "folded": folded,
}  # fmt: skip

if __name__ == "__main__":
    for name, draw in FIGURES.items():
        (HERE / f"{name}.svg").write_text(draw().svg(), encoding="utf-8")

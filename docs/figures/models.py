"""Draw the figures of models.md: python docs/figures/models.py

Damping, bits and bases are computed from the formulas beside the figures; costs.py draws the costs.
"""

import math
from pathlib import Path

from costs import costs
from svg import Figure

HERE = Path(__file__).parent
COLOURS = ("a", "b", "c", "d")
ROOT_HALF = math.sqrt(0.5)


def waves() -> Figure:
    """LTE: amplitudes and frequencies of a code, evaluated at an offset."""
    fig = Figure(860, 300, "Waves of a code")
    fig.block(20, 112, 110, 56, "b", "code z", "C numbers")
    fig.block(190, 62, 120, 44, "d", "convolution", "→ frequencies F")
    fig.block(190, 174, 120, 44, "d", "convolution", "→ amplitudes A")
    fig.arrow((130, 132), (184, 86))
    fig.arrow((130, 148), (184, 194))
    x0, w, offset = 370, 230, 0.62
    fig.text(x0 + w / 2, 24, "A ⊙ waves of the offset r", "title middle")
    for k, (frequency, size) in enumerate(((0.6, 26), (1.7, 20), (3.4, 12))):
        y = 74 + 74 * k
        fig.line((x0, y), (x0 + w, y), kind="faint")
        wave = [(x0 + w * i / 120, y - size * math.cos(math.pi * frequency * (i / 60 - 1)))
                for i in range(121)]  # fmt: skip
        fig.curve(wave, COLOURS[k], "line")
        at = y - size * math.cos(math.pi * frequency * (2 * offset - 1))
        fig.dot(x0 + w * offset, at, 5, COLOURS[k])
    fig.arrow((310, 84), (360, 84))
    fig.arrow((310, 196), (360, 196))
    fig.line((x0 + w * offset, 40), (x0 + w * offset, 256), kind="faint dashed")
    fig.text(x0 + w * offset, 272, "offset r of the point", "small middle")
    fig.text(x0, 272, "−1", "small middle")
    fig.text(x0 + w, 272, "1", "small middle")
    fig.arrow((x0 + w + 8, 140), (660, 140))
    fig.block(666, 112, 90, 56, "c", "MLP f")
    fig.arrow((756, 140), (800, 140))
    fig.text(806, 145, "colour")
    fig.text(666, 196, "Four codes answer,", "small soft")
    fig.text(666, 213, "areas weigh them.", "small soft")
    return fig


def modulation() -> Figure:
    """LM: a wide network per input pixel modulates a narrow one per output pixel."""
    fig = Figure(860, 330, "A network that is modulated")
    fig.text(20, 24, "Once for each input pixel", "title")
    fig.block(20, 54, 150, 52, "b", "unfolded code, cell", "9C + 2 numbers")
    fig.arrow((170, 80), (214, 80))
    fig.block(220, 44, 300, 72, "d", "wide network g")
    fig.arrow((520, 80), (564, 80))
    fig.block(570, 54, 250, 52, "a", "m: a scale and a shift", "for every channel of every layer")
    fig.line((20, 154), (840, 154), kind="faint")
    fig.text(20, 184, "Once for each output pixel and code", "title")
    fig.block(20, 226, 150, 52, "b", "code z, offset r, cell c")
    for k in range(4):
        x = 220 + 145 * k
        fig.arrow((x - (50 if k == 0 else 45), 252), (x - 6, 252))
        fig.block(x, 226, 94, 52, "c", "16 channels" if k < 3 else "→ colour")
        if k < 3:
            fig.arrow((595 + 45 * k, 106), (595 + 45 * k, 134), (x + 47, 206), (x + 47, 220))
    fig.text(267, 306, "each layer: relu((W x + b) · (1 + scale) + shift)", "small")
    return fig


def operator() -> Figure:
    """SRNO: attention over all points of the result by way of a small matrix."""
    fig = Figure(860, 290, "An operator on all points")

    def points(left: float, colour: str) -> None:
        for row in range(5):
            for col in range(6):
                fig.dot(left + 24 * col, 92 + 24 * row, 4, colour)

    fig.text(80, 54, "all points of the result", "small middle")
    points(20, "b")
    fig.arrow((152, 128), (186, 112))
    fig.arrow((152, 152), (186, 168))
    fig.block(192, 88, 110, 40, "d", "keys k")
    fig.block(192, 150, 110, 40, "d", "values v")
    fig.arrow((302, 108), (352, 128))
    fig.arrow((302, 170), (352, 150))
    left, top, side = 360, 97, 17
    for i in range(5):
        for j in range(5):
            alpha = 0.15 + 0.6 * abs(math.sin(2.3 * i + 1.7 * j))
            fig.fill(left + side * j, top + side * i, side, side, "c", round(alpha, 2))
    fig.box(left, top, 5 * side, 5 * side)
    fig.text(left + 42, 54, "S = mean over the points of kᵀ v", "small middle")
    fig.text(left + 42, 208, "as small for 10 points", "small soft middle")
    fig.text(left + 42, 224, "as for a million", "small soft middle")
    fig.arrow((452, 139), (506, 139))
    fig.block(512, 112, 150, 56, "a", "x + f(x + q · S)", "for each point")
    fig.arrow((662, 139), (696, 139))
    points(712, "a")
    fig.text(772, 54, "the same points, changed", "small middle")
    fig.line((772, 206), (772, 254), (80, 254), kind="line")
    fig.arrow((80, 254), (80, 204))
    fig.text(430, 274, "two layers, then a network gives each point its colour", "small middle")
    return fig


def attention() -> Figure:
    """CiaoSR and CLIT: weights by attention instead of areas."""
    fig = Figure(860, 330, "Attention to codes")
    fig.text(40, 24, "CiaoSR: the corners answer by similarity …", "title")
    left, top, side = 90, 80, 130
    qx, qy = left + 0.64 * side, top + 0.36 * side
    weights = (0.46, 0.11, 0.08, 0.35)
    for k, weight in enumerate(weights):
        i, j = divmod(k, 2)
        x, y = left + j * side, top + i * side
        style = f"stroke: var(--{COLOURS[k]}); stroke-width: {2 + 16 * weight:.1f}"
        fig.line((x, y), (qx, qy), kind="line", style=style)
        fig.dot(x, y, 9, COLOURS[k])
        fig.text(x + (18 if j else -18), y + 5, f"{weight:.2f}", "" if j else "end")
    fig.dot(qx, qy, 8)
    fig.text(left + side / 2, top + side + 42, "softmax of q · k, not areas", "small middle")

    x0, cell = 322, 19
    fig.text(x0 - 4, 60, "… and patches of the image, too", "title")
    fig.fill(x0, 80, 11 * cell, 9 * cell, "b", 0.12)
    for row, col, colour in ((1, 7, "a"), (5, 1, "c"), (6, 7, "c"), (3, 3, "c")):
        x, y = x0 + cell * col, 80 + cell * row
        fig.fill(x, y, cell, cell, "b", 0.7)
        fig.fill(x + cell, y + cell, cell, cell, "b", 0.45)
        style = f"stroke: var(--{colour}); stroke-width: 3"
        fig.box(x, y, 2 * cell, 2 * cell, "line", style)
    fig.grid(x0, 80, 11 * cell, 9 * cell, 9, 11)
    fig.box(x0, 80, 11 * cell, 9 * cell)
    fig.text(x0 + 5.5 * cell, 274, "the same texture is found elsewhere", "small middle")

    fig.line((580, 16), (580, 300), kind="faint")
    fig.text(606, 24, "CLIT: 7×7 codes answer", "title")
    left, top, cell = 634, 80, 25
    for row in range(7):
        for col in range(7):
            near = math.exp(-((row - 2.7) ** 2 + (col - 3.4) ** 2) / 4)
            weight = near * (0.45 + 0.55 * math.cos(1.4 * row - 1.1 * col) ** 2)
            fig.fill(
                left + cell * col, top + cell * row, cell, cell, "a", round(0.04 + 0.75 * weight, 2)
            )
    fig.grid(left, top, 7 * cell, 7 * cell, 7, 7)
    fig.box(left, top, 7 * cell, 7 * cell)
    fig.cross(left + 3.85 * cell, top + 3.2 * cell)
    fig.text(left + 3.5 * cell, 282, "a · v of all 49 goes to an MLP", "small middle")
    return fig


def flow() -> Figure:
    """LINF: invertible steps between noise and the distribution of a colour."""
    fig = Figure(860, 300, "A flow from noise to colours")

    def bell(left: float, bumps: tuple[tuple[float, float, float], ...], colour: str) -> None:
        points: list[tuple[float, float]] = []
        for i in range(81):
            t = i / 40 - 1
            height = sum(h * math.exp(-(((t - m) / s) ** 2)) for m, s, h in bumps)
            points.append((left + 1.5 * i, 108 - 70 * height))
        fig.curve(points, colour)
        fig.line((left, 108), (left + 120, 108), kind="faint")

    bell(24, ((0, 0.42, 0.75),), "b")
    fig.text(84, 24, "noise", "title middle")
    fig.text(84, 130, "0 is the most likely", "small middle")
    fig.arrow((152, 84), (182, 84))
    for k in range(10):
        fig.block(190 + 45 * k, 62, 32, 44, "c", str(k + 1))
        if k < 9:
            fig.arrow((222 + 45 * k, 84), (233 + 45 * k, 84))
        fig.arrow((206 + 45 * k, 176), (206 + 45 * k, 112))
    fig.text(408, 24, "ten invertible steps", "title middle")
    fig.arrow((630, 84), (666, 84))
    bell(684, ((-0.5, 0.16, 0.45), (0.25, 0.22, 0.95)), "a")
    fig.text(744, 24, "colours of one pixel", "title middle")
    fig.text(744, 130, "sharp: from noise 0", "small middle")
    fig.text(744, 147, "a texture: from random noise", "small middle")
    fig.line((206, 176), (611, 176))
    fig.arrow((408, 206), (408, 178))
    fig.block(318, 206, 180, 44, "d", "MLP f", "→ scales and shifts")
    fig.arrow((252, 228), (312, 228))
    fig.block(40, 206, 212, 44, "b", "waves of four codes", "each times its area w")
    return fig


def bits() -> Figure:
    """HIIF: the position inside a pixel, bit by bit."""
    fig = Figure(860, 300, "A position, bit by bit")
    left, w, height, position = 100, 380, 34, 0.66
    fig.text(left, 24, "The place in a pixel, along one axis", "title")
    rest = position
    for level in range(5):
        y, parts = 52 + 42 * level, 2 ** (level + 1)
        part = int(position * parts)
        fig.fill(left + w * part / parts, y, w / parts, height, COLOURS[level % 4], 0.35)
        fig.grid(left, y, w, height, 1, parts)
        fig.box(left, y, w, height)
        bit = int(rest * 2)
        rest = rest * 2 - bit
        fig.text(left - 14, y + 22, f"bit {level}", "small end")
        fig.arrow((left + w + 10, y + 17), (left + w + 44, y + 17))
        fig.text(left + w + 60, y + 22, str(bit), "title middle")
        fig.arrow((left + w + 76, y + 17), (left + w + 114, y + 17))
        word = "layer 0, then attention" if level == 0 else f"layer {level}"
        fig.block(left + w + 120, y, 190, height, COLOURS[level % 4], word)
    x = left + w * position
    fig.line((x, 40), (x, 262), kind="line dashed", style="stroke: var(--mark)")
    fig.text(x, 280, "the queried point", "small middle")
    fig.text(left + w + 215, 280, "six layers → colour", "small middle")
    return fig


def heat() -> Figure:
    """Thera: damping by scale, and one field of waves at three scales."""
    fig = Figure(860, 310, "Waves that cool")
    kappa = math.sqrt(math.log(4)) / (2 * math.pi**2)  # before training
    x0, y0, w, h = 70, 50, 300, 200
    fig.text(x0, 24, "Coarser results keep fewer waves", "title")
    fig.line((x0, y0), (x0, y0 + h), (x0 + w, y0 + h))
    scales = ((1, "b"), (2, "c"), (4, "a"))
    for scale, colour in scales:
        curve = []
        for i in range(61):
            frequency = 16 * i / 60
            damping = math.exp(-(frequency**2) * kappa / scale**2)
            curve.append((x0 + w * i / 60, y0 + h * (1 - damping)))
        fig.curve(curve, colour)
        half = scale * math.sqrt(math.log(2) / kappa)
        fig.text(
            x0 + w * min(half, 13.6) / 16 + 8,
            y0 + h / 2 - 4,
            f"x{scale}",
            "",
            f"fill: var(--{colour})",
        )
    fig.text(x0 + w / 2, y0 + h + 22, "frequency |W| of a wave", "small middle")
    fig.text(x0 - 8, y0 + 6, "1", "small end")
    fig.text(x0 - 8, y0 + h + 4, "0", "small end")
    fig.text(x0 + w / 2, y0 + h + 44, "exp(−|W|² κ / scale²)", "small middle soft")
    x0, w = 450, 380
    fig.text(x0, 24, "The field of one code along a line", "title")
    field = ((1.9, 0.9, 0.4), (4.4, 0.6, 1.9), (8.1, 0.5, 0.2), (13.5, 0.45, 2.6))
    for number, (scale, colour) in enumerate(scales):
        middle = 84 + 76 * number
        fig.line((x0, middle), (x0 + w, middle), kind="faint")
        curve = []
        for i in range(141):
            r = 4 * i / 140 - 2
            value = sum(
                size * math.sin(f * r / 2 + phase) * math.exp(-(f**2) * kappa / scale**2)
                for f, size, phase in field
            )
            curve.append((x0 + w * i / 140, middle - 26 * value))
        fig.curve(curve, colour)
        fig.text(x0 - 14, middle + 5, f"x{scale}", "end", f"fill: var(--{colour})")
    fig.text(x0 + w / 2, 300, "the same waves, no other network for another scale", "small middle")
    return fig


def basis() -> Figure:
    """OPE-SR and Fourier: coefficients of fixed products of waves."""
    fig = Figure(860, 320, "Coefficients of fixed waves")

    def function(k: int, r: float) -> float:
        if k == 0:
            return ROOT_HALF
        angle = (k + 1) // 2 * math.pi * r / 2
        return math.cos(angle) if k % 2 else math.sin(angle)

    side, left, top, n = 40, 230, 82, 5
    fig.text(20, 24, "A code: one coefficient for each product of two waves", "title")
    for k in range(n):
        across = [
            (left + side * (k + 0.1 + 0.8 * i / 24), 58 - 15 * function(k, i / 12 - 1))
            for i in range(25)
        ]
        down = [
            (left - 26 - 15 * function(k, i / 12 - 1), top + side * (k + 0.1 + 0.8 * i / 24))
            for i in range(25)
        ]
        fig.curve(across, "b", "line")
        fig.curve(down, "c", "line")
        for j in range(n):
            alpha = 0.75 / (1 + 0.5 * (k + j)) * abs(math.cos(2.1 * k + 1.3 * j)) + 0.05
            fig.fill(left + side * j, top + side * k, side, side, "a", round(alpha, 2))
    fig.grid(left, top, n * side, n * side, n, n)
    fig.box(left, top, n * side, n * side)
    fig.text(left + n * side / 2, top + n * side + 24, "basis_j(r_x) →", "small middle")
    fig.text(left - 56, top + n * side / 2 + 4, "basis_i(r_y) ↓", "small end")
    fig.arrow((left + n * side + 14, 182), (500, 182))
    fig.block(506, 154, 130, 56, "d", "products, summed", "no network")
    fig.arrow((636, 182), (690, 182))
    fig.text(700, 187, "colour")
    fig.text(506, 240, "OPE-SR: four codes, areas as weights", "small")
    fig.text(506, 258, "Fourier: the nearest code, learned spacing", "small")
    return fig


def weights() -> Figure:
    """Meta-SR and ITSRN: a network that returns weights, beside one that returns colours."""
    fig = Figure(860, 270, "A network that returns weights")
    fig.text(20, 24, "LIIF: the network sees the code and the place", "title")
    fig.block(20, 44, 150, 40, "b", "code z")
    fig.block(20, 92, 150, 32, "a", "offset r, cell c")
    fig.arrow((170, 64), (234, 78))
    fig.arrow((170, 108), (234, 90))
    fig.block(240, 54, 150, 60, "d", "network f")
    fig.arrow((390, 84), (450, 84))
    fig.text(460, 89, "colour")
    fig.line((20, 142), (840, 142), kind="faint")
    fig.text(20, 170, "Meta-SR, ITSRN: it sees the place only, and returns weights", "title")
    fig.block(20, 218, 150, 32, "a", "offset r, cell c")
    fig.arrow((170, 234), (234, 234))
    fig.block(240, 214, 150, 40, "d", "network")
    fig.arrow((390, 234), (444, 234))
    left, top, side = 450, 198, 13
    for i in range(5):
        for j in range(5):
            alpha = 0.15 + 0.6 * abs(math.sin(1.3 * i + 2.9 * j))
            fig.fill(left + side * j, top + side * i, side, side, "c", round(alpha, 2))
    fig.box(left, top, 5 * side, 5 * side)
    fig.text(left + 80, 235, "weights W")
    fig.block(600, 160, 150, 40, "b", "code z")
    fig.arrow((606, 230), (660, 230))
    fig.arrow((675, 200), (675, 216))
    fig.text(675, 237, "×", "title middle")
    fig.arrow((690, 230), (750, 230))
    fig.text(760, 235, "colour")
    return fig


def windows() -> Figure:
    """SwinIR: attention in windows, shifted in every other block."""
    fig = Figure(860, 280, "Attention in windows")
    n, side = 8, 22
    for number, (title, shift) in enumerate((("One block …", 0), ("… and the next, shifted", 2))):
        left, top = 50 + 330 * number, 56
        fig.text(left, 34, title, "title")
        borders = sorted({0, n, *range(shift, n, 4)})
        for row in range(len(borders) - 1):
            for col in range(len(borders) - 1):
                y, x = borders[row], borders[col]
                h, w = borders[row + 1] - y, borders[col + 1] - x
                colour = COLOURS[(2 * row + col) % 4]
                fig.fill(left + side * x, top + side * y, side * w, side * h, colour, 0.3)
        fig.grid(left, top, n * side, n * side, n, n)
        for border in borders:
            fig.line((left, top + side * border), (left + n * side, top + side * border))
            fig.line((left + side * border, top), (left + side * border, top + n * side))
    fig.text(50, 262, "Pixels of one window (8×8, here 4×4) attend to each other only.", "small")
    fig.text(596, 110, "After two blocks, what a", "small")
    fig.text(596, 128, "pixel knows has crossed", "small")
    fig.text(596, 146, "the borders of its window.", "small")
    return fig


FIGURES = {
    "costs": costs, "waves": waves, "modulation": modulation, "operator": operator,
    "attention": attention, "flow": flow, "bits": bits, "heat": heat, "basis": basis,
    "weights": weights, "windows": windows,
}  # fmt: skip

if __name__ == "__main__":
    for name, draw in FIGURES.items():
        (HERE / f"{name}.svg").write_text(draw().svg(), encoding="utf-8")

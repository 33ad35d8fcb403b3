"""Crops of an image enlarged by several methods, and the figure that shows them for print."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from liif.core.errors import UserError
from liif.core.sizes import Box
from liif.data.pairs import reduce
from liif.evaluation.metrics import psnr
from liif.evaluation.protocols import get_protocol
from liif.figures.style import COLOURS, DPI, Style, plot_style, printable
from liif.images.convert import to_image, to_tensor
from liif.images.resize import matlab_bicubic
from liif.inference.predict import DEFAULT_OPTIONS, InferenceOptions, predict
from liif.models.model import SRModel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL_PX = 420
"""Crops are enlarged by the largest whole number that keeps them within this; larger crops keep
their size. Every pixel of a crop thus is a square of whole pixels of the figure."""
OVERVIEW_PX = 500
GAP_PX = 24
TEXT_PX = 52
LARGEST_PX = 65_535


class CropRow(NamedTuple):
    """One crop by all methods, from left to right, at one scale."""

    scale: float
    crops: dict[str, np.ndarray]
    """uint8 (h, w, 3) of the size of the box."""
    psnr: dict[str, float]
    """In dB, of the methods that have one."""


class CropScene(NamedTuple):
    """One image with its box, and the crop at several scales."""

    name: str
    image: np.ndarray
    """uint8 (H, W, 3)."""
    box: Box
    rows: list[CropRow]


def enlarged_crops(
    image: np.ndarray,
    scale: float,
    box: Box,
    models: Mapping[str, SRModel],
    path: Path,
    options: InferenceOptions = DEFAULT_OPTIONS,
) -> CropRow:
    """Reduce an image, enlarge it with all methods, and crop the results.

    The image, uint8 (H, W, 3), is reduced as in an evaluation and enlarged whole. The methods are
    LR (nearest neighbour), bicubic, each model and HR. PSNR is that of the crop in RGB; the output
    of models is not rounded. Raises UserError with `path` if the image is too small for the scale.
    """
    lr, hr = reduce(image, (scale, scale), path)
    H, W = hr.shape[:2]
    target = to_tensor(box.cut(hr))
    nearest = np.asarray(Image.fromarray(lr).resize((W, H), Image.Resampling.NEAREST))
    bicubic = box.cut(matlab_bicubic(lr, (H, W)))
    protocol = get_protocol("none", (scale, scale))
    crops = {"LR": box.cut(nearest), "bicubic": bicubic}
    scores = {"bicubic": psnr(to_tensor(bicubic), target, protocol)}
    for name, model in models.items():
        sr = predict(model, to_tensor(lr).to(model.mean), (H, W), options)
        sr = sr[:, box.y : box.y + box.h, box.x : box.x + box.w].clamp(0, 1).cpu()
        crops[name], scores[name] = to_image(sr), psnr(sr, target, protocol)
    return CropRow(scale, {**crops, "HR": box.cut(hr)}, scores)


@plot_style()
def crops_figure(scenes: Sequence[CropScene]) -> "Figure":
    """Draw a row for every image and scale, with the PSNR below the crops and the image with its
    box on the left. Raises UserError if matplotlib cannot draw a figure of that size.

    It is made for print, with text in vector fonts; `sheets.sheet` draws images for the screen.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    titles = list(scenes[0].rows[0].crops)
    zooms = [max(1, PANEL_PX // max(scene.box.w, scene.box.h)) for scene in scenes]
    widths = [scene.box.w * zoom for scene, zoom in zip(scenes, zooms, strict=True)]
    column = max(PANEL_PX // 2, *widths)  # room for the text above and below
    lefts = [OVERVIEW_PX + 3 * GAP_PX + i * (column + GAP_PX) for i in range(len(titles))]
    steps = [s.box.h * zoom + TEXT_PX + GAP_PX for s, zoom in zip(scenes, zooms, strict=True)]
    rows = sum(step * len(scene.rows) for step, scene in zip(steps, scenes, strict=True))
    W, H = lefts[-1] + column + GAP_PX, TEXT_PX + GAP_PX + rows + TEXT_PX
    if max(W, H) > LARGEST_PX:
        text = f"the figure has {W}×{H} px, more than {LARGEST_PX} along a side"
        raise UserError(f"{text}; draw fewer images or scales, or smaller boxes")
    # matplotlib rounds the size down: a hundredth of a pixel makes up for floating point.
    figure = Figure(figsize=((W + 0.01) / DPI, (H + 0.01) / DPI))

    def write(middle: float, y: float, text: str, room: int, weight: str = "normal") -> None:
        size = min(8, 72 / DPI * room / (0.62 * max(1, len(text))))  # a letter is 0.62 em wide
        at = middle / W, 1 - y / H
        figure.text(*at, printable(text), fontsize=size, weight=weight, ha="center", va="center")

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
            style: Style = {"fill": False, "edgecolor": colour, "linewidth": thick}
            overview.add_patch(Rectangle((x - 0.5, y - 0.5), width, height, **style))
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

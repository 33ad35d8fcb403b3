"""Resizing by a random filter: by a random factor, or to the size of the low-resolution image."""

import math
from typing import Annotated, Literal

import numpy as np
import pydantic
import torch
import torch.nn.functional as F

from liif.core.sizes import Size
from liif.data.degradations import kernels
from liif.data.degradations.blur import Angle, KernelSize, convolve, draw_odd
from liif.data.degradations.degradation import Planes, Probability
from liif.data.degradations.step import Goal, Step, not_empty, ordered

Filter = Literal["area", "bilinear", "bicubic", "antialiased", "nearest"]
Filters = Annotated[tuple[Filter, ...], not_empty]
"""One of these is drawn. bilinear and bicubic interpolate without antialiasing, as published;
antialiased is bicubic with it; nearest picks pixels of an image that is first blurred by a Gaussian
with a standard deviation of 0.1 to 0.6 times the reduction."""

Factor = Annotated[float, pydantic.Field(gt=0, le=100)]


class ResizeConfig(Step):
    """Configuration of a resize by a random factor."""

    name: Literal["resize"] = "resize"
    factor: tuple[Factor, Factor | None] = (0.5, 1.0)
    """Range of the factor; null as its upper end is the size that the image has."""
    up: Probability | None = None
    down: Probability | None = None
    """With probability `up` the factor is drawn from [1, high], with probability `down` from
    [low, 1], else it is 1; if neither is given it is drawn from [low, high]."""
    of: Literal["current", "output"] = "current"
    """Size that is multiplied by the factor: that of the image, or of the low-resolution image."""
    least: Annotated[float, pydantic.Field(ge=0, le=100)] = 0.0
    """The result is not reduced below this multiple of the low-resolution size."""
    filters: Filters = ("area", "bilinear", "bicubic")

    @pydantic.model_validator(mode="after")
    def _check(self) -> "ResizeConfig":
        low, high = self.factor
        if high is not None and low > high:
            raise ValueError(f"factor: must be [low, high] with low <= high, not [{low}, {high}]")
        if (self.up or 0) + (self.down or 0) > 1:
            raise ValueError("up, down: their sum must be at most 1")
        if (self.up or self.down) and (low > 1 or (high or 1) < 1):
            raise ValueError(f"factor: must contain 1 if up or down is given, not [{low}, {high}]")
        return self

    def apply(self, image: Planes, goal: Goal, rng: np.random.Generator) -> tuple[Planes, str]:
        H, W = image.shape[1:]
        (h, w), now = goal.size, math.sqrt(H * W / math.prod(goal.size))
        unit = now if self.of == "current" else 1.0  # in multiples of the low-resolution size
        low = max(self.factor[0], min(1.0 if self.of == "current" else now, self.least / unit))
        high = max(low, now / unit if self.factor[1] is None else self.factor[1])
        if self.up is None and self.down is None:
            factor = rng.uniform(low, high)
        else:
            kind, low = rng.random(), min(low, 1.0)
            up, down = self.up or 0.0, self.down or 0.0
            factor = 1.0
            if kind < up:
                factor = rng.uniform(1, high)
            elif kind < up + down:
                factor = rng.uniform(low, 1)
        base = (H, W) if self.of == "current" else (h, w)
        size = max(1, round(base[0] * factor)), max(1, round(base[1] * factor))
        return resize(image, size, self.filters, rng)


class ReduceConfig(Step):
    """Configuration of the resize to the size of the low-resolution image."""

    name: Literal["reduce"] = "reduce"
    filters: Filters = ("area", "bilinear", "bicubic")
    sinc: Probability = 0.0
    """Probability of a sinc filter after the resize."""
    sinc_size: Annotated[tuple[KernelSize, KernelSize], ordered] = (7, 21)
    """Side of its kernel in pixels; odd numbers are drawn."""
    cutoff: Annotated[tuple[Angle, Angle], ordered] = (math.pi / 3, math.pi)
    """Its cutoff in radians per pixel."""

    def apply(self, image: Planes, goal: Goal, rng: np.random.Generator) -> tuple[Planes, str]:
        image, note = resize(image, goal.size, self.filters, rng)
        if rng.random() >= self.sinc:
            return image, note
        size, cutoff = draw_odd(self.sinc_size, rng), rng.uniform(*self.cutoff)
        return convolve(image, kernels.sinc(size, cutoff)), f"{note}, sinc {cutoff:.2f}"


def resize(
    image: Planes, size: Size, filters: tuple[Filter, ...], rng: np.random.Generator
) -> tuple[Planes, str]:
    """Resize (C, H, W) to (C, h, w) by one of the filters, limited to [0, 1]."""
    chosen = filters[rng.integers(len(filters))]
    reduction = math.sqrt(image.shape[1] * image.shape[2] / math.prod(size))
    note = f"{chosen} x{1 / reduction:.2f}"
    if chosen == "nearest":
        share = rng.uniform(0.1, 0.6)
        sigma = max(share * reduction, 1e-3)
        side = 2 * min(math.ceil(3 * sigma), 50) + 1
        image = convolve(image, kernels.gaussian(side, (sigma, sigma)))
    if image.shape[1:] == size:
        return image, note
    tensor = torch.from_numpy(np.ascontiguousarray(image))[None]
    if chosen in ("area", "nearest"):
        mode = "area" if chosen == "area" else "nearest-exact"
        result = F.interpolate(tensor, size, mode=mode)
    else:
        mode = "bilinear" if chosen == "bilinear" else "bicubic"
        result = F.interpolate(tensor, size, mode=mode, antialias=chosen == "antialiased")
    return result[0].clamp_(0, 1).numpy(), note

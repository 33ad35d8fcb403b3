"""Low-resolution sets for scales in between, exactly as papers make them.

No pictures are published for fractional scales: each paper cuts the true picture to another size,
and reduces it by another function. A recipe is both, and gives the same bytes on every machine.
"""

import hashlib
import math
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from liif.core.errors import UserError
from liif.core.sizes import Scale, Size
from liif.images.resize import matlab_bicubic, pillow_bicubic

RecipeName = Literal["liif", "arbsr", "arbsr-2014", "meta-sr", "gsasr", "lerf", "thera"]
RECIPE_NAMES: tuple[RecipeName, ...] = get_args(RecipeName)
Pixels = npt.NDArray[np.uint8]


class Sides(NamedTuple):
    """Pixels along one axis."""

    reduced: int
    """Of the true picture, from the upper left, that are reduced."""
    made: int
    """Of the low-resolution picture that is made of them."""
    lr: int
    """Of these, that are enlarged again."""
    hr: int
    """Of the true picture, that the result is compared with."""


class Recipe(NamedTuple):
    """How a low-resolution picture is made."""

    sides: Callable[[int, float], Sides]
    """Of an axis of n pixels at a scale."""
    reduce: Callable[[Pixels, Size, Scale], Pixels]
    """Of the cut true picture, to a size, at a scale."""
    about: str
    is_exact: bool = False
    """Whether the low-resolution picture covers a fraction of a pixel more than what is compared of
    the true one, so that the scale is not the ratio of their sizes."""


def _liif(n: int, s: float) -> Sides:
    # The small constant keeps 110 / 1.1 = 99.999… at 100, as in the published images.
    small = math.floor(n / s + 1e-9)
    large = min(round(small * s), n)
    return Sides(large, small, small, large)


def step_of(s: float) -> int:
    """Return the first of 1, 2, 5, 10 and 20 for which so many low-resolution pixels are a whole
    number of pixels at a scale, as ArbSR cuts pictures. Raises UserError if there is none."""
    for step in (1, 2, 5, 10, 20):
        if abs(s * step - round(s * step)) < 0.001:
            return step
    raise UserError(f"--scale {s:g}: ArbSR's recipe is for multiples of 0.05")


def _arbsr(n: int, s: float) -> Sides:
    step = step_of(s)
    reduced = _half_up(math.floor(n / step / s) * step * s)
    made = _half_up(reduced / s)
    # The test cuts the true picture to what the low-resolution one covers, and that one to whole
    # steps, of which there must be an even number of pixels.
    covered = int(made * s)
    lr = covered // round(step * s) * step
    if lr % 2:
        lr = covered // round(2 * step * s) * 2 * step
    return Sides(reduced, made, lr, _half_up(lr * s))


def _half_up(value: float) -> int:
    return math.floor(value + 0.5)


def _meta_sr(n: int, s: float) -> Sides:
    reduced = n if n % s == 0 else n - 4
    made = math.ceil(reduced / s)
    return Sides(reduced, made, made, min(int(made * s), n))


def _gsasr(n: int, s: float) -> Sides:
    lr = math.floor(n / s)
    return Sides(n, math.ceil(n / s), lr, math.floor(lr * s))


def _lerf(n: int, s: float) -> Sides:
    # LeRF's own test takes ceil(made · s) pixels, where products such as 230 · 1.1 are rounded up.
    reduced, made, *_ = _arbsr(n, s)
    return Sides(reduced, made, made, reduced)


def _thera(n: int, s: float) -> Sides:
    if s % 1:
        raise UserError(f"--scale {s:g}: Thera's recipe is for whole scales")
    lr = int(n // s)
    return Sides(int(lr * s), lr, lr, int(lr * s))


def _of_size(border: Literal["replicate", "mirror"]) -> Callable[[Pixels, Size, Scale], Pixels]:
    """Return MATLAB's `imresize(A, [h w])`."""
    return lambda hr, size, scale: matlab_bicubic(hr, size, border=border)


def _of_scale(hr: Pixels, size: Size, scale: Scale) -> Pixels:
    """MATLAB's `imresize(A, 1/s)`, with a repeated border as in Meta-SR's published pictures."""
    return matlab_bicubic(hr, size, scale=(1 / scale[0], 1 / scale[1]))


def _of_basicsr(hr: Pixels, size: Size, scale: Scale) -> Pixels:
    """BasicSR's `imresize`: mirrored borders, and rounded once, at the end."""
    factors = 1 / scale[0], 1 / scale[1]
    found = matlab_bicubic(hr.astype(np.float64), size, scale=factors, border="mirror")
    return found.round().clip(0, 255).astype(np.uint8)


def _of_thera(hr: Pixels, size: Size, scale: Scale) -> Pixels:
    return matlab_bicubic(hr, size, border="mirror", halves="even")


RECIPES: dict[RecipeName, Recipe] = {
    "liif": Recipe(_liif, lambda hr, size, _: pillow_bicubic(hr, size), "LIIF, LTE, SRNO: Pillow"),
    "arbsr": Recipe(_arbsr, _of_size("mirror"), "ArbSR with MATLAB R2015b or later"),
    "arbsr-2014": Recipe(_arbsr, _of_size("replicate"), "ArbSR with an earlier MATLAB"),
    "meta-sr": Recipe(
        _meta_sr, _of_scale, "Meta-SR, whose published pictures repeat the border", True
    ),
    "gsasr": Recipe(_gsasr, _of_basicsr, "GSASR: BasicSR's imresize of the whole picture", True),
    "lerf": Recipe(_lerf, _of_size("mirror"), "LeRF: the whole of ArbSR's pictures"),
    "thera": Recipe(_thera, _of_thera, "Thera, whole scales"),
}
"""How papers make low-resolution pictures for any scale; see docs/protocols.md."""


def recipe_sizes(name: RecipeName, hr: Size, scale: Scale) -> tuple[Size, Size]:
    """Return the sizes of the low-resolution picture that is used and of the part of the true one
    that it covers. Raises UserError for a scale that the recipe does not have."""
    y, x = (RECIPES[name].sides(n, s) for n, s in zip(hr, scale, strict=True))
    return (y.lr, x.lr), (y.hr, x.hr)


def made_by(name: RecipeName, hr: Pixels, scale: Scale) -> Pixels:
    """Return the low-resolution picture (h, w, 3) of a true one (H, W, 3), whole, as the recipe
    makes it. Raises UserError as `recipe_sizes` does."""
    recipe = RECIPES[name]
    y, x = (recipe.sides(n, s) for n, s in zip(hr.shape[:2], scale, strict=True))
    return recipe.reduce(hr[: y.reduced, : x.reduced], (y.made, x.made), scale)


def pixels_hash(image: Pixels) -> str:
    """Return the SHA-256 of an image's bytes in the order of its rows."""
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()


def set_hash(images: Iterable[tuple[str, str]]) -> str:
    """Return the hash of a set of (name, hash of its pixels), whatever their order."""
    lines = sorted(f"{name} {digest}\n" for name, digest in images)
    return hashlib.sha256("".join(lines).encode()).hexdigest()

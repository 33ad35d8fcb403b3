"""Pictures as people hold them, PIL images, NumPy arrays and whole-number tensors, given to a model
that takes float tensors, and made again from what it gives.

Letters: B batch, C channels (gray, gray + alpha, RGB, RGB + alpha), h w before, H W after.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

Array = npt.NDArray[Any]


Picture = TypeVar("Picture", Tensor, Image.Image, Array)


Enlarge = Callable[[Tensor], Tensor]
"""(B, 3, h, w) float in [0, 1] -> (B, 3, H, W)."""


_LARGEST = {torch.uint8: 255, torch.uint16: 65535}


def apply_to_image(enlarge: Enlarge, picture: Picture) -> Picture:
    """The picture enlarged, as the same type of thing.

    Args:
        enlarge: the model.
        picture: a PIL image, whose mode is kept (palettes become RGB, colour keys alpha, and what
            is neither gray nor RGB becomes RGB) with what `info` holds; an array (h, w) or
            (h, w, C), uint8, uint16 or float in [0, 1]; or a tensor (3, h, w) or (B, 3, h, w),
            uint8 or uint16. Colour is enlarged multiplied by alpha, gray and alpha as grays.

    Raises:
        TypeError: none of these.
        ValueError: a mode, shape, type or range that is none of these.
    """
    if isinstance(picture, Image.Image):
        return _image(enlarge, picture)
    if isinstance(picture, np.ndarray):
        return _array(enlarge, picture)
    if isinstance(picture, Tensor):
        return _tensor(enlarge, picture)
    raise TypeError(f"a {type(picture).__name__} is no PIL image, NumPy array or tensor")


def _image(enlarge: Enlarge, image: Image.Image) -> Image.Image:
    mode, alpha = image.mode, "A" if image.has_transparency_data else ""
    if mode.startswith("I;16"):
        values = np.asarray(image).astype(np.uint16)
    elif mode == "I":  # what older versions of Pillow make of a PNG of 16 bits
        values = np.asarray(image)
        if values.size and not 0 <= values.min() <= values.max() <= 65535:
            raise ValueError("a PIL image of mode I must have values from 0 to 65535")
        values = values.astype(np.uint16)
    elif mode == "F":
        values = np.asarray(image)
    else:
        gray = mode in ("1", "L", "LA", "La")
        values = np.asarray(image.convert(("L" if gray else "RGB") + alpha))
    made = _array(enlarge, values)
    out = Image.fromarray(made.astype(np.int32) if mode == "I" else made)
    out.info = {key: value for key, value in image.info.items() if key != "transparency"}
    return out


def _array(enlarge: Enlarge, array: Array) -> Array:
    """(h, w) or (h, w, C) -> (H, W) or (H, W, C) of the same type."""
    largest = {"u1": 255, "u2": 65535, "f2": 1, "f4": 1, "f8": 1}.get(array.dtype.str[1:])
    channels = array.shape[2] if array.ndim == 3 else 1
    if largest is None:
        raise ValueError(f"an array of {array.dtype} is none of uint8, uint16 and float in [0, 1]")
    if array.ndim not in (2, 3) or channels not in (1, 2, 3, 4):
        raise ValueError(f"an array of shape {array.shape} is none of (h, w) and (h, w, 1 to 4)")
    values = array.astype(np.float32) / np.float32(largest)
    # As overshoot goes; a comparison with NaN is false.
    if values.size and not (values.min() >= -1 and values.max() <= 2):
        raise ValueError("an array of floats must have values in [0, 1]")
    planes = torch.from_numpy(values.reshape(*array.shape[:2], channels)).permute(2, 0, 1)
    colours = 3 if channels > 2 else 1
    colour, alpha = planes[:colours], planes[colours:]
    if len(alpha):
        colour = colour * alpha
    made = enlarge(torch.stack([part.expand(3, -1, -1) for part in (colour, alpha) if len(part)]))
    rgb = made[0] if colours == 3 else made[0].mean(0, keepdim=True)
    if len(alpha):
        opacity = made[1].mean(0, keepdim=True).clamp(float(alpha.min()), float(alpha.max()))
        visible = (rgb / opacity.clamp(min=1e-6)).clamp(0, 1) * (opacity > 0)
        rgb = torch.cat([visible, opacity])
    out = rgb.permute(1, 2, 0).cpu().numpy()
    if largest > 1:
        out = (out.clip(0, 1) * np.float32(largest)).round()
    return out.astype(array.dtype).reshape(out.shape[: array.ndim])


def _tensor(enlarge: Enlarge, picture: Tensor) -> Tensor:
    """(3, h, w) or (B, 3, h, w) of whole numbers, of the same type."""
    largest = _LARGEST.get(picture.dtype)
    if largest is None:
        raise ValueError(f"a tensor of {picture.dtype} is none of float, uint8 and uint16")
    return (enlarge(picture.float() / largest).clamp(0, 1) * largest).round().to(picture.dtype)


def to_tensor(image: np.ndarray) -> Tensor:
    """uint8 (H, W, 3) -> float (3, H, W) in [0, 1]."""
    return torch.tensor(image).permute(2, 0, 1).contiguous().float() / 255


def to_image(image: Tensor) -> np.ndarray:
    """float (3, H, W) in [0, 1] -> uint8 (H, W, 3), rounded."""
    return (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()

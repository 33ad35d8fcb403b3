"""Apply a model of float tensors to PIL images, NumPy arrays and integer tensors.

Models of RGB also take gray, and models of gray and of RGB take alpha; other models take images of
exactly their number of channels. Letters: B batch, C channels, h w input, H W output.
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

Array = npt.NDArray[Any]
ImageLike = TypeVar("ImageLike", Tensor, Image.Image, Array)

Enlarge = Callable[[Tensor], Tensor]
"""(B, C, h, w) float in [0, 1] -> (B, C', H, W)."""

LEAST, MOST = -0.25, 1.5
"""What floats in [0, 1] may be: filters overshoot, bicubic by less than this."""
_WHITE = {torch.uint8: 255, torch.uint16: 65535}


def apply_to_image(enlarge: Enlarge, picture: ImageLike, channels: int = 3) -> ImageLike:
    """Enlarge a picture with a model of so many channels and return it as the same type.

    The picture is a PIL image; an array (h, w) or (h, w, C), uint8, uint16 or float in [0, 1]; or a
    tensor (C, h, w) or (B, C, h, w), uint8 or uint16. PIL images keep gray, RGB, alpha and `info`;
    palettes and other modes become RGB, colour keys become alpha. Colour is multiplied by alpha
    before it is enlarged; gray and alpha are enlarged as gray images. Raises TypeError for another
    type, ValueError for another mode, shape, dtype or range.
    """
    if isinstance(picture, Image.Image):
        return _image(enlarge, picture, channels)
    if isinstance(picture, np.ndarray):
        return _array(enlarge, picture, channels)
    if isinstance(picture, Tensor):
        return _tensor(enlarge, picture)
    raise TypeError(f"expected a PIL image, NumPy array or tensor, not {type(picture).__name__}")


def _image(enlarge: Enlarge, image: Image.Image, channels: int) -> Image.Image:
    mode, alpha = image.mode, "A" if image.has_transparency_data else ""
    is_gray = mode in ("1", "L", "LA", "La", "F") or mode.startswith("I")
    if channels not in (1, 3) or (channels == 1 and not is_gray):
        raise ValueError(f"a PIL image of mode {mode}, but the model takes {channels} channels")
    if mode.startswith("I"):  # "I" also for 16-bit PNG files in older versions of Pillow
        values = np.asarray(image)
        if values.size and not 0 <= values.min() <= values.max() <= 65535:
            raise ValueError("a PIL image of mode I must have values from 0 to 65535")
        values = values.astype(np.uint16)
    elif mode == "F":
        values = np.asarray(image)
    else:
        values = np.asarray(image.convert(("L" if is_gray else "RGB") + alpha))
    enlarged = _array(enlarge, values, channels)
    out = Image.fromarray(enlarged.astype(np.int32) if mode == "I" else enlarged)
    out.info = {key: value for key, value in image.info.items() if key != "transparency"}
    return out


def _array(enlarge: Enlarge, array: Array, channels: int) -> Array:
    """Enlarge (h, w) or (h, w, C) to (H, W) or (H, W, C) of the same dtype, with a model of so many
    channels."""
    white = {"u1": 255, "u2": 65535, "f2": 1, "f4": 1, "f8": 1}.get(array.dtype.str[1:])
    count = array.shape[2] if array.ndim == 3 else 1
    known = {1: (1, 2), 3: (1, 2, 3, 4)}.get(channels, (channels,))
    if white is None:
        raise ValueError(f"expected an array of uint8, uint16 or float, not {array.dtype}")
    if array.ndim not in (2, 3) or count not in known:
        listed = " or ".join(f"(h, w, {n})" for n in known)
        gray = "(h, w) or " if 1 in known else ""
        raise ValueError(f"expected an array {gray}{listed}, not {array.shape}")
    values = array.astype(np.float32) / np.float32(white)
    check_range(torch.from_numpy(values), "the array")
    planes = torch.from_numpy(values.reshape(*array.shape[:2], count)).permute(2, 0, 1)
    colours = count if count == channels else 3 if count > 2 else 1
    colour, alpha = planes[:colours], planes[colours:]
    if len(alpha):
        colour = colour * alpha
    batch = torch.stack([part.expand(channels, -1, -1) for part in (colour, alpha) if len(part)])
    enlarged = enlarge(batch)
    rgb = enlarged[0] if colours == channels else enlarged[0].mean(0, keepdim=True)
    if len(alpha):
        opacity = enlarged[1].mean(0, keepdim=True).clamp(float(alpha.min()), float(alpha.max()))
        visible = (rgb / opacity.clamp(min=1e-6)).clamp(0, 1) * (opacity > 0)
        rgb = torch.cat([visible, opacity])
    out = rgb.permute(1, 2, 0).cpu().numpy()
    if white > 1:
        out = (out.clip(0, 1) * np.float32(white)).round()
    out = out.astype(array.dtype)
    return out[..., 0] if array.ndim == 2 and out.shape[2] == 1 else out


def _tensor(enlarge: Enlarge, picture: Tensor) -> Tensor:
    """Enlarge an integer tensor (C, h, w) or (B, C, h, w) to the same dtype."""
    white = _WHITE.get(picture.dtype)
    if white is None:
        raise ValueError(f"expected a tensor of float, uint8 or uint16, not {picture.dtype}")
    return (enlarge(picture.float() / white).clamp(0, 1) * white).round().to(picture.dtype)


def check_range(values: Tensor, name: str) -> None:
    """Raise ValueError for floats that are no image in [0, 1]: in [0, 255] or [-1, 1], or not
    finite. What filters overshoot by is allowed."""
    if not values.numel():
        return
    least, most = torch.stack(values.detach().aminmax()).tolist()  # a GPU is waited for once
    if least >= LEAST and most <= MOST:  # NaN compares as false
        return
    if not (math.isfinite(least) and math.isfinite(most)):
        raise ValueError(f"{name} must have values in [0, 1], not NaN or infinite ones")
    remedy = "divide by its white, e.g. 255, or give integers, uint8 or uint16"
    if least < LEAST and most <= MOST:
        remedy = "of values in [-1, 1] give (x + 1) / 2"
    text = f"{name} must have values in [0, 1], not from {least:.4g} to {most:.4g}: {remedy}"
    raise ValueError(text)


def to_unit(values: Tensor) -> Tensor:
    """Return integers of 8 or 16 bits as float32 in [0, 1]; floats are in [0, 1] already. Raises
    ValueError for another dtype."""
    if values.is_floating_point():
        return values.float()
    if values.dtype not in _WHITE:
        raise ValueError(f"expected uint8, uint16 or float, not {values.dtype}")
    return values.float() / _WHITE[values.dtype]


def to_tensor(image: np.ndarray) -> Tensor:
    """Convert (H, W, C), uint8, uint16 or float in [0, 1], to float32 (C, H, W) in [0, 1]."""
    return to_unit(torch.tensor(image).permute(2, 0, 1).contiguous())


def to_image(image: Tensor) -> np.ndarray:
    """Convert float (C, H, W) in [0, 1] to uint8 (H, W, C); clamp and round."""
    return (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()


def as_rgb8(image: np.ndarray) -> np.ndarray:
    """Return what is shown of (H, W, C), uint8, uint16 or float in [0, 1], on a sheet: uint8
    (H, W, 3), the first three channels, or a single one as gray."""
    shown = image[..., :3] if image.shape[2] > 2 else image[..., [0, 0, 0]]
    return shown if image.dtype == np.uint8 else to_image(to_tensor(shown))

"""A node for ComfyUI: enlarge images by any factor.

Copy this file to ComfyUI/custom_nodes, in an environment with `pip install liif`.
"""

from typing import Any

import torch
from torch import Tensor

import liif


class LiifUpscale:
    """Enlarge a batch of images (B, H, W, C), float in [0, 1], by any factor."""

    CATEGORY = "image/upscaling"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "upscale"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        """The inputs of the node; a model is a name, a checkpoint file, or USER/NAME."""
        scale = {"default": 2.0, "min": 1.0, "max": 30.0, "step": 0.01}
        return {
            "required": {
                "image": ("IMAGE",),
                "model": ("STRING", {"default": liif.list_models()[0]}),
                "scale": ("FLOAT", scale),
            }
        }

    def upscale(self, image: Tensor, model: str, scale: float) -> tuple[Tensor]:
        """Return the enlarged images, on the device of the input."""
        device = "cuda" if torch.cuda.is_available() else "cpu"
        network = liif.load(model, device)
        batch = image[..., :3].clamp(0, 1).movedim(-1, 1).to(device)
        return (network.upscale(batch, scale=scale).movedim(1, -1).to(image.device),)


NODE_CLASS_MAPPINGS = {"LiifUpscale": LiifUpscale}
NODE_DISPLAY_NAME_MAPPINGS = {"LiifUpscale": "Upscale by any factor (LIIF)"}

"""Let spandrel load LIIF and its successors, with a scale of any number.

    import spandrel, spandrel_liif
    spandrel_liif.add(scale=2.5)
    descriptor = spandrel.ModelLoader().load_from_file("edsr-baseline-liif.pth")
    large = descriptor(image)  # (B, 3, h, w) in [0, 1]

Files of weights alone, in which spandrel leaves out what describes the model, are recognised by
their shapes. Programs that read `descriptor.scale` as a whole number need one.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import spandrel
from torch import Tensor

import liif
from liif.models.checkpoint import checkpoint_of


class Liif(spandrel.Architecture[liif.SRModel]):
    """The models of this package, enlarging by `scale`."""

    def __init__(self, scale: float = 4) -> None:
        super().__init__(id="LIIF", detect=is_liif)
        self.scale = scale

    def load(self, state_dict: Mapping[str, Any]) -> spandrel.ImageModelDescriptor[liif.SRModel]:
        """Return the descriptor of a model. Raises `liif.UserError` if it is none after all."""
        content = {"model": state_dict} if "sd" in state_dict else state_dict
        model = checkpoint_of(Path("the state dict"), content).build()

        def enlarge(model: liif.SRModel, image: Tensor) -> Tensor:
            return model.upscale(image, scale=self.scale)

        return spandrel.ImageModelDescriptor(
            model,
            model.state_dict(),
            architecture=self,
            purpose="SR",
            tags=["any scale"],
            supports_half=False,
            supports_bfloat16=False,
            scale=self.scale,  # pyright: ignore[reportArgumentType]
            input_channels=model.channels.input,
            output_channels=model.channels.output,
            call_fn=enlarge,
        )


def is_liif(state_dict: Mapping[str, Any]) -> bool:
    """Whether a state dict, or the description with weights of the official code, is of LIIF or of
    one of its successors."""
    keys = state_dict.get("sd", state_dict)
    roots = {str(key).partition(".")[0] for key in keys}
    return "encoder" in roots and bool({"decoder", "imnet"} & roots)


def add(scale: float = 4, registry: spandrel.ArchRegistry = spandrel.MAIN_REGISTRY) -> None:
    """Add the architecture to a registry, by default that of all of spandrel's loaders."""
    registry.add(spandrel.ArchSupport.from_architecture(Liif(scale)))

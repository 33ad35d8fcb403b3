"""Networks of torchvision with pretrained weights, for losses that compare their features.

torchvision is imported where it is used: its import takes as long as PyTorch's, and reading a
configuration, which imports this file, does not need it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
import torch
from torch import Tensor, nn

from liif.core.errors import UserError

Network = Literal["alexnet", "vgg16", "vgg19"]


def feature_layers(network: Network) -> nn.Sequential:
    """Return the convolutional layers of a network of torchvision, frozen, without memory for
    their weights: `take_weights` brings them."""
    import torchvision

    with torch.device("meta"):
        layers = torchvision.models.get_model(network).get_submodule("features")
    assert isinstance(layers, nn.Sequential)
    for layer in layers:
        if isinstance(layer, nn.ReLU):
            layer.inplace = False  # features from before it are compared, too
    return layers.requires_grad_(False)


def take_weights(module: nn.Module, weights: Mapping[str, Tensor], prefix: str, name: str) -> None:
    """Load a module's weights from those of a larger one, where their names start with `prefix`.

    Raises UserError, which starts with `name`, if some are missing or have another shape.
    """
    expected = module.state_dict()
    found = {key: weights[prefix + key] for key in expected if prefix + key in weights}
    wrong = [k for k, v in expected.items() if k not in found or found[k].shape != v.shape]
    if wrong:
        more = ", …" if len(wrong) > 1 else ""
        raise UserError(f"{name}: lacks {prefix}{wrong[0]}{more}, or has it in another shape")
    found = {key: value.float() for key, value in found.items()}
    module.load_state_dict(found, assign=True)
    module.requires_grad_(False)


def read_weights(path: str, key: str) -> dict[str, Tensor]:
    """Read a state dict of PyTorch or a safetensors file, without running code from it. Raises
    UserError, which starts with `key`, if that fails."""
    try:
        if path.endswith(".safetensors"):
            return safetensors.torch.load_file(path)
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{key}: {path}: cannot be read: {reason}") from None
    except Exception:  # PyTorch raises many types for a damaged file
        raise UserError(f"{key}: {path}: damaged, or no weights of PyTorch") from None
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise UserError(f"{key}: {path}: holds no state dict")
    return content


def torchvision_weights(network: Network, key: str) -> dict[str, Tensor]:
    """Return torchvision's weights of a network from its cache, or download them. Raises UserError,
    which starts with `key`, if that fails."""
    import torchvision

    url = torchvision.models.get_model_weights(network)["IMAGENET1K_V1"].url
    try:
        return torch.hub.load_state_dict_from_url(
            url, map_location="cpu", check_hash=True, weights_only=True
        )
    except Exception as error:  # of the network, the disk, or PyTorch for a damaged file
        place = Path(torch.hub.get_dir(), "checkpoints", Path(url).name)
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{key}: no good weights of {network} in {place}, and {url} cannot be downloaded "
            f"({reason}); put the file there, or set the key weights to a file"
        ) from None


def check_rgb(channels: int, key: str) -> None:
    """Raise UserError unless a model's colours are RGB, for which the networks were trained."""
    if channels != 3:
        raise UserError(f"{key}: compares RGB only, and the model has {channels} channels")

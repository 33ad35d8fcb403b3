"""Entry points of torch.hub: `torch.hub.load("OWNER/liif", "lite")`, or a folder with
`source="local"`."""

from liif.hub.catalog import find_model as _find_model
from liif.hub.pretrained import load as _load
from liif.models.build import build_model as _build_model
from liif.models.model import SRModel as _SRModel

dependencies = ["torch", "numpy", "PIL", "pydantic", "safetensors", "tensorboard", "tqdm"]


def _named(name: str, pretrained: bool, device: str) -> _SRModel:
    if pretrained:
        return _load(name, device)
    model = _find_model(name)
    assert model is not None
    return _build_model(model.model).eval().to(device)


def lite(pretrained: bool = True, device: str = "cpu") -> _SRModel:
    """Return the model that `liif upscale` uses; use it by model.upscale(image, scale=3.7).

    pretrained: with trained weights, else with random ones.
    device: the model's device.
    """
    return _named("lite", pretrained, device)


def lite_photo(pretrained: bool = True, device: str = "cpu") -> _SRModel:
    """Return the model for noisy or compressed pictures, as from phones and the web.

    pretrained: with trained weights, else with random ones.
    device: the model's device.
    """
    return _named("lite-photo", pretrained, device)


def edsr_light(pretrained: bool = True, device: str = "cpu") -> _SRModel:
    """Return the light LIIF that is part of the package, slower than `lite`.

    pretrained: with trained weights, else with random ones.
    device: the model's device.
    """
    return _named("edsr-light", pretrained, device)


def edsr_liif(pretrained: bool = True, device: str = "cpu") -> _SRModel:
    """Return EDSR-baseline-LIIF with the authors' weights, which are downloaded once (19 MB).

    pretrained: with trained weights, else with random ones.
    device: the model's device.
    """
    return _named("edsr-liif", pretrained, device)


def liif(checkpoint: str, device: str = "cpu") -> _SRModel:
    """Return the model of a checkpoint file: of this package, official, or safetensors.

    checkpoint: the file, or a name that `liif models` lists.
    device: the model's device.
    """
    return _load(checkpoint, device)

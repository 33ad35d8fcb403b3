"""For torch.hub: torch.hub.load("OWNER/liif", "edsr_light"), or a folder with source="local"."""

from liif.hub.catalog import find as _find
from liif.hub.pretrained import load as _load
from liif.models.build import build_model as _build_model
from liif.models.model import SRModel as _SRModel

dependencies = ["torch", "numpy", "PIL", "pydantic", "safetensors", "tensorboard", "tqdm"]


def _named(name: str, pretrained: bool, device: str) -> _SRModel:
    if pretrained:
        return _load(name, device)
    model = _find(name)
    assert model is not None
    return _build_model(model.model).eval().to(device)


def edsr_light(pretrained: bool = True, device: str = "cpu") -> _SRModel:
    """The light LIIF that comes with the package; model.upscale(image, scale=3.7) uses it.

    pretrained: with its weights, else with random ones.
    device: where it goes.
    """
    return _named("edsr-light", pretrained, device)


def edsr_liif(pretrained: bool = True, device: str = "cpu") -> _SRModel:
    """EDSR-baseline-LIIF with the authors' weights, which are fetched once (19 MB).

    pretrained: with its weights, else with random ones.
    device: where it goes.
    """
    return _named("edsr-liif", pretrained, device)


def liif(checkpoint: str, device: str = "cpu") -> _SRModel:
    """The model of a checkpoint file: ours, safetensors or official.

    checkpoint: the file, or a name that `liif models` lists.
    device: where it goes.
    """
    return _load(checkpoint, device)

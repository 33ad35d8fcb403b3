"""Small variants of all losses, and batches for them."""

import zlib

import torch
from torch import nn

from liif.data.loader import Batch
from liif.training.losses import lpips
from liif.training.losses.build import LOSSES
from liif.training.losses.pretrained import feature_layers

STD = torch.tensor(0.5)
_GENERATOR = torch.Generator().manual_seed(0)
BATCH = Batch(
    torch.rand(3, 3, 9, 7, generator=_GENERATOR),
    torch.rand(3, 40, 2, generator=_GENERATOR) * 2 - 1,
    torch.full((3, 2), 0.1),
    torch.rand(3, 40, 3, generator=_GENERATOR),
)
"""Three images of 9×7 px and 40 points of each."""


def random_weights(module, prefix):
    """Random weights, the same in every run, for a module made without memory for them."""
    found, names = {}, " ".join([prefix, *module.state_dict()])
    generator = torch.Generator().manual_seed(zlib.crc32(names.encode()))
    for key, value in module.state_dict().items():
        noise = torch.randn(value.shape, generator=generator)
        found[prefix + key] = noise / value[0].numel() ** 0.5 if value.ndim > 1 else noise * 0.1
    return found


def vgg_file(folder):
    path = folder / "vgg19.pth"
    torch.save(random_weights(feature_layers("vgg19")[:6], "features."), path)
    return path


def lpips_file(folder):
    """A state dict as that of the package's LPIPS(net="alex")."""
    path = folder / "lpips.pth"
    loss, weights = lpips.Lpips("alex"), {}
    for i, layer in enumerate(loss.features):
        part = sum(each < i - 1 for each in loss.compared[:-1]) + 1
        weights |= random_weights(nn.ModuleDict({str(i): layer}), f"net.slice{part}.")
    for i, layer in enumerate(loss.lins):
        lin = random_weights(layer, f"lin{i}.model.1.")
        weights |= {key: value.abs() for key, value in lin.items()}
    torch.save(weights, path)
    return path


COMPARISONS = [name for name, kind in LOSSES.items() if kind.needs is None]
"""The losses that compare colours; the others have tests of their own."""

FILES = {"vgg": vgg_file, "lpips": lpips_file}
"""The losses that need weights."""


def small_loss(name, folder, **values):
    """The section of a configuration of a loss that is built in milliseconds."""
    kind = LOSSES[name]
    if name in FILES:
        values = {"weights": str(FILES[name](folder)), **values}
    return kind.model_validate({"name": name, **getattr(kind, "SMALL", {}), **values})


def patches(*sizes, seed=0, samples=2, channels=3):
    """Random colours (B, P·P, C) in [0, 1], predicted and true, and their batch."""
    generator = torch.Generator().manual_seed(seed)
    side = max([8, *sizes])
    rgb, target = torch.rand(2, samples, side**2, channels, generator=generator)
    return rgb, target, batch_of(target, side)


def batch_of(target, side):
    """A batch of patches of which only the targets matter."""
    samples = len(target)
    lr, coord = torch.rand(samples, 3, 8, 8), torch.rand(samples, side**2, 2) * 2 - 1
    return Batch(lr, coord, torch.full((samples, 2), 0.1), target, side)

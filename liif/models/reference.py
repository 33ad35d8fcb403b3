"""The published formulation without optimisations: the baseline for tests and benchmarks.

For every chunk of 30,000 queries it unfolds the feature map, samples codes and their coordinates
with four pairs of `grid_sample`, concatenates code, offset and cell, and applies the whole MLP with
its wide first layer (Chen et al. 2021). It uses a model's weights and shares no other code with it.
Decoders other than LIIF's are asked for lists of points: for chunks of them, or, where a colour
depends on the other points, for all at once.
"""

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from liif.images.convert import check_range
from liif.models.decoders.liif import Liif
from liif.models.model import SRModel
from liif.models.precision import precision_context

CHUNK = 30_000


def make_coord(size: tuple[int, int], device: torch.device) -> Tensor:
    """Return the pixel centres of an image, (H, W, 2) as (y, x)."""
    axes = [-1 + 1 / n + (2 / n) * torch.arange(n, device=device).float() for n in size]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)


def query(decoder: Liif, feat: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
    """Return normalised colours (B, Q, 3) of coord (B, Q, 2) and cell (B, Q, 2)."""
    (h, w), B = feat.shape[-2:], len(feat)
    if decoder.kernel == 3:
        feat = F.unfold(feat, 3, padding=1).view(B, -1, h, w)
    centres = make_coord((h, w), feat.device).permute(2, 0, 1).expand(B, 2, h, w)

    def sample(values: Tensor, at: Tensor) -> Tensor:
        grid = at.flip(-1).unsqueeze(1)
        found = F.grid_sample(values, grid, mode="nearest", align_corners=False)
        return found[:, :, 0].permute(0, 2, 1)

    half_pixels = coord.new_tensor([h, w])  # of the low-resolution grid, per coordinate unit
    ensemble = decoder.local_ensemble
    shifts = [(-1, -1), (-1, 1), (1, -1), (1, 1)] if ensemble else [(0, 0)]
    colours: list[Tensor] = []
    areas: list[Tensor] = []
    for sy, sx in shifts:
        at = coord.clone()
        at[..., 0] += sy / h + (1e-6 if ensemble else 0)
        at[..., 1] += sx / w + (1e-6 if ensemble else 0)
        at = at.clamp(-1 + 1e-6, 1 - 1e-6)
        code, centre = sample(feat, at), sample(centres, at)
        offset = (coord - centre) * half_pixels
        parts = [code, offset]
        if decoder.extra_inputs == 4:
            parts.append(cell * half_pixels)
        colours.append(decoder.mlp(torch.cat(parts, dim=-1)))
        areas.append((offset[..., 0] * offset[..., 1]).abs() + 1e-9)
    total = torch.stack(areas).sum(dim=0)
    pairs = zip(colours, reversed(areas), strict=True)
    return torch.stack([c * (a / total).unsqueeze(-1) for c, a in pairs]).sum(dim=0)


def forward(model: SRModel, lr: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
    """As SRModel.forward: lr (B, C, h, w) in [0, 1] -> colours (B, Q, C) in image units."""
    assert isinstance(model.decoder, Liif)
    feat = model.encoder((lr - model.mean.view(-1, 1, 1)) / model.std.view(-1, 1, 1))
    return query(model.decoder, feat, coord, cell) * model.std + model.mean


@torch.no_grad()
def upscale(
    model: SRModel, lr: Tensor, size: tuple[int, int], clip_cell: float = math.inf
) -> Tensor:
    """As SRModel.upscale with clamp=False, in float32 without TF32: (C, h, w) -> (C, H, W)."""
    check_range(lr, "lr")
    decoder, batch = model.decoder, lr[None]
    coord = make_coord(size, lr.device).view(1, -1, 2)
    cell = torch.ones_like(coord)
    for axis in (0, 1):
        # Never below the cell at scale clip_cell, whose image has n · clip_cell pixels.
        cell[..., axis] *= max(2 / size[axis], 2 / (lr.shape[1 + axis] * clip_cell))
    with precision_context(lr.device, "float32"):
        if isinstance(decoder, Liif) and model.window == 1:
            mean, std = model.mean, model.std
            feat = model.encoder((batch - mean.view(-1, 1, 1)) / std.view(-1, 1, 1))

            def decode(coord: Tensor, cell: Tensor) -> Tensor:
                return query(decoder, feat, coord, cell) * std + mean
        else:
            decode = partial(model.query, model.encode(batch))
        chunk = coord.shape[1] if decoder.has_statistics else CHUNK
        parts = zip(coord.split(chunk, dim=1), cell.split(chunk, dim=1), strict=True)
        chunks = [decode(*part) for part in parts]
    return torch.cat(chunks, dim=1)[0].T.reshape(-1, *size)

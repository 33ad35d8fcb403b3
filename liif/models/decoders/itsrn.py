"""The implicit transformer network (Yang, Shen, Yue, Li: "Implicit Transformer Network for Screen
Content Image Continuous Super-Resolution", NeurIPS 2021), written from its formulas."""

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liif.core.section import Section, Width, Widths
from liif.models.decoder import Decoder
from liif.models.decoders.ciaosr import attended
from liif.models.decoders.lte import relative
from liif.models.field import Field


class ItsrnConfig(Section):
    """Configuration of the ITSRN decoder."""

    name: Literal["itsrn"] = "itsrn"
    hidden: Widths = (256, 256, 256, 256)
    """Widths of the hidden layers of the MLP that predicts weights."""
    score: Width = 256
    """Width of the hidden layer of the two small MLPs."""

    SMALL: ClassVar = {"hidden": (16, 12), "score": 8}  # a variant for fast tests

    def build(self, width: int, channels: int) -> "Itsrn":
        return Itsrn(width, self, channels)


class Itsrn(Decoder):
    """rgb_c = g(v_1c, …, v_4c), v_ic = U_i · W_c(offset_i, cell) + s(offset_i): the unfolded
    features U_i of four codes, with weights W that an MLP predicts from offset and cell."""

    radius = 1

    def __init__(self, width: int, config: ItsrnConfig, channels: int = 3) -> None:
        super().__init__()
        self.channels = channels
        self.imnet = gelu_mlp(4, config.hidden, 9 * width * channels)
        self.score = gelu_mlp(2, [config.score], 1)
        self.blend = gelu_mlp(4, [config.score], 1)
        self.code_channels = 9 * width

    def prepare(self, feat: Tensor, lr: Tensor) -> Field:
        """Unfold feat (B, C, h, w): 3×3 vectors for each code."""
        return Field.of_map(F.unfold(feat, 3, padding=1).unflatten(-1, feat.shape[-2:]))

    def query(self, field: Field, coord: Tensor, cell: Tensor) -> Tensor:
        """Return normalised colours (B, Q, C) at coord (B, Q, 2), cell (B, Q, 2) or (B, 1, 2)."""
        half = cell / 2  # the published code measures cells in [0, 1]
        token = relative(half, field).expand_as(coord)
        values = list[Tensor]()
        for row, col, offset in attended(coord, half, field):
            code = field.gather(row, col)
            weight = self.imnet(torch.cat([offset, token], dim=-1).to(code))
            weight = weight.unflatten(-1, (-1, self.channels))
            value = (code[..., None, :] @ weight.to(code)).squeeze(-2)
            values.append(value + self.score(offset.to(code)))
        return self.blend(torch.stack(values, dim=-1)).squeeze(-1).float()


def gelu_mlp(channels_in: int, hidden: Sequence[int], channels_out: int) -> nn.Sequential:
    """Return linear layers with GELU between them."""
    widths = pairwise([channels_in, *hidden, channels_out])
    layers = [layer for a, b in widths for layer in (nn.Linear(a, b), nn.GELU())]
    return nn.Sequential(*layers[:-1])

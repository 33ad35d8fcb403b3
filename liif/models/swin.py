"""Blocks of attention in shifted windows (Liu et al.: "Swin Transformer", ICCV 2021), in the
arrangement of SwinIR (Liang et al., ICCVW 2021): for encoders, and for what follows an encoder."""

from typing import Annotated, Literal

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liif.core.section import Section, Width, Widths
from liif.models.layers import conv

Gelu = Literal["none", "tanh"]
"""How GELU is computed: exactly, or by its approximation with tanh."""


class SwinConfig(Section):
    """Configuration of groups of blocks of attention in windows."""

    embedding: Width = 180
    """Channels of the transformer."""
    depths: Widths = (6, 6, 6, 6, 6, 6)
    """Blocks of each group."""
    heads: Width = 6
    """A divisor of the embedding."""
    window: Annotated[int, pydantic.Field(ge=2, le=64, multiple_of=2)] = 8
    """Side of the attention windows; every other block shifts them by half of it."""
    ratio: pydantic.PositiveFloat = 2.0
    """Hidden channels of a block's MLP over its input channels."""
    drop_path: Annotated[float, pydantic.Field(ge=0, lt=1)] = 0.1
    """Probability of skipping the last block in training; it grows linearly from the first."""

    @pydantic.model_validator(mode="after")
    def _check(self) -> "SwinConfig":
        if self.embedding % self.heads:
            raise ValueError(f"heads: {self.heads} is not a divisor of embedding {self.embedding}")
        return self


class WindowAttention(nn.Module):
    """Attention among the pixels of a window, with a bias for each relative position."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Map windows x (B, N, n², C), with a mask (N, n², n²) that is added to the scores."""
        B, N, pixels, C = x.shape
        q, k, v = self.qkv(x).view(B, N, pixels, 3, self.heads, -1).permute(3, 0, 1, 4, 2, 5)
        bias = self.relative_position_bias_table[self._positions(x.device)].permute(2, 0, 1)
        scores = bias if mask is None else bias + mask[:, None]
        scores = scores.to(q).expand(B, N, -1, -1, -1)
        if B == 1:
            # PyTorch's fused kernel takes four dimensions: a third of the time for 128² pixels on a
            # CPU. Of several images the scores would have to be copied for that.
            out = F.scaled_dot_product_attention(q[0], k[0], v[0], scores[0])[None]
        else:
            out = F.scaled_dot_product_attention(q, k, v, scores)
        return self.proj(out.transpose(2, 3).reshape(B, N, pixels, C))

    def _positions(self, device: torch.device) -> Tensor:
        """Return the row of the table for each pair of pixels, (n², n²)."""
        n = self.window
        at = torch.arange(n * n, device=device)
        row, col = at // n, at % n
        down, right = row[:, None] - row + n - 1, col[:, None] - col + n - 1
        return down * (2 * n - 1) + right


class Perceptron(nn.Module):
    """Two linear layers with GELU between them."""

    def __init__(self, width: int, hidden: int, gelu: Gelu) -> None:
        super().__init__()
        self.gelu: Gelu = gelu
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x), approximate=self.gelu))


class Block(nn.Module):
    """Attention and MLP, each with a normalised input and added to it, in windows that are shifted
    by `shift` pixels."""

    def __init__(self, config: SwinConfig, shift: int, drop_path: float, gelu: Gelu) -> None:
        super().__init__()
        width = config.embedding
        self.window, self.shift, self.drop_path = config.window, shift, drop_path
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = WindowAttention(width, config.heads, config.window)
        self.mlp = Perceptron(width, round(width * config.ratio), gelu)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map x (B, h, w, C); the mask is for shifted windows."""
        _, h, w, _ = x.shape
        normal = self.norm1(x).roll((-self.shift, -self.shift), dims=(1, 2))
        mixed = self.attn(to_windows(normal, self.window), mask if self.shift else None)
        mixed = from_windows(mixed, self.window, h, w).roll((self.shift, self.shift), dims=(1, 2))
        x = x + self._dropped(mixed)
        return x + self._dropped(self.mlp(self.norm2(x)))

    def _dropped(self, branch: Tensor) -> Tensor:
        """Skip the branch for some samples in training (stochastic depth)."""
        if not (self.training and self.drop_path):
            return branch
        keep = 1 - self.drop_path
        kept = torch.rand(len(branch), 1, 1, 1, device=branch.device) < keep
        return branch * (kept / keep).to(branch)


class BlockList(nn.Module):
    """The blocks of a group."""

    def __init__(self, config: SwinConfig, rates: list[float], gelu: Gelu) -> None:
        super().__init__()
        shifts = [config.window // 2 * (i % 2) for i in range(len(rates))]
        self.blocks = nn.ModuleList(
            Block(config, shift, rate, gelu) for shift, rate in zip(shifts, rates, strict=True)
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x, mask)
        return x


class Group(nn.Module):
    """Blocks and a convolution, added to their input."""

    def __init__(self, config: SwinConfig, rates: list[float], gelu: Gelu) -> None:
        super().__init__()
        self.residual_group = BlockList(config, rates, gelu)
        self.conv = conv(config.embedding, config.embedding)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        out = self.residual_group(x, mask).permute(0, 3, 1, 2)
        return x + self.conv(out).permute(0, 2, 3, 1)


class Swin(nn.Module):
    """(B, channels, h, w) of whole windows -> (B, width, h, w). Its parameters have the names of
    the official SwinIR code."""

    def __init__(self, config: SwinConfig, channels: int, width: int, gelu: Gelu = "none") -> None:
        super().__init__()
        self.window = config.window
        embedding, blocks = config.embedding, sum(config.depths)
        # A pixel sees all of its window in every block, and one more in every convolution.
        self.radius = blocks * (config.window - 1) + len(config.depths) + 3
        self.peak_channels = 8 * embedding + 2 * config.heads * config.window**2
        rates = [config.drop_path * i / max(blocks - 1, 1) for i in range(blocks)]
        self.conv_first = conv(channels, embedding)
        self.patch_embed = nn.ModuleDict({"norm": nn.LayerNorm(embedding)})
        self.layers = nn.ModuleList()
        for depth in config.depths:
            self.layers.append(Group(config, rates[:depth], gelu))
            rates = rates[depth:]
        self.norm = nn.LayerNorm(embedding)
        self.conv_after_body = conv(embedding, embedding)
        self.conv_before_upsample = nn.Sequential(conv(embedding, width), nn.LeakyReLU())

    def forward(self, x: Tensor, /) -> Tensor:
        shallow = self.conv_first(x)
        mask = shift_mask((x.shape[2], x.shape[3]), self.window, x.device)
        x = self.patch_embed["norm"](shallow.permute(0, 2, 3, 1))
        for layer in self.layers:
            x = layer(x, mask)
        deep = self.conv_after_body(self.norm(x).permute(0, 3, 1, 2))
        return self.conv_before_upsample(shallow + deep)


def to_windows(x: Tensor, n: int) -> Tensor:
    """Return the windows (B, N, n², C) of x (B, h, w, C)."""
    B, h, w, C = x.shape
    windows = x.view(B, h // n, n, w // n, n, C).transpose(2, 3)
    return windows.reshape(B, -1, n * n, C)


def from_windows(windows: Tensor, n: int, h: int, w: int) -> Tensor:
    """Return x (B, h, w, C) of its windows (B, N, n², C)."""
    B, C = windows.shape[0], windows.shape[-1]
    return windows.view(B, h // n, w // n, n, n, C).transpose(2, 3).reshape(B, h, w, C)


def shift_mask(size: tuple[int, int], n: int, device: torch.device) -> Tensor:
    """Return what is added to the scores of shifted windows, (N, n², n²): -100 between pixels that
    are not neighbours in the image, because the shift wraps around."""
    parts = []
    for side in size:
        at = torch.arange(side, device=device)
        parts.append((at >= side - n).long() + (at >= side - n // 2).long())
    region = (parts[0][:, None] * 3 + parts[1])[None, ..., None].float()
    windows = to_windows(region, n)[0, :, :, 0]
    return (windows[:, :, None] != windows[:, None]).float() * -100

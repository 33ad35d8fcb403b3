"""The contract of decoders: four stages, each of which may depend on less than the next.

    stage        may depend on                      is called once for
    prepare      the image                          an image, or a tile of it
    bind         the image and the cell             an image, or a tile of it, and an output size
    statistics   all points of the output           an image and an output size
    query        one point                          points
    query_grid   one point                          rows × columns of a grid

Stages are pure: they depend on their arguments and the weights, and keep nothing between calls.
Letters: B batch, C channels, h w low-resolution grid, Q queried points, R W rows and columns.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from torch import Tensor, nn

from liif.models.field import Field
from liif.models.geometry import grid_coord
from liif.models.layers import Layer

BLOCK_BYTES = 40 * 2**20
"""GPU memory that decoding as many pixels as a CPU's block takes at most: 39 MB for the decoder
ciaosr, 0.4 MB for bilinear, in float32 and with the default widths."""
PointSum = Callable[[Field, Tensor, Tensor], Tensor]
"""A function of (field, coord (B, Q, 2), cell (B, Q, 2) or (B, 1, 2)): a sum over the Q points,
(B, …)."""


class Points(Protocol):
    """All points of an output."""

    def mean(self, function: PointSum) -> Tensor:
        """Return the mean over all points, (B, …), of what `function` sums over some of them."""
        ...


class Decoder(nn.Module):
    """Base class of decoders, which predict colours at any points of an encoded image. A decoder
    has `prepare` and `query`; the other stages have defaults."""

    radius: int | None
    """Distance in low-resolution pixels up to which a feature can change a code of `prepare`; None
    if it is unlimited: the image is then encoded at once, never in tiles."""
    reach: int = 1
    """Codes that a query uses beyond the one nearest to its point, in each direction."""
    code_channels: int
    """Channels that `prepare` and `bind` keep alive for each low-resolution pixel."""
    block: int = 32
    """Side of the square of pixels that is decoded at a time on each core of a CPU: large enough
    for efficient products, small enough for the core's cache. 32 suits MLPs as wide as LIIF's, 64
    or 128 decoders that compute less for a pixel."""
    window: int = 1
    """Side of attention windows of `prepare`: tiles start at multiples of it, and end there or at
    the end of the image, where the decoder pads the features by itself."""

    def prepare(self, feat: Tensor, lr: Tensor) -> Field:
        """Compute what depends on the image only, from feat (B, width, h, w) and the normalised
        image lr (B, C, h, w)."""
        raise NotImplementedError

    def field_layers(self, codes: Tensor) -> tuple[Layer, ...]:
        """Return `Field.layers` in the type of the codes: converted once, not at every query."""
        return ()

    def bind(self, field: Field, cell: Tensor) -> Field:
        """Compute what depends on the cell, too, (B, 2) or (1, 2), code by code: no code of the
        result depends on another code, or on the place of a code."""
        return field

    def statistics(self, points: Points) -> tuple[Tensor, ...]:
        """Return float32 tensors (B, …) made of means over all points of the output; `points.mean`
        may be called several times. They are given to `query` as `field.shared`."""
        return ()

    def query(self, field: Field, coord: Tensor, cell: Tensor) -> Tensor:
        """Return normalised colours (B, Q, C) at coord (B, Q, 2) for cell (B, Q, 2) or (B, 1, 2),
        all as (y, x)."""
        raise NotImplementedError

    def query_grid(self, field: Field, y: Tensor, x: Tensor, cell: Tensor) -> Tensor:
        """Return normalised colours (B, R, W, C) of rows y (R,), columns x (W,), a cell (1, 2)."""
        coord = grid_coord(y, x).expand(len(field.codes), -1, -1)
        return self.query(field, coord, cell[:, None]).unflatten(1, (len(y), len(x)))

    def statistics_for(self, field: Field, coord: Tensor, cell: Tensor) -> tuple[Tensor, ...]:
        """Return the field's statistics; without them, those of the given points, which are then
        all points there are, as in training."""
        return field.shared or self.statistics(GivenPoints(field, coord, cell))

    def slopes(self, field: Field, coord: Tensor) -> Tensor:
        """Return the derivatives (B, Q, C, 2) of the normalised colours at coord (B, Q, 2) along y
        and x, for one low-resolution pixel and a queried pixel without extent, from a field that is
        not bound. Only for the loss `slope`, of decoders whose configuration `gives` "slopes"."""
        raise NotImplementedError

    def log_likelihood(self, field: Field, coord: Tensor, cell: Tensor, target: Tensor) -> Tensor:
        """Return the logarithm of the density (B, Q) of normalised colours target (B, Q, C); the
        rest is as in `query`. Only for the loss `nll`, of decoders whose configuration `gives`
        "log_likelihood"."""
        raise NotImplementedError

    def pixel_bytes(self, field: Field) -> int:
        """Return about how many bytes of GPU memory `query_grid` takes for each pixel that it
        computes at a time, of each image of a batch. Blocks are halved where this is too little."""
        return BLOCK_BYTES // self.block**2

    @property
    def has_bind(self) -> bool:
        """Whether `bind` does anything."""
        return type(self).bind is not Decoder.bind

    @property
    def has_statistics(self) -> bool:
        """Whether a colour depends on the other points of the output."""
        return type(self).statistics is not Decoder.statistics


class GivenPoints(NamedTuple):
    """The points of one call of `query`."""

    field: Field
    coord: Tensor
    cell: Tensor

    def mean(self, function: PointSum) -> Tensor:
        """As `Points.mean`."""
        return function(*self) / self.coord.shape[1]

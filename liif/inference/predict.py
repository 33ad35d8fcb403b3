"""Enlarge one image with one model and a set of inference options."""

import math
from collections.abc import Iterator
from itertools import pairwise, product
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from liif.core.distributed import ALONE, Team
from liif.core.errors import UserError
from liif.core.sizes import Size, Window, borders, target_size
from liif.images.resize import pillow_lanczos
from liif.models.model import SRModel
from liif.models.precision_names import Precision
from liif.models.reference import upscale as reference_upscale
from liif.models.tiling import Watch, strip_count

Engine = Literal["fast", "reference"]


class InferenceOptions(NamedTuple):
    """How a model enlarges an image.

    `engine`, `precision` and `memory` change a result by rounding only. The other options change
    what is computed; all are off in published figures.
    """

    engine: Engine = "fast"
    """"reference" is the published formulation: unoptimised, in float32."""
    precision: Precision = "float32"
    memory: int | None = None
    """As in `SRModel.upscale`."""
    self_ensemble: bool = False
    """Average over the eight flips and transpositions of the input (Lim et al. 2017: EDSR+)."""
    rotation_ensemble: bool = False
    """Average over the four rotations of the input only (Becker et al. 2023: Thera)."""
    clip_cell: float = math.inf
    """As in `SRModel.upscale`."""
    lanczos_from: float | None = None
    """Enlarge by this factor with the model, and from there to the final size with Lanczos."""
    round: bool = False
    """Round the result to 8 bits before it is scored."""

    @property
    def supports_strips(self) -> bool:
        """Whether parts of a result can be computed on their own."""
        is_plain = not self.self_ensemble and not self.rotation_ensemble
        return self.engine == "fast" and is_plain and self.lanczos_from is None

    @property
    def non_default(self) -> dict[str, float | bool | None]:
        """The options that change what is computed and are on, for result files."""
        keys = ("self_ensemble", "rotation_ensemble", "clip_cell", "lanczos_from", "round")
        return {k: v for k in keys if (v := getattr(self, k)) != self._field_defaults[k]}


DEFAULT_OPTIONS = InferenceOptions()


def predict_strips(
    model: SRModel,
    lr: Tensor,
    size: Size,
    options: InferenceOptions = DEFAULT_OPTIONS,
    window: Window | None = None,
    team: Team = ALONE,
    watch: Watch | None = None,
) -> Iterator[Tensor]:
    """Yield the enlarged image of lr, not clamped, as strips (C, R, W) from top to bottom.

    lr is (C, h, w) in [0, 1], `size` is (H, W) of the result, and `window` is as in
    `SRModel.upscale`. All processes of the team compute strips in turn, if the options support it;
    only the leading one receives them. Raises UserError for a window with options that do not
    support strips. `watch` is told of this process's work as it is done.
    """
    if not options.supports_strips:
        if window is not None:
            raise UserError(
                "a part of an image cannot be enlarged with --self-ensemble, --rotation-ensemble, "
                "--lanczos-from or --engine reference; enlarge the whole image, or remove the "
                "option"
            )
        if team.leads:
            yield _predict_whole(model, lr, size, options, watch)
        return

    settings: dict[str, Any] = {"precision": options.precision, "memory": options.memory}
    settings |= {"clip_cell": options.clip_cell, "window": window}
    if team.size == 1:
        for _, strip in model.strips(lr[None], size, watch=watch, **settings):
            yield strip[0]
        return
    # Computed once, on the CPU for the way to the other processes.
    if model.decoder.has_statistics:
        found = model.statistics(lr[None], size, **settings) if team.leads else ()
        found = team.gather([each.cpu() for each in found])[0]
        settings["shared"] = tuple(each.to(model.mean.device) for each in found)
    turns = math.ceil(strip_count(size) / team.size)
    for i, rows in enumerate(pairwise(borders(size[0], team.size * turns))):
        rank = i % team.size
        if rows[0] == rows[1]:  # there are fewer rows than turns of all processes
            continue
        if rank == team.rank:
            parts = [part[0] for _, part in model.strips(lr[None], size, rows=rows, **settings)]
            strip = torch.cat(parts, dim=1)
            if team.leads:
                yield strip
            else:
                team.send(strip)
        elif team.leads:
            channels = model.channels.output
            yield team.receive((channels, rows[1] - rows[0], size[1]), rank)


def predict(
    model: SRModel,
    lr: Tensor,
    size: Size,
    options: InferenceOptions,
    watch: Watch | None = None,
    window: Window | None = None,
) -> Tensor:
    """Return the enlarged image (C, H, W) of lr (C, h, w), not clamped; all as `predict_strips`."""
    return torch.cat(list(predict_strips(model, lr, size, options, window, watch=watch)), dim=1)


def _predict_whole(
    model: SRModel, lr: Tensor, size: Size, options: InferenceOptions, watch: Watch | None
) -> Tensor:
    """As `predict`, for options that do not support strips."""
    if options.self_ensemble or options.rotation_ensemble:
        alone = options._replace(self_ensemble=False, rotation_ensemble=False)
        positions = list(product(((), (1,), (2,), (1, 2)), (False, True)))
        if options.rotation_ensemble:  # an even number of reflections is a rotation
            positions = [each for each in positions if (len(each[0]) + each[1]) % 2 == 0]
        total = lr.new_zeros(model.channels.output, *size)
        for flips, transposed in positions:
            turned, turned_size = lr.flip(flips), size
            if transposed:
                turned, turned_size = turned.transpose(1, 2).contiguous(), (size[1], size[0])
            sr = predict(model, turned, turned_size, alone, watch)
            total += (sr.transpose(1, 2) if transposed else sr).flip(flips)
        return total / len(positions)
    if options.lanczos_from is not None:
        first = target_size((lr.shape[1], lr.shape[2]), scale=options.lanczos_from)
        plain = options._replace(lanczos_from=None)
        enlarged = predict(model, lr, first, plain, watch).permute(1, 2, 0)
        resized = torch.from_numpy(pillow_lanczos(enlarged.cpu().numpy(), size))
        return resized.permute(2, 0, 1).to(lr.device)
    return reference_upscale(model, lr, size, options.clip_cell)

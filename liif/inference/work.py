"""How far the work on a picture is, and how long the rest takes, measured on its first blocks."""

import math
import time
from collections.abc import Callable
from threading import RLock

from liif.core.sizes import Size
from liif.inference.predict import InferenceOptions
from liif.models.model import SRModel
from liif.models.tiling import STRIP_BYTES, memory_budget

PROGRAM_BYTES = 3 * 10**8
"""What Python and PyTorch take by themselves."""
FIRST_SHARE, FIRST_SECONDS = 0.02, 20.0
"""The rest is estimated when this share of the pixels is decoded, or for this time: the very first
blocks are slower."""


class WorkMeter:
    """A `Watch` of one picture: it takes the time of encoding and of decoding apart, as the first
    tile is encoded as a whole before its first block is decoded."""

    def __init__(
        self, source_size: Size, size: Size, options: InferenceOptions, passes: int = 1,
        on_progress: Callable[[float], None] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:  # fmt: skip
        """`passes` is how often a model goes over the picture: once for colour, once for alpha,
        for each frame. `on_progress` is given the share of the work that each call adds."""
        passes *= 8 if options.self_ensemble else 4 if options.rotation_ensemble else 1
        factor = options.lanczos_from
        pixels = source_size[0] * source_size[1]
        decoded = size[0] * size[1] if factor is None else round(pixels * factor**2)
        self.total = pixels * passes, max(decoded, 1) * passes
        self.done, self.seconds = [0, 0], [0.0, 0.0]
        self.on_progress, self.clock = on_progress, clock
        self.lock, self.last = RLock(), clock()
        self.share = 0.0

    def __call__(self, encoded: int, decoded: int) -> None:
        with self.lock:
            now = self.clock()
            kind = 0 if encoded else 1
            self.done[kind] += encoded or decoded
            self.seconds[kind] += now - self.last
            self.last = now
            share = min(1.0, self.done[1] / self.total[1])
            gain, self.share = share - self.share, max(share, self.share)
            if self.on_progress is not None and gain > 0:
                self.on_progress(gain)

    @property
    def _is_measured(self) -> bool:
        return self.share >= FIRST_SHARE or self.seconds[1] >= FIRST_SECONDS

    @property
    def estimate(self) -> float | None:
        """Seconds that all of the work takes; None before enough of it is measured."""
        with self.lock:
            if not all(self.done) or not self._is_measured:
                return None
            rates = zip(self.seconds, self.done, self.total, strict=True)
            return sum(seconds / done * max(total, done) for seconds, done, total in rates)


def expected_memory(
    model: SRModel, source_size: Size, size: Size, memory: int | None, *, is_streamed: bool
) -> int:
    """Return about how many bytes enlarging an RGB picture takes: this program, the picture as
    floats, a tile in the encoder, a strip, and, unless `is_streamed`, all of the result."""
    pixels, result = (math.prod(each) for each in (source_size, size))
    tile = pixels * 4 * model.peak_channels
    if model.halo is not None:
        tile = min(tile, memory or memory_budget(model.mean))
    strip = min(12 * result, STRIP_BYTES)
    return PROGRAM_BYTES + 24 * pixels + tile + 2 * strip + (0 if is_streamed else 6 * result)


def in_words(seconds: float) -> str:
    """Return a duration as text, e.g. "3 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

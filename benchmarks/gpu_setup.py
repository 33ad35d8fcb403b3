"""What the parts of `gpu.py` share: device, models and sizes, and counting the kernel's calls."""

import copy
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import paper_model, precisions
from torch import Tensor

from liif.data.cache import ImageStore
from liif.data.random_scale import RandomScale, RandomScaleSource
from liif.hub.catalog import find_model
from liif.models.build import ModelConfig, build_model
from liif.models.checkpoint import load_checkpoint
from liif.models.cost import decoder_cost, encoder_cost
from liif.models.decoders.liif import Liif
from liif.models.fastest import fastest_precision
from liif.models.kernels import fused
from liif.models.model import SRModel
from liif.models.precision_names import UsedPrecision

ROOT = Path(__file__).resolve().parents[1]
NO_GPU = "skipped: no CUDA device"
LATE = "skipped: out of time"
COMPILATION_S = 30
"""Seconds that must be left for a row that compiles."""
STEP_S = 0.05
"""Seconds that must be left for each step of a whole training: three times those of an H200."""
PAPER, TRAINED = "256 wide", "edsr-light, trained"
TableRow = dict[str, Any]


@dataclass(frozen=True)
class Setup:
    """The device, the models and the sizes to measure."""

    device: torch.device
    models: dict[str, SRModel]
    """PAPER: EDSR-baseline-LIIF, whose decoder is 256 wide. TRAINED: the model of the package."""
    peaks: dict[str, float]
    """FLOP/s of the yardstick by precision."""
    quick: bool
    side: int
    """Width of the enlarged image; its height is two thirds of that."""
    batch: int
    out: Path
    deadline: float
    say: Callable[[str], None]

    @property
    def size(self) -> tuple[int, int]:
        return self.side * 2 // 3, self.side

    @property
    def rounds(self) -> int:
        return 3 if self.quick else 7

    @property
    def patch(self) -> int:
        """Side of a training sample: the recipe's 48, less where a test asks for small images."""
        return min(48, self.side // 5)

    @property
    def is_gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def half(self) -> UsedPrecision:
        """The fastest precision of the device: bf16, before Ampere fp16."""
        return fastest_precision(self.device)

    @property
    def precisions(self) -> list[UsedPrecision]:
        return precisions(self.device)

    def left(self) -> float:
        """Return the seconds until no further row begins."""
        return self.deadline - time.perf_counter()

    def speed(self, flop: float, seconds: float, precision: UsedPrecision) -> TableRow:
        """Return the columns that all measurements of products have."""
        rate = flop / seconds
        return {"TFLOP/s": rate / 1e12, "share of the peak": rate / self.peaks[precision]}

    def source(self) -> RandomScaleSource:
        """Return training samples of noise images of the measured size."""
        random = np.random.default_rng(0)
        shape = (max(self.size[0], 200), max(self.size[1], 200), 3)
        images = [random.integers(0, 256, shape, dtype=np.uint8) for _ in range(4)]
        names = [f"{i}.png" for i in range(len(images))]
        config = RandomScale(images="noise", patch=self.patch, queries=self.patch**2)
        return RandomScaleSource(config, ImageStore(names, [shape[:2]] * 4, [], images))


def models(device: torch.device, checkpoint: Path | None) -> dict[str, SRModel]:
    """Return the models to measure. Without a file, the decoder of the paper's model gets weights
    as large as trained ones: those of a new model give one gray, in which no error shows."""
    official = find_model("edsr-liif")
    if checkpoint is None and official is not None and official.path.is_file():
        checkpoint = official.path
    if checkpoint is not None:
        paper = load_checkpoint(checkpoint)
    else:
        paper = paper_model().eval()
        assert isinstance(paper.decoder, Liif)
        generator = torch.Generator().manual_seed(0)
        for layer in paper.decoder.mlp.linear:
            bound = 2 / layer.in_features**0.5
            for parameter in (layer.weight, layer.bias):
                parameter.data.uniform_(-bound, bound, generator=generator)
    light = find_model("edsr-light")
    assert light is not None
    return {PAPER: paper.to(device), TRAINED: load_checkpoint(light.path).to(device)}


def without_kernel(model: SRModel) -> SRModel:
    """Return the same model, decoded by PyTorch."""
    plain = copy.deepcopy(model)
    assert isinstance(plain.decoder, Liif)
    plain.decoder.fuse = False
    return plain


@contextmanager
def kernel_calls() -> Generator[list[int], None, None]:
    """Yield a list that gets an item with every call of the kernel that returns."""
    calls: list[int] = []
    decode = fused.decode

    def counted(*arguments: Any, **options: Any) -> Tensor:  # noqa: ANN401
        result = decode(*arguments, **options)
        calls.append(1)
        return result

    fused.decode = counted
    try:
        yield calls
    finally:
        fused.decode = decode


def calls_of(run: Callable[[], Any]) -> int:
    """Return how often a second run calls the kernel; the first one may try it."""
    run()
    with kernel_calls() as calls:
        run()
    return len(calls)


def multiplications(config: ModelConfig, inputs: int, outputs: int) -> float:
    """Return the multiplications of a model for so many pixels in and out, at x4."""
    width = build_model(config).encoder.width
    encoder = encoder_cost(config.encoder)  # pyright: ignore[reportArgumentType]
    decoder = decoder_cost(config.decoder, width, 4)  # pyright: ignore[reportArgumentType]
    once = encoder.per_input_pixel + decoder.per_input_pixel
    return once * inputs + decoder.per_output_pixel * outputs

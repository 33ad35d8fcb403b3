"""What a training run and a test can be told; the parts of a model and the kinds of samples state
their own share."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt

from liif.data.samples import Scale, TrainData
from liif.metrics import ProtocolName
from liif.models.build import ModelConfig
from liif.section import Section

Count = Annotated[int, Field(gt=0, le=10**9)]


def _both_axes(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not 1 <= value <= 1000:  # checked below too, but there it would be two mistakes
            raise ValueError(f"must be from 1 to 1000, not {value}")
        return (value, value)
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError("must be a number such as 2 or 2.5, or two: [vertical, horizontal]")
    return tuple(value)


Scales = Annotated[tuple[Scale, Scale], BeforeValidator(_both_axes)]
"""(vertical, horizontal); one number stands for both."""


class ValidConfig(Section):
    """Judging the model while it trains, on low-resolution images made by Pillow's bicubic."""

    images: str
    scales: Annotated[tuple[Scale, ...], Field(min_length=1)] = (2.0, 3.0, 4.0)
    every: PositiveInt = 1000
    """Steps between validations; one more follows the last step."""
    crop: PositiveInt | None = 240
    """Side of the centre square that is used of each image; null for whole images."""
    limit: NonNegativeInt = 0
    """Use the first so many images only; 0 for all."""
    protocol: ProtocolName = "div2k"


class FinalTestConfig(Section):
    """A last look at the finished model: a table beside bicubic and a comparison picture."""

    images: str
    scales: Annotated[tuple[Scale, ...], Field(min_length=1)] = (2.0, 3.0, 4.0, 6.0, 12.0)
    protocol: ProtocolName = "div2k"


class TrainConfig(Section):
    """A training run; the defaults are the paper's (Chen et al. 2021, sec. 5)."""

    data_root: str | None = None
    """Folder that the paths below are relative to; by default $LIIF_DATA, else datasets/."""
    model: ModelConfig
    train_data: TrainData
    valid: ValidConfig | None = None
    test: FinalTestConfig | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    steps: Count = 1_000_000
    batch_size: Count = 16
    """Over all processes."""
    accumulate: PositiveInt = 1
    """Parts that a process works through its share of a batch in, for less memory."""
    optimizer: Literal["adam", "muon"] = "adam"
    """muon: the weights of hidden layers move by orthogonalised momentum, the rest by Adam; as good
    in fewer steps where it was measured (results/README.md)."""
    learning_rate: PositiveFloat = 1e-4
    schedule: Literal["milestones", "cosine"] = "milestones"
    """How the learning rate falls: at `milestones`, or along a cosine to nothing at the end."""
    warm_up: NonNegativeInt = 0
    """Steps over which it rises first."""
    milestones: tuple[PositiveInt, ...] = (200_000, 400_000, 600_000, 800_000)
    """Steps after which the learning rate is multiplied by `decay`."""
    decay: PositiveFloat = 0.5
    precision: Literal["float32", "bf16"] = "float32"
    """bf16: convolutions and matrix products in bfloat16 (autocast), weights in float32."""
    compile: bool | Literal["max-autotune"] = False
    """Use torch.compile for the training step; max-autotune also tries its kernels' variants and
    captures the step as CUDA graphs, which takes minutes first."""
    deterministic: bool = False
    """On a GPU: the same bits every time, with slower algorithms. On a CPU it is always so."""
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of an exponential moving average of the weights; it is judged and used then."""
    clip_gradient: PositiveFloat | None = None
    """Largest norm of the gradient over all parameters."""
    init: str | None = None
    """A checkpoint to take the first weights from, a file or a name; for fine-tuning."""
    workers: Annotated[int, Field(ge=0, le=1024)] = 2
    """Processes that make samples."""
    stall_minutes: PositiveFloat = 30
    """Without a finished step for so long, the stacks of all threads are printed."""
    log_every: PositiveInt = 100
    save_every: PositiveInt = 1000
    """Steps between saves of the last checkpoint."""
    keep_every: PositiveInt | None = None
    """Steps between checkpoints that are kept beside the last and the best."""
    keep: PositiveInt | None = None
    """Of these, how many: the newest; null for all."""


class TestConfig(Section):
    """One evaluation set at one scale."""

    __test__ = False  # pytest, this is no test

    data_root: str | None = None
    set: str
    """The set's name in results."""
    hr: str
    """Folder of high-resolution images, or one image."""
    lr: str | None = None
    """Folder of the published low-resolution ones; {scale} stands for the scale."""
    lr_scales: tuple[PositiveInt, ...] = (2, 3, 4)
    """Scales for which `lr` holds images; they are made from `hr` for all others."""
    scale: Scales
    protocol: ProtocolName
    checkpoint: str | None = None
    """Used where the command line names none."""

    @property
    def published_lr(self) -> str | None:
        """The folder of published low-resolution images for this scale, if there is one."""
        y, x = self.scale
        if self.lr is None or y != x or y not in self.lr_scales:
            return None
        return self.lr.replace("{scale}", f"{y:g}")

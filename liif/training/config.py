"""What a training run and a test can be told; the parts of a model and the kinds of samples state
their own share."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from liif.core.section import ScaleFactor, Section
from liif.data.samplers import TrainData
from liif.evaluation.protocols import ProtocolName
from liif.models.build import ModelConfig

Count = Annotated[int, Field(gt=0, le=10**9)]


class ValidConfig(Section):
    """Judging the model while it trains, on low-resolution images made by Pillow's bicubic."""

    images: str
    scales: Annotated[tuple[ScaleFactor, ...], Field(min_length=1)] = (2.0, 3.0, 4.0)
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
    scales: Annotated[tuple[ScaleFactor, ...], Field(min_length=1)] = (2.0, 3.0, 4.0, 6.0, 12.0)
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
    """Decay of an exponential moving average of the weights; it is eval_model and used then."""
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

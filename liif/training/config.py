"""Configuration of a training run; encoders, decoders and samplers state their own sections."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from liif.core.section import ScaleFactor, Section
from liif.data.cache import check_pixel_range
from liif.data.degradations.build import PILLOW_BICUBIC, AnyDegradation
from liif.data.pairs import PairFormats
from liif.data.paths import (
    FoldersByScale,
    LowResolutionName,
    data_path,
    named_folders,
    published_folder,
)
from liif.data.samplers import TrainData
from liif.evaluation.protocols import ProtocolName
from liif.images.channels import Bits, PixelFormat
from liif.models.build import ModelConfig
from liif.models.precision_names import Precision
from liif.training.losses.build import LossList
from liif.training.losses.pointwise import L1Config
from liif.training.optimizers import OptimizerName, ParameterGroup
from liif.training.wandb_board import WandbConfig

Count = Annotated[int, pydantic.Field(gt=0, le=10**9)]
ScaleFactors = Annotated[tuple[ScaleFactor, ...], pydantic.Field(min_length=1)]

BestMetric = Literal["psnr", "ssim", "lpips"]
Beta = Annotated[float, pydantic.Field(ge=0, lt=1)]


class InitConfig(Section):
    """Checkpoints (files or names) to initialise parts of the model from."""

    encoder: str | None = None
    decoder: str | None = None


def _file_or_parts(value: Any) -> Any:  # noqa: ANN401
    is_parts = isinstance(value, InitConfig) or (
        isinstance(value, dict)
        and value.keys() <= InitConfig.model_fields.keys()
        and all(file is None or isinstance(file, str) for file in value.values())
        and any(value.values())
    )
    if not (value is None or isinstance(value, str) or is_parts):
        raise ValueError(
            "must be a file or name, or one for a part: {encoder: FILE}, {decoder: FILE} or both"
        )
    return value


def _switch_or(name: str) -> pydantic.BeforeValidator:
    # A union would report a mistake twice, once for each of its members.
    def check(value: Any) -> Any:  # noqa: ANN401
        if not (isinstance(value, bool) or value == name):
            raise ValueError(f"must be true, false or {name}")
        return value

    return pydantic.BeforeValidator(check)


class ScoredImages(Section):
    """Images that a model is scored on, and what is kept of them."""

    images: str
    """Folder of high-resolution images."""
    lr: FoldersByScale | None = None
    """Folder of published low-resolution images, in which {scale} is replaced by the scale; or
    folders by scale, {2: FOLDER, 3: FOLDER}. For other scales they are made from `images`."""
    lr_scales: tuple[PositiveInt, ...] = (2, 3, 4)
    """Scales for which a folder `lr` with {scale} has images."""
    lr_name: LowResolutionName = None
    """Name of a low-resolution image without suffix, in which {} stands for that of its partner in
    `images` and {scale} for the scale, e.g. "{}x{scale}m". Usual names are found without it."""
    degrade: AnyDegradation = PILLOW_BICUBIC  # pyright: ignore[reportInvalidTypeForm]
    """How low-resolution images are made; what is random depends on an image's name only. With
    another degradation than the default, `lr` must be null."""
    bits: Bits | None = None
    """Bits per channel that are kept, as `train_data.bits`; by default those and their range."""
    range: tuple[float, float] | None = None
    """The values that stand for 0 and 1, as `train_data.range`."""
    scales: ScaleFactors = (2.0, 3.0, 4.0)
    protocol: ProtocolName = "div2k"

    @pydantic.model_validator(mode="after")
    def _range_is_known(self) -> "ScoredImages":
        check_pixel_range(self.bits, self.range)
        if self.bits is None and self.range is not None:
            raise ValueError("range: needs bits: 8, 16 or 32 beside it")
        return self

    @pydantic.model_validator(mode="after")
    def _makes_or_has_lr(self) -> "ScoredImages":
        if self.lr is not None and self.degrade != PILLOW_BICUBIC:
            raise ValueError("degrade: excludes lr, whose images would not be used; set lr: null")
        return self

    def published_lr(self, scale: float) -> str | None:
        """The folder of published low-resolution images of a scale; None without one."""
        return published_folder(self.lr, self.lr_scales, (scale, scale))


class ValidConfig(ScoredImages):
    """Validation during training, on low-resolution images that are published, or reduced by
    Pillow's bicubic."""

    every: PositiveInt = 1000
    """Steps between validations; the last step is always validated."""
    crop: PositiveInt | None = 240
    """Side in pixels of the centre crop taken from each image; null for whole images."""
    limit: NonNegativeInt = 0
    """Number of images to use, the first ones; 0 for all."""
    protocol: ProtocolName = "div2k"
    lpips: bool = False
    """Also score LPIPS (Zhang et al., CVPR 2018), which the extra `metrics` installs."""
    best: BestMetric = "psnr"
    """Which mean over all scales decides what best.pt is: the highest PSNR or SSIM, or the lowest
    LPIPS, which is then scored."""
    patience: PositiveInt | None = None
    """Stop early after this many validations in a row without a better score; null for never."""


class FinalTestConfig(ScoredImages):
    """Test of the finished model: a table beside bicubic and a comparison image."""

    scales: ScaleFactors = (2.0, 3.0, 4.0, 6.0, 12.0)
    protocol: ProtocolName = "div2k"


class TrainConfig(Section):
    """A training run; the defaults are the paper's (Chen et al. 2021, sec. 5)."""

    data_root: str | None = None
    """Folder that the paths below are relative to; by default $LIIF_DATA, else datasets/."""
    model: ModelConfig
    train_data: TrainData  # pyright: ignore[reportInvalidTypeForm]
    valid: ValidConfig | None = None
    test: FinalTestConfig | None = None
    seed: Annotated[int, pydantic.Field(ge=0, lt=2**63)] = 0
    steps: Count = 1_000_000
    batch_size: Count = 16
    """Samples per step, over all processes."""
    accumulate: PositiveInt = 1
    """Gradient accumulation: micro-batches per optimizer step."""
    loss: LossList = (L1Config(),)
    """What training minimises: the weighted sum of these terms."""
    optimizer: OptimizerName = "adam"
    """muon: orthogonalised momentum for the weights of hidden layers, Adam for the rest."""
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    """Decays of Adam's averages of the gradient and of its square."""
    weight_decay: NonNegativeFloat = 0.0
    """Under adam it is added to the gradient (L2 regularisation); under adamw and muon it shrinks
    the weights directly."""
    groups: tuple[ParameterGroup, ...] = ()
    """Parameters that are trained at another rate or weight decay, or not at all."""
    learning_rate: PositiveFloat = 1e-4
    schedule: Literal["milestones", "cosine", "wsd"] = "milestones"
    """How the learning rate falls: at `milestones`; along a half cosine to zero; or along a line to
    zero over the last `cool_down` steps only (warm-up, stable, decay)."""
    warm_up: NonNegativeInt = 0
    """Steps over which the learning rate first rises linearly."""
    milestones: tuple[PositiveInt, ...] = (200_000, 400_000, 600_000, 800_000)
    """Steps after which the learning rate is multiplied by `decay`; `schedule: milestones` only."""
    decay: PositiveFloat = 0.5
    cool_down: NonNegativeInt = 0
    """Last steps of the run, over which the learning rate falls to zero; `schedule: wsd` only."""
    precision: Precision = "float32"
    """tf32: convolutions and matrix products may round their inputs to TF32 on a GPU. bf16 and
    fp16: they run in bfloat16 or float16 (autocast), weights stay in float32; under fp16 the loss
    is scaled. Where float32 is faster, it is used instead, with a warning; bf16! and fp16! insist.
    auto: the fastest on the device."""
    gradient_checkpointing: bool = False
    """Keep only the inputs of the encoder's blocks for the backward pass, and compute each block
    again: less memory for deep encoders, more time, the same numbers."""
    compile: Annotated[bool | Literal["max-autotune"], _switch_or("max-autotune")] = False
    """Use torch.compile for the training step; max-autotune also tries variants of its kernels and
    captures the step as CUDA graphs, which takes minutes at the start."""
    cuda_graphs: Annotated[bool | Literal["auto"], _switch_or("auto")] = "auto"
    """On a GPU: record the training step once as a CUDA graph and replay it, so that the host need
    not launch its kernels one by one. That is not possible with several processes, `compile`,
    `precision: fp16`, `gradient_checkpointing`, the loss adversarial and the decoder clit with
    several stages; under true the log says so. auto: where it is possible, except under
    `deterministic` and `profile`. On a CPU it has no effect."""
    deterministic: bool = False
    """On a GPU: deterministic algorithms, which are slower. On a CPU training is deterministic for
    one number of threads: a run that resumes computes with as many as it began with."""
    ema: Annotated[float, pydantic.Field(gt=0, lt=1)] | None = None
    """Decay of an exponential moving average of the weights, which is then validated and saved."""
    clip_gradient: PositiveFloat | None = None
    """Maximum norm of the gradient over all parameters."""
    init: Annotated[str | InitConfig | None, pydantic.BeforeValidator(_file_or_parts)] = None
    """Checkpoint (file or name) to initialise the weights from, for fine-tuning; or one for each
    part: {encoder: FILE, decoder: FILE}."""
    workers: Annotated[int, pydantic.Field(ge=0, le=1024)] = 2
    """Processes that load samples; 0 loads them in the training process."""
    stall_minutes: PositiveFloat = 30
    """Print the stacks of all threads if no step finishes for this long."""
    log_every: PositiveInt = 100
    wandb: WandbConfig | None = None
    """Weights & Biases beside TensorBoard, which the extra `wandb` installs; {} for its defaults,
    null for none."""
    profile: bool = False
    """Write a trace of three early steps to the run folder, trace-STEP.json.gz."""
    save_every: PositiveInt = 1000
    """Steps between saves of last.pt."""
    keep_every: PositiveInt | None = None
    """Steps between checkpoints that are kept beside last.pt and best.pt, as step-N.pt."""
    keep: PositiveInt | None = None
    """How many step-N.pt are kept, the newest ones; null for all."""

    @pydantic.model_validator(mode="after")
    def _schedule_is_consistent(self) -> "TrainConfig":
        if self.warm_up > self.steps:
            raise ValueError(
                f"warm_up: {self.warm_up} is more than steps: {self.steps}; lower warm_up"
            )
        default = type(self).model_fields["milestones"].default
        if self.schedule == "wsd" and not self.cool_down:
            raise ValueError(
                "cool_down: schedule: wsd needs the number of steps over which the learning rate "
                "falls; set cool_down, e.g. to a third of steps"
            )
        if self.schedule != "wsd" and self.cool_down:
            raise ValueError(
                f"cool_down: {self.cool_down} has no effect under schedule: {self.schedule}; "
                "remove it (cool_down: 0) or set schedule: wsd"
            )
        if self.warm_up + self.cool_down > self.steps:
            raise ValueError(
                f"cool_down: {self.cool_down} steps beside warm_up: {self.warm_up} are more than "
                f"steps: {self.steps}; lower cool_down to at most {self.steps - self.warm_up}"
            )
        if self.schedule != "milestones" and self.milestones not in ((), default):
            raise ValueError(
                f"milestones: {list(self.milestones)} have no effect under schedule: "
                f"{self.schedule}; remove them (milestones: []) or set schedule: milestones"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _layout_fits_the_samples(self) -> "TrainConfig":
        data = self.train_data
        if data.layout == "crop" and data.sampling != "random-scale":
            raise ValueError(
                "train_data.layout: crop is for sampling: random-scale, not for "
                f"{data.sampling}; use patch or points"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _losses_fit_the_data(self) -> "TrainConfig":
        if not self.loss:
            raise ValueError("loss: must have at least one term, such as [{name: l1}]")
        names = [loss.name for loss in self.loss]
        if repeated := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
            raise ValueError(f"loss: {', '.join(repeated)} is given twice; remove one")
        decoder = self.model.decoder
        for loss in self.loss:
            if loss.needs and loss.needs != getattr(decoder, "gives", None):
                what, others = {
                    "slopes": ("slopes of a field", "thera"),
                    "log_likelihood": ("likelihood of a flow", "linf"),
                }[loss.needs]
                raise ValueError(
                    f"loss: {loss.name} needs the {what}, which the decoder {decoder.name} does "
                    f"not have; remove it, or use the decoder {others}"
                )
        side = self.train_data.queried_side
        large = [loss for loss in self.loss if loss.smallest_patch > (side or 0)]
        if large and side is None:
            listed = ", ".join(loss.name for loss in large)
            raise ValueError(
                f"loss: {listed} cannot compare scattered points; set train_data.layout: patch"
            )
        for loss in large:
            least = loss.smallest_patch
            remedy = f"queries: {least**2} or more"
            if self.train_data.layout == "crop":
                remedy = f"patch, or the least scale, so that the smallest crop has {least} px"
            raise ValueError(
                f"loss: {loss.name} needs patches of at least {least}×{least} pixels; set "
                f"train_data.{remedy}"
            )
        return self

    def init_files(self) -> str | dict[str, str] | None:
        """Return `init` as a file or name, or as one for each part that is named."""
        if isinstance(self.init, InitConfig):
            return self.init.model_dump(exclude_none=True)
        return self.init

    def scored_formats(self, section: ScoredImages, channels: tuple[int, int]) -> PairFormats:
        """Return what is kept of the low- and high-resolution images of `valid` or `test`: what is
        kept in training, unless they state it."""
        bits, bounds = section.bits, section.range
        if bits is None:
            bits, bounds = self.train_data.bits, self.train_data.range
        low, high = (PixelFormat(count, bits, bounds) for count in channels)
        return low, high

    def data_paths(self) -> Iterator[tuple[str, Path]]:
        """(dotted key, path) of all image folders that the configuration names."""
        for key, name in self.data_folders():
            yield key, data_path(self.data_root, name)

    def data_folders(self) -> Iterator[tuple[str, str]]:
        """(dotted key, folder as it is named) of the same."""
        for key in ("train_data", "valid", "test"):
            for name in ("images", "lr", "hr"):
                section = getattr(self, key)
                value = getattr(section, name, None)
                if isinstance(section, ScoredImages) and isinstance(value, str) and name == "lr":
                    found = {f"{s:g}": section.published_lr(s) for s in section.scales}
                    value = {scale: path for scale, path in found.items() if path is not None}
                yield from named_folders(f"{key}.{name}", value)

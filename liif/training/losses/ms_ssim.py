"""The multi-scale structural similarity as a loss."""

from typing import Annotated, ClassVar, Literal

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor

from liif.data.loader import Batch
from liif.training.losses.base import Loss, LossConfig, to_patches

EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of the scales, the finest first (Wang, Simoncelli, Bovik 2003, sec. 3.2)."""
WINDOW, SIGMA = 11, 1.5
"""Side and standard deviation of the Gaussian window in pixels."""
C1, C2 = 0.01**2, 0.03**2


class MsSsimConfig(LossConfig):
    """Configuration of 1 - MS-SSIM."""

    name: Literal["ms-ssim"] = "ms-ssim"
    scales: Annotated[int, pydantic.Field(ge=1, le=len(EXPONENTS))] = 3
    """Scales, each half the one before; 1 is SSIM. Five, as published, need patches of 176 pixels,
    three 44."""

    SMALL: ClassVar = {"scales": 2}

    @property
    def smallest_patch(self) -> int:
        return WINDOW * 2 ** (self.scales - 1)

    def build(self, channels: int, std: Tensor) -> "MsSsim":
        return MsSsim(self.scales)


class MsSsim(Loss):
    """1 - MS-SSIM (Wang, Simoncelli, Bovik, Asilomar 2003, eq. 7) of colours in [0, 1]: the mean
    over samples and channels. Only whole windows count. With fewer scales than published, the
    exponents are divided by their sum."""

    window: Tensor

    def __init__(self, scales: int) -> None:
        super().__init__()
        self.exponents = [each / sum(EXPONENTS[:scales]) for each in EXPONENTS[:scales]]
        along = torch.arange(WINDOW) - WINDOW // 2
        window = torch.exp(-(along**2) / (2 * SIGMA**2))
        self.register_buffer("window", window / window.sum(), persistent=False)

    def forward(self, rgb: Tensor, target: Tensor, batch: Batch) -> Tensor:
        x, y = (to_patches(colours, batch).flatten(0, 1)[:, None] for colours in (rgb, target))
        similarity = x.new_ones(len(x))
        for i, exponent in enumerate(self.exponents):
            if i > 0:
                x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
            luminance, structure = self._compare(x, y)
            is_last = i == len(self.exponents) - 1
            value = (luminance * structure if is_last else structure).mean(dim=(1, 2, 3))
            # Structures may be opposed, of which no root can be taken.
            similarity = similarity * value.clamp(min=1e-6) ** exponent
        return 1 - similarity.mean()

    def _compare(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return luminance, and contrast times structure, at all whole windows of (N, 1, H, W)."""
        mean_x, mean_y = self._mean(x), self._mean(y)
        var_x, var_y = self._mean(x * x) - mean_x**2, self._mean(y * y) - mean_y**2
        covariance = self._mean(x * y) - mean_x * mean_y
        luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
        return luminance, (2 * covariance + C2) / (var_x + var_y + C2)

    def _mean(self, x: Tensor) -> Tensor:
        window = self.window.to(x)
        return F.conv2d(F.conv2d(x, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))

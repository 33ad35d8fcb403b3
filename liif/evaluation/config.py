"""Configuration of an evaluation."""

from typing import Annotated

from pydantic import BeforeValidator, PositiveInt

from liif.core.section import ScaleFactor, Section
from liif.evaluation.protocols import ProtocolName


def _both_axes(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not 1 <= value <= 1000:  # checked below too, but there it would be two mistakes
            raise ValueError(f"must be from 1 to 1000, not {value}")
        return (value, value)
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError("must be a number such as 2 or 2.5, or two: [vertical, horizontal]")
    return tuple(value)


Scales = Annotated[tuple[ScaleFactor, ScaleFactor], BeforeValidator(_both_axes)]
"""(vertical, horizontal); one number stands for both."""


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

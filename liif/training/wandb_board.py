"""Weights & Biases beside TensorBoard: the extra `wandb`, offline unless asked otherwise."""

import importlib
import secrets
from pathlib import Path
from typing import Any, Literal

import numpy as np

from liif.core.errors import UserError
from liif.core.files import write_atomically
from liif.core.section import Section


class WandbConfig(Section):
    """A run's records at Weights & Biases, beside TensorBoard."""

    project: str = "liif"
    mode: Literal["offline", "online"] = "offline"
    """offline: into the run folder, from where `wandb sync` uploads them; online: at once."""


def import_wandb() -> Any:  # noqa: ANN401
    """Return the package. Raises UserError if it is not installed."""
    try:
        return importlib.import_module("wandb")
    except ImportError:
        raise UserError(
            'wandb: needs the package wandb: pip install "liif[wandb]"; or remove the key'
        ) from None


class WandbBoard:
    """Writes to one run of Weights & Biases, with the methods of TensorBoard's SummaryWriter that
    a log uses. A run that resumes goes on under the same id, which is in its folder."""

    def __init__(self, config: WandbConfig, folder: Path, values: dict[str, Any]) -> None:
        """
        Args:
            folder: the run folder, whose name is that of the run.
            values: the configuration of the run, as JSON values.

        Raises:
            UserError: no account, or no connection.
        """
        self.package = import_wandb()
        file = folder / "wandb-id.txt"
        if not file.exists():
            write_atomically(file, secrets.token_hex(4).encode())
        try:
            self.run = self.package.init(
                project=config.project, mode=config.mode, name=folder.absolute().name,
                id=file.read_text().strip(), resume="allow", dir=str(folder), config=values,
                settings=self.package.Settings(silent=True, console="off"),
            )  # fmt: skip
            self.run.define_metric("*", step_metric="step")
        except Exception as error:  # the package raises many kinds
            reason = " ".join(str(error).split())[:300].rstrip(".")
            raise UserError(
                f"wandb: {reason}; `wandb login` signs in, and wandb.mode: offline needs no account"
            ) from None

    def add_scalar(self, tag: str, number: float, step: int) -> None:
        """Add a number under a tag."""
        self.run.log({tag: number, "step": step})

    def add_image(self, tag: str, image: np.ndarray, step: int, dataformats: str = "HWC") -> None:
        """Add an image, uint8 (H, W, 3), under a tag."""
        self.run.log({tag: self.package.Image(image), "step": step})

    def flush(self) -> None:
        """Do nothing: a process of the package writes as it goes."""

    def close(self) -> None:
        """Finish the run and wait until everything is written."""
        self.run.finish()

"""A short training run, and what it leaves behind."""

import json
from typing import get_args

import torch

from liif.models.checkpoint import read_checkpoint
from liif.training.config import TrainConfig
from liif.training.schedule import Schedule
from liif.training.state import new_state

CPU = torch.device("cpu")
OPTIMIZERS = get_args(TrainConfig.model_fields["optimizer"].annotation)
"""Every choice of the key `optimizer`."""


def config(photos, **changes):
    values = {
        "model": {
            "encoder": {"name": "edsr-baseline", "blocks": 1, "width": 8},
            "decoder": {"name": "liif", "hidden": [16]},
        },
        "train_data": {
            "sampling": "random-scale",
            "images": str(photos),
            "cache": "memory",
            "patch": 12,
            "queries": 100,
        },
        "valid": {"images": str(photos), "scales": [2], "crop": 48, "limit": 2, "every": 8},
        "steps": 24,
        "batch_size": 3,
        "learning_rate": 1e-3,
        "milestones": [10],
        "log_every": 5,
        "save_every": 7,
        "workers": 0,
        **changes,
    }
    return TrainConfig.model_validate(values)


def weights(folder):
    return read_checkpoint(folder / "last.pt").weights


def assert_same_weights(a, b):
    a, b = weights(a), weights(b)
    assert a.keys() == b.keys()
    for key in a:
        assert torch.equal(a[key], b[key]), key


def metrics(folder):
    """Lines of metrics.jsonl without what depends on the clock."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [
        {k: v for k, v in line.items() if k not in ("images_per_s", "data_wait")} for line in lines
    ]


def state_of(config, device=None):
    """The state before the first step of a run."""
    return new_state(
        config.model,
        seed=config.seed,
        init=config.init_files(),
        device=device or torch.device("cpu"),
        optimizer=config.optimizer,
        learning_rate=config.learning_rate,
        betas=config.betas,
        weight_decay=config.weight_decay,
        groups=config.groups,
        precision=config.precision,
        gradient_checkpointing=config.gradient_checkpointing,
        ema=config.ema,
        loss=config.loss,
    )


def schedule_of(config):
    """The learning rate of a run."""
    return Schedule(
        config.learning_rate, config.schedule, config.steps, config.warm_up, config.milestones,
        config.decay, config.cool_down,
    )  # fmt: skip

"""Command lines that cannot work: status 2, or 1 if it is not their words that are wrong, and one
line that says why, never a traceback."""

import io
import os
import sys
from pathlib import Path

import pytest
import torch

from liif.commands.device import machine, select_device

pytestmark = pytest.mark.usefixtures("folder")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["tset"], "invalid choice: 'tset'"),
        (["test"], "give --data FOLDER with images, or --config FILE"),
        (["train"], "give --config FILE, --data FOLDER with images, or both"),
        (["test", "--config"], "--config: expected one argument"),
        (["test", "--config", "x.yaml", "--bogus"], "unrecognized arguments: --bogus"),
        (["test", "--config", "x.yaml"], "x.yaml: no such configuration file"),
        (["test", "--config", "."], ".: cannot be read"),
        (["test", "--config=--"], "--config=--: -- is not a value"),
        (["upscale"], "the following arguments are required: INPUT"),
        (["convert", "a.pth"], "the following arguments are required: -o/--output"),
        (["convert", "--checkpoint", "a.pth"], "the following arguments are required: -o/--output"),
        (["export", "a.pth"], "the following arguments are required: -o/--output"),
    ],
)
def test_invalid_command_lines(refused, arguments, message):
    assert message in refused(*arguments)


MISSING = "the following arguments are required"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("test", "give --data FOLDER"),
        ("plot crops -o a.png", MISSING),
        ("convert --checkpoint a.pth", MISSING),
        ("upscale photos/a.png -o b.png --scale 2 --box 1,1,2,2", "--box is an option of its own"),
        ("download", "name a data set"),
        ("models get", "give the name of a model"),
        ("models list --url x", "unrecognized arguments: --url"),
        ("test --config c.yaml --bogus", "unrecognized arguments: --bogus"),
    ],
)
def test_wrong_usage_ends_with_the_help_of_the_command(refused, photos, arguments, reason):
    said = refused(*arguments.split()).splitlines()
    assert len(said) == 2 and said[0].startswith(f"error: {reason}")
    words = 2 if arguments.startswith(("plot", "models")) else 1
    command = "data download" if arguments == "download" else " ".join(arguments.split()[:words])
    assert said[1] == f"see liif {command} --help"


@pytest.mark.parametrize(
    "device", ["gpu", "cuda:x", "cuda:", "cuda:-1", "cuda:99999", "cpu:0", "cpu:x", "", "meta", "0"]
)
def test_names_of_no_device(refused, scoring, device):
    said = refused("test", "--config", scoring, "--device", device).splitlines()
    shown = device or "no text"
    assert said[0].startswith(f"error: argument --device: {shown}: must be auto, cpu, cuda, cuda:N")
    assert ("there is one CPU" in said[0]) == device.startswith("cpu:") and len(said) == 2


@pytest.mark.parametrize("device", ["cuda:99", "mps", "MPS"])
def test_devices_that_are_not_here(refused, scoring, device):
    """In one line that says what is there, or why it is not."""
    said = refused("test", "--config", scoring, "--device", device)
    assert said.startswith(f"error: --device {device.lower()}: ") and said.count("\n") == 1
    assert "has cuda:0" in said or "built " in said or "macOS" in said


def test_a_device_of_apple(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert select_device("mps") == torch.device("mps")
    assert machine(torch.device("mps")).startswith("Apple GPU (MPS), torch ")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("scale=0", "--set scale: must be from 1 to 1000, not 0"),
        ("scale=-2", "--set scale: must be from 1 to 1000, not -2"),
        ("scale=[2,-1]", "--set scale.1: must be greater than or equal to 1, not -1"),
        ("scale=two", "--set scale: must be a number"),
        ("chekpoint=x", "--set chekpoint: unknown key; did you mean 'checkpoint'?"),
        ("protocol=div2", "--set protocol: must be 'div2k', 'benchmark' or 'none'"),
        ("protocol", "--set protocol: must be KEY=VALUE"),
    ],
)
def test_invalid_overrides(refused, scoring, override, message):
    assert refused("test", "--config", scoring, "--set", override).startswith(f"error: {message}")


def test_a_configuration_of_the_other_kind(refused, scoring, training):
    assert "t.yaml: model: must be given" in refused("train", "--config", scoring)
    assert "r.yaml: model: unknown key; valid keys are" in refused("test", "--config", training)
    assert not Path("runs").exists()


def test_a_terminal_that_cannot_show_a_file_name(cli, scoring, monkeypatch):
    os.rename("photos/a.png", os.fsencode("photos/caf") + b"\xe9.png")
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    assert cli("test", "--config", scoring)[0] == 0
    assert len(terminal.buffer.getvalue().splitlines()) == 4


def test_an_empty_argument(cli):
    """As of an unset variable of the shell: as a path it would be the current folder."""
    for arguments in (["upscale", ""], ["test", "--data", ""], ["compare", ""]):
        status, _, err = cli(*arguments)
        assert status == 2 and "an empty name; is a variable of the shell not set?" in err

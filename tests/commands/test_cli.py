"""What is typed: exit status and one line for a mistake, never a traceback; the scripts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.paths import ROOT

from liif.cli import main

pytestmark = pytest.mark.usefixtures("folder")


def run_script(name, *arguments, **environment):
    """A script in a process of its own, from the project's folder."""
    done = subprocess.run(
        [sys.executable, f"scripts/{name}.py", *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, env={**os.environ, **environment},
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["tset"], "invalid choice: 'tset'"),
        (["test"], "the following arguments are required: --config"),
        (["train"], "the following arguments are required: --config"),
        (["test", "--config"], "--config: expected one argument"),
        (["test", "--config", "x.yaml", "--bogus"], "unrecognized arguments: --bogus"),
        (["test", "--config", "x.yaml"], "x.yaml: no such configuration file"),
        (["test", "--config", "."], ".: cannot be read"),
        (["upscale"], "the following arguments are required: input"),
        (["convert", "a.pth"], "the following arguments are required: output"),
    ],
)
def test_command_lines_that_are_none(refused, arguments, said):
    assert said in refused(*arguments)


@pytest.mark.parametrize("command", [[], ["train"], ["test"], ["upscale"], ["convert"]])
def test_help(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--help"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: liif") and (not command or f"example: liif {command[0]}" in out)


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cuda:x", "", "meta", "mps"])
def test_devices_that_are_none(refused, scoring, device):
    assert f"error: --device {device}: " in refused("test", "--config", scoring, "--device", device)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("scale=0", "--set scale: must be from 1 to 1000, not 0"),
        ("scale=-2", "--set scale: must be from 1 to 1000, not -2"),
        ("scale=[2,-1]", "--set scale: scale.1: must be greater than or equal to 1, not -1"),
        ("scale=two", "--set scale: must be a number"),
        ("chekpoint=x", "--set chekpoint: unknown key; did you mean 'checkpoint'?"),
        ("protocol=div2", "--set protocol: must be 'div2k', 'benchmark' or 'none'"),
        ("protocol", "--set protocol: must be KEY=VALUE"),
    ],
)
def test_overrides_that_are_wrong(refused, scoring, override, said):
    assert refused("test", "--config", scoring, "--set", override).startswith(f"error: {said}")


def test_a_configuration_of_the_other_kind(refused, scoring, training):
    assert "t.yaml: model: must be given" in refused("train", "--config", scoring)
    assert "r.yaml: model: unknown key; valid keys are" in refused("test", "--config", training)
    assert not Path("runs").exists()


# Processes of their own


def test_the_script_without_data(folder):
    done = run_script(
        "test", "--config", "configs/test-set5-x4.yaml", "--checkpoint", folder / "no.pt"
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {folder / 'no.pt'}: no such checkpoint file\n"


def test_the_script_with_names_that_a_terminal_cannot_show(scoring, folder):
    os.rename("photos/a.png", os.fsencode("photos/caf") + b"\xe9.png")
    done = run_script("test", "--config", folder / scoring, PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 4

"""What every command owes: help for newcomers, one line for a mistake, 130 for Ctrl-C."""

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from helpers.models import TINY

from liif import cli
from liif.cli import COMMANDS, main
from liif.commands import completion
from liif.core.errors import UserError

NAMES = sorted(COMMANDS)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def example(name):
    """A command's own example as arguments, without what the shell would do with its output."""
    words = shlex.split(COMMANDS[name].EXAMPLE)
    return [name, *(words[: words.index(">")] if ">" in words else words)]


def parsers(parser, name="liif"):
    yield name, parser
    for action in parser._actions:
        for sub, inner in action.choices.items() if isinstance(action.choices, dict) else ():
            yield from parsers(inner, f"{name} {sub}")


def start(*arguments, **options):
    """A command in a process of its own."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    pipes["env"] = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    return subprocess.Popen([sys.executable, "-m", "liif", *map(str, arguments)], **pipes)


# Help


@pytest.mark.parametrize("name", NAMES)
def test_help_has_a_summary_and_an_example(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    with pytest.raises(SystemExit) as stopped:
        main([name, "--help"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: liif {name}")
    assert COMMANDS[name].SUMMARY in out
    assert f"example: liif {name} {COMMANDS[name].EXAMPLE}" in out


def test_the_help_of_liif_lists_every_command(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    assert all(f"\n    {name}" in out for name in NAMES)


PARSERS = dict(parsers(cli._parser()))


@pytest.mark.parametrize("name", PARSERS)
def test_every_option_says_what_it_is(name):
    parser, commands = PARSERS[name], argparse._SubParsersAction
    silent = [a.dest for a in parser._actions if not a.help and not isinstance(a, commands)]
    assert silent == [], f"{name}: no help for {silent}"
    assert parser.description


@pytest.mark.parametrize("name", NAMES)
def test_examples_can_be_typed(name):
    assert cli._parser().parse_args(example(name)).run is COMMANDS[name].run


# Exit status


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_option_is_one_line(name, refused):
    message = refused(*example(name), "--no-such-option")
    reason, pointer = message.splitlines()
    assert reason == "error: unrecognized arguments: --no-such-option"
    assert pointer.startswith("see liif") and pointer.endswith("--help")


@pytest.mark.parametrize("name", NAMES)
def test_ctrl_c_is_130(name, cli, monkeypatch):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(COMMANDS[name], "run", interrupted)
    assert cli(*example(name)) == (130, "", "interrupted\n")


def interrupt(process, ready):
    """SIGINT as soon as `ready()`; the exit status and what was said."""
    end = time.time() + 120
    while not ready():
        assert process.poll() is None, process.communicate()
        assert time.time() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert "Traceback" not in err
    return process.returncode, err


def test_an_interrupted_enlargement_leaves_nothing(photos, folder, tiny_checkpoint):
    use = ("--checkpoint", tiny_checkpoint, "--size", "20000x20000")
    process = start("upscale", photos / "a.png", folder / "out" / "x.png", *use)
    status, err = interrupt(process, lambda: list(folder.glob("out/.*.tmp")))
    assert (status, err.splitlines()[-1]) == (130, "interrupted")
    assert os.listdir("out") == []


def test_an_interrupted_training_is_saved(photos, folder):
    data = {"sampling": "random-scale", "images": "photos", "cache": "none", "patch": 8}
    config = {"model": TINY, "train_data": {**data, "queries": 16}, "data_root": str(folder)}
    Path("r.yaml").write_text(yaml.safe_dump({**config, "batch_size": 1, "workers": 0}))
    process = start("train", "--config", "r.yaml", "--set", "log_every=1")
    log = folder / "runs/r/metrics.jsonl"
    status, err = interrupt(process, lambda: log.exists() and log.stat().st_size)
    assert status == 130 and "to go on: " in err
    assert Path("runs/r/last.pt").exists()


@pytest.mark.parametrize(
    "arguments", [["--help"], ["tables", "--help"], ["download", "--list"], ["data", "check"]]
)
def test_nobody_listening_is_no_traceback(arguments, folder):
    Path("configs").mkdir()
    Path("configs/x.yaml").write_text("a: 1\n")
    read, write = os.pipe()
    os.close(read)
    process = start(*arguments, stdout=write)
    os.close(write)
    _, err = process.communicate(timeout=120)
    assert err == "" and process.returncode in (0, 1)


# Completion


@pytest.fixture
def script(capsys):
    pytest.importorskip("shtab", reason='needs pip install "liif[completion]"')
    parser = cli._parser()
    parser.set_defaults(parser=parser)

    def print_script(shell):
        completion.run(argparse.Namespace(shell=shell, parser=parser))
        return capsys.readouterr().out

    return print_script


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_commands_options_and_values(script, shell):
    text = script(shell)
    for word in ("upscale", "tables", "self-ensemble", "bf16", "crops"):
        assert word in text
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=text, text=True, check=True, timeout=60)


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("up", ["upscale"]),
        ("upscale --pre", ["--precision"]),
        ("upscale --precision b", ["bf16"]),
        ("upscale --checkpoint mod", ["model one.pt"]),
        ("convert mod", ["model one.pt"]),
        ("plot cr", ["crops"]),
    ],
)
def test_bash_completes(script, typed, offered):
    Path("liif.bash").write_text(script("bash"))
    Path("model one.pt").touch()
    press_tab = """
    source liif.bash
    COMP_WORDS=(liif "$@") COMP_CWORD=$#
    function=$(complete -p liif | sed 's/.*-F \\([^ ]*\\).*/\\1/')
    $function liif "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"
    printf '%s\\n' "${COMPREPLY[@]}"
    """
    command = ["bash", "-c", press_tab, "bash", *typed.split()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout.splitlines(), done.stderr) == (offered, "")


def test_completion_without_its_library_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(UserError, match=r'pip install "liif\[completion\]"'):
        completion.run(argparse.Namespace(shell="bash", parser=None))

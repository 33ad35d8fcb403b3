"""-v and -q of every command, -V, and the status of wrong usage."""

import argparse
from pathlib import Path

import pytest

import liif
from liif.cli import _parser, main
from liif.core import environment

pytestmark = pytest.mark.usefixtures("folder")


def parsers(parser, words=()):
    yield words, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield from parsers(inner, (*words, name))


EVERY = dict(parsers(_parser()))


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_every_parser_has_both(words):
    options = set(EVERY[words]._option_string_actions)
    assert {"-v", "--verbose", "-q", "--quiet"} <= options


@pytest.mark.parametrize("line", ["-q runs", "runs -q", "runs --quiet a b"])
def test_before_or_after_the_command(line):
    options = _parser().parse_args(line.split())
    assert (options.quiet, options.verbose) == (True, False)


def test_not_both(refused):
    assert "not allowed with argument -q" in refused("runs", "-q", "-v")


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version(option, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([option])
    assert (stopped.value.code, capsys.readouterr().out) == (0, f"liif {liif.__version__}\n")


def test_quiet_leaves_the_log_of_a_run_whole(cli, training):
    status, out, err = cli("train", "--config", training, "-q")
    assert (status, out, err) == (0, "", "")
    assert "done: " in Path("runs/r/log.txt").read_text()
    assert "done: " in cli("train", "--config", training)[2]


def test_quiet_keeps_errors_and_results(cli, scoring):
    assert cli("test", "-q", "--config", "none.yaml")[2].startswith("error: none.yaml: ")
    out = cli("test", "-q", "--config", scoring)[1]
    assert out.startswith("mean mine x2") and out.count("\n") == 1


def test_quiet_hides_the_progress_bar(cli, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    cli("runs", "none")
    assert environment.shows_progress()
    cli("runs", "none", "-q")
    assert not environment.shows_progress()


def test_verbose_shows_where_an_error_comes_from(capsys):
    assert main(["runs", "none", "-v"]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"liif {liif.__version__}, Python ") and "Traceback" in err
    assert err.splitlines()[-1].startswith("error: none: ")
    assert main(["runs", "none"]) == 1
    assert "Traceback" not in capsys.readouterr().err

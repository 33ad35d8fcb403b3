"""All commands: help, old spellings, exit status, Ctrl-C, broken pipes, completion, scripts."""

import argparse
import ast
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest
from helpers import processes
from helpers.paths import ROOT
from PIL import Image

import liif
from liif.cli import COMMANDS, _parser, main
from liif.commands import completion
from liif.core.errors import UserError
from liif.hub import export
from liif.images import suffixes

MODULES = {name: import_module(f"liif.commands.{name}") for name in COMMANDS}
OPTIONS = {name: import_module(f"liif.commands.arguments.{name}") for name in COMMANDS}

pytestmark = pytest.mark.usefixtures("folder")


def example(name):
    """A command's own example as arguments, without what the shell would do with its output."""
    words = shlex.split(OPTIONS[name].EXAMPLE)
    return [name, *(words[: words.index(">")] if ">" in words else words)]


def parsers(parser, name="liif"):
    yield name, parser
    for action in parser._actions:
        for sub, inner in action.choices.items() if isinstance(action.choices, dict) else ():
            yield from parsers(inner, f"{name} {sub}")


# Help


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_a_summary_and_an_example(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    with pytest.raises(SystemExit) as stopped:
        main([name, "--help"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: liif {name}") and COMMANDS[name] in out
    assert f"example: liif {name} {OPTIONS[name].EXAMPLE}" in out


def test_the_help_of_liif_lists_every_command(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    with pytest.raises(SystemExit):
        main(["--help"])
    out = " ".join(capsys.readouterr().out.split())
    assert all(f" {name} {summary}" in out for name, summary in COMMANDS.items())


def test_every_file_of_the_commands_is_listed_or_shared():
    folder = Path(liif.__file__).parent / "commands"
    files = {path.stem for path in folder.glob("*.py")}
    assert files - {"__init__", "device", "lr_sets", "options", "quality"} == set(COMMANDS)
    files = {path.stem for path in folder.glob("arguments/*.py")}
    assert files - {"__init__", "shared", "typed"} == set(COMMANDS)


def test_names_are_imported_from_the_module_that_defines_them():
    for path in Path(liif.__file__).parent.glob("commands/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("liif."):
                try:
                    module = import_module(str(node.module))
                except ModuleNotFoundError as error:  # what it needs is an extra
                    if str(error.name).startswith("liif"):
                        raise
                    continue
                for name in (alias.name for alias in node.names):
                    home = getattr(getattr(module, name, None), "__module__", "")
                    is_ours = home.startswith("liif.")
                    assert not is_ours or home == node.module, f"{path.name}: {name}"


def test_types_of_commands_have_names_of_their_own():
    homes = {}
    for path in sorted(Path(liif.__file__).parent.rglob("*.py")):
        for name in re.findall(r"(?m)^([A-Z][a-z]\w+) = ", path.read_text()):
            homes.setdefault(name, []).append(path)
    assert not [n for n, found in homes.items() if found[1:] and "commands" in str(found)]


PARSERS = dict(parsers(_parser()))

LIGHT = [f"{name.removeprefix('liif').strip()} --help" for name in PARSERS]
LIGHT += ["--version", "models list"]
IMPORTS = """
import io, sys
from contextlib import redirect_stdout, suppress
before = {*sys.modules}
with redirect_stdout(io.StringIO()) as out, suppress(SystemExit):
    from liif.cli import main
    main(sys.argv[1:])
new = {name for name in {*sys.modules} - before if not name.startswith("liif")}
foreign = [name for name in new if name.partition(".")[0] not in sys.stdlib_module_names]
print(len(out.getvalue()) > 10, *foreign)
"""


@pytest.mark.parametrize("line", LIGHT)
def test_help_imports_the_standard_library_only(line):
    """PyTorch alone takes seconds; NumPy, pydantic and Pillow take tenths of one."""
    command = [sys.executable, "-c", IMPORTS, *line.split()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    printed, *names = done.stdout.split()
    # Whether Pillow was built with AVIF is asked of its package, which imports nothing.
    assert (printed, done.stderr) == ("True", "") and {*names} <= {"PIL", "PIL._version"}


def test_help_lists_what_the_code_knows():
    """Choices that help states without importing what they choose from."""
    assert tuple(export.FORMATS) == OPTIONS["export"].FORMATS
    assert ["AVIF" in Image.OPEN, "AVIF" in Image.SAVE] == [suffixes.HAS_AVIF] * 2


@pytest.mark.parametrize("name", PARSERS)
def test_every_option_has_a_help_text(name):
    parser, commands = PARSERS[name], argparse._SubParsersAction
    silent = [a.dest for a in parser._actions if not a.help and not isinstance(a, commands)]
    assert silent == [], f"{name}: no help for {silent}"
    assert parser.description


def test_one_name_for_the_same_option():
    for name, parser in PARSERS.items():
        options = {option for action in parser._actions for option in action.option_strings}
        assert not options & {"--out", "--model", "--weights", "--force"}, name
        assert ("-o" in options) == ("--output" in options), name


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_can_be_typed(name):
    assert _parser().parse_args(example(name)).command == name


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("test --config c.yaml --out r.json", "test --config c.yaml -o r.json"),
        ("tables --table div2k --out d", "tables --table div2k --output d"),
        ("plot psnr r.json --out a.png --out b.pdf", "plot psnr r.json -o a.png -o b.pdf"),
        ("convert a.pth b.pt", "convert --checkpoint a.pth -o b.pt"),
        ("export a.pth --format torch --out d", "export --checkpoint a.pth --format torch -o d"),
        ("export --format torch --out d a.pth", "export --checkpoint a.pth --format torch -o d"),
    ],
)
def test_spellings_of_version_0_1(old, new):
    old, new = (vars(_parser().parse_args(line.split())) for line in (old, new))
    assert {**old, "parser": None} == {**new, "parser": None}


# Exit status


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_option_is_one_line(name, refused):
    reason, pointer = refused(*example(name), "--no-such-option").splitlines()
    assert reason == "error: unrecognized arguments: --no-such-option"
    assert pointer.startswith("see liif") and pointer.endswith("--help")


@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_is_130(name, cli, monkeypatch):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(MODULES[name], "run", interrupted)
    assert cli(*example(name)) == (130, "", "interrupted\n")


# Processes of their own


def start(*command, **options):
    pipes = {"stdout": processes.PIPE, "stderr": processes.PIPE, **options}
    pipes["env"] = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    return processes.Popen([sys.executable, *map(str, command)], **pipes)


def test_a_script_passes_the_exit_status_on(folder):
    script, config = ROOT / "scripts" / "test.py", ROOT / "configs" / "test-set5-x4.yaml"
    process = start(script, "--config", config, "--checkpoint", "no.pt")
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (1, "")
    assert err == "error: no.pt: no such checkpoint file\n"


def test_an_interrupted_enlargement_leaves_nothing(photos, folder, tiny_checkpoint):
    use = ("--checkpoint", tiny_checkpoint, "--size", "20000x20000")
    command = ("-m", "liif", "upscale", photos / "a.png", "-o", folder / "out" / "x.png", *use)
    process = start(*command)
    try:
        end = time.monotonic() + 120
        while not list(folder.glob("out/.*.tmp")):
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert "Traceback" not in err
    assert (process.returncode, err.splitlines()[-1]) == (130, "interrupted")
    assert os.listdir("out") == []


@pytest.mark.parametrize("arguments", [["--help"], ["data", "check"]])
def test_a_closed_pipe_is_no_traceback(arguments):
    Path("configs").mkdir()
    Path("configs/x.yaml").write_text("a: 1\n")
    read, write = os.pipe()
    os.close(read)
    process = start("-m", "liif", *arguments, stdout=write)
    os.close(write)
    _, err = process.communicate(timeout=120)
    assert err == "" and process.returncode in (0, 1)


# Shell scripts

BASH_4 = re.compile(
    r"mapfile|readarray|coproc|(declare|local|typeset) -\w*[An]|\$\{\w+[,^]|\|&|&>>|globstar"
)
PATTERNS = ("*/*.sh", ".ci/run", ".ci/lowest")
SCRIPTS = [path for pattern in PATTERNS for path in sorted(ROOT.glob(pattern))]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_shell_scripts_use_bash_3_2(path):
    """macOS has bash 3.2."""
    code = re.sub(r"(?m)(^| )#.*$", "", path.read_text())
    assert not BASH_4.search(code)
    if path.name == "reproduce.sh":  # its lists may be empty, in an array an error under set -u
        assert "[@]" not in code


# Completion


@pytest.fixture
def script(cli):
    pytest.importorskip("shtab", reason='needs pip install "liif[completion]"')
    return lambda shell: cli("completion", shell)[1]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_commands_options_and_values(script, shell):
    text = script(shell)
    for word in (*COMMANDS, "self-ensemble", "output", "overwrite", "bf16", "crops"):
        assert word in text
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=text, text=True, check=True, timeout=60)


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("up", ["upscale"]),
        ("upscale --pre", ["--precision"]),
        ("upscale --precision b", ["bf16", "bf16!"]),
        ("upscale --checkpoint mod", ["model one.pt"]),
        ("convert --checkpoint mod", ["model one.pt"]),
        ("view --checkpoint mod", ["model one.pt"]),
        ("upscale mod", ["model one.pt"]),
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

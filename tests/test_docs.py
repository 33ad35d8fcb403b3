"""The documentation agrees with the code: links, commands, keys, examples, the site."""

import importlib.util
import re
import shlex
import sys
import types
from pathlib import Path

import pytest
import torch
import yaml
from helpers import processes
from helpers.models import TINY
from helpers.paths import ROOT
from pydantic import TypeAdapter

import liif.data.samplers
import liif.models.build
from liif.cli import COMMANDS as COMMANDS_THERE_ARE
from liif.cli import _parser
from liif.core.errors import UserError
from liif.data.loader import Batch, batches
from liif.evaluation.config import TestConfig
from liif.evaluation.table_config import TableConfig
from liif.hub.export import graphs
from liif.models.geometry import cell_of, grid_coord, pixel_centres
from liif.training.config import TrainConfig
from liif.training.step import train_step

PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def load_hooks():
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs" / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HOOKS = load_hooks()
KEYS = {
    kind: {name for part in HOOKS.sections(kind) for name in part.names()}
    for kind in (TrainConfig, TestConfig, TableConfig)
}


def name_of(value):
    if isinstance(value, Path):
        return value.relative_to(ROOT).as_posix()
    return " ".join(value)[:60] if isinstance(value, list) else value.partition("\n")[0][:40]


def blocks(path, language):
    return [text for _, kind, text in FENCE.findall(path.read_text()) if kind == language]


def every(language):
    return [(page, text) for page in PAGES for text in blocks(page, language)]


# Links


def slug(heading):
    """The anchor of a heading, as the site and code hosts make it."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", plain.lower(), flags=re.ASCII).strip())


def anchors(path):
    text = HOOKS.commands() if path.name == "commands.md" else FENCE.sub("", path.read_text())
    return {slug(heading) for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    text = FENCE.sub("", page.read_text())
    links = [*re.findall(r"\]\(([^)\s]+)\)", text), *re.findall(r'\bsrc(?:set)?="([^"]+)"', text)]
    for link in links:
        if re.match(r"\w+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        if page.parent != ROOT:  # pages of the site, of which some are made
            place = target.resolve().relative_to(ROOT).as_posix()
            assert place in HOOKS.ELSEWHERE or place.startswith("docs/"), link
            if place.removeprefix("docs/") in HOOKS.MADE:
                target = Path(place.removeprefix("docs/"))
        assert target.exists() or target.as_posix() in HOOKS.MADE, link
        if anchor:
            assert anchor in anchors(target), link


# Commands


def command_lines(text):
    """Simple commands of a block: comments, pipes and continued lines undone."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        command = []
        for word in [*words, "&&"]:
            if word in ("&&", "|", ";", "||", ">"):
                if command:
                    yield command
                command = []
            else:
                command.append(word)


def as_liif(command):
    """The arguments of a command of ours, however it is started; None for others."""
    while command and re.fullmatch(r"[A-Z_]+=.*", command[0]):
        command = command[1:]
    scripts = {f"scripts/{name}.py": name for name in ("train", "test", "tables")}
    if command[:1] == ["torchrun"]:
        start = next(i for i, word in enumerate(command) if word in ("-m", *scripts))
        command = ["python", *command[start:]]
    if command[:3] == ["python", "-m", "liif"]:
        return command[3:]
    if command[:1] == ["python"] and command[1] in scripts:
        assert (ROOT / command[1]).exists()
        return [scripts[command[1]], *command[2:]]
    return command[1:] if command[:1] == ["liif"] else None


COMMANDS = [
    (page, command)
    for page, text in every("bash")
    for command in command_lines(text)
    if as_liif(command) is not None
]


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=name_of)
def test_commands_are_understood(page, command):
    options = _parser().parse_args(as_liif(command))
    config = getattr(options, "config", None)
    if config is not None and config.as_posix().startswith("configs/"):
        assert (ROOT / config).exists(), config
    if config is not None:
        is_test = as_liif(command)[0] == "test"
        for override in options.set:
            key = override.partition("=")[0]
            assert key in KEYS[TestConfig if is_test else TrainConfig], override


def test_there_are_commands_to_test():
    named = {as_liif(command)[0] for _, command in COMMANDS}
    assert {"train", "test", "tables", "upscale", "view", "export", "models", "data"} <= named


@pytest.mark.parametrize(("page", "text"), every("bash"), ids=name_of)
def test_files_of_the_project_are_there(page, text):
    for command in command_lines(text):
        for word in command:
            if re.match(r"(scripts|examples|benchmarks|tests|docs)/\w", word):
                assert (ROOT / word).exists(), word


# Keys


def flattened(data, prefix=""):
    for key, value in data.items():
        if isinstance(key, int):  # a scale
            continue
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from flattened(value, f"{prefix}{key}.")


@pytest.mark.parametrize(("page", "text"), every("yaml"), ids=name_of)
def test_keys_of_examples_exist(page, text):
    data = yaml.safe_load(text)
    if "rows" in data:
        assert TableConfig.model_validate(data).rows
        return
    keys = set(flattened(data)) - {"base"}
    assert keys
    assert any(keys <= known for known in KEYS.values()), keys


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_keys_in_sentences_exist(page):
    """`train_data.cache`, `train_data.cache: none`, `--set init=FILE`."""
    known = {"KEY", *KEYS[TrainConfig], *KEYS[TestConfig]}
    for code in re.findall(r"`([^`\n]+)`", FENCE.sub("", page.read_text())):
        dotted = re.fullmatch(
            r"((?:model\.(?:en|de)coder|train_data|valid|test)\.[a-z_.]+)(?:[:=].*)?", code
        )
        if dotted and not dotted[1].endswith((".py", ".json", ".yaml")):
            assert dotted[1] in known, code
        for key in re.findall(r"--set \"?([\w.]+)=", code):
            assert key in known, code


def test_the_page_of_keys_is_complete():
    """Beside the recursion that makes the page: every leaf of the schema pydantic itself gives."""
    text = HOOKS.configuration()

    def leaves(schema, definitions, prefix):
        schema = definitions[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
        for part in schema.get("oneOf", schema.get("anyOf", [])):
            yield from leaves(part, definitions, prefix)
        for key, inner in schema.get("properties", {}).items():
            yield f"{prefix}{key}"
            yield from leaves(inner, definitions, f"{prefix}{key}.")

    for kind in (TrainConfig, TestConfig, TableConfig):
        schema = kind.model_json_schema()
        names = set(leaves(schema, schema.get("$defs", {}), ""))
        assert len(names) >= len(kind.model_fields)
        for name in names:
            assert f"| `{name}` |" in text, name
    assert "over all processes." in text.lower() and "| `batch_size` | integer > 0" in text


def test_the_page_of_commands_is_complete():
    text = HOOKS.commands()
    for name in COMMANDS_THERE_ARE:
        assert f"\n### liif {name}\n" in text
    assert "\n### liif plot crops\n" in text and "--self-ensemble" in text


# Examples


LINE = re.compile(r'"(\w+)": (\w+),\n')
"""The line of an entry in ENCODERS or DECODERS."""
PARTS = [
    (kind, LINE.fullmatch(line)[1])
    for kind in ("encoder", "decoder")
    for line in blocks(ROOT / "docs" / f"own-{kind}.md", "python")
    if LINE.fullmatch(line)
]
"""The examples of the two pages: a file each, and a line."""


def with_example(kind, name, monkeypatch):
    """A small model by liif.models.build as it is with an example's file and its line in it."""
    found = blocks(ROOT / "docs" / f"own-{kind}.md", "python")
    (at,) = (i for i, line in enumerate(found) if line.startswith(f'"{name}": '))
    code, line = found[at - 1 : at + 1]
    wanted = LINE.fullmatch(line)[2]
    path = f"liif.models.{kind}s.{name}"
    file = types.ModuleType(path)
    monkeypatch.setitem(sys.modules, path, file)
    exec(compile(code, path, "exec"), vars(file))
    assert all(len(row) <= 100 for row in code.splitlines())
    table = f"{kind.upper()}S = {{"
    source = Path(liif.models.build.__file__).read_text()
    assert source.count(table) == 1
    source = source.replace(table, f"from {path} import {wanted}\n\n{table}{line.strip()} ")
    build = types.ModuleType("build_with_example")
    monkeypatch.setitem(sys.modules, "build_with_example", build)
    exec(compile(source, "build.py", "exec"), vars(build))
    parts = {**TINY, kind: {"name": name, **vars(file)[wanted].SMALL}}
    return build.build_model(build.ModelConfig.model_validate(parts))


def test_every_example_is_found():
    assert len(PARTS) >= 5


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_examples_work(kind, name, monkeypatch):
    model = with_example(kind, name, monkeypatch)
    batch = Batch(
        torch.rand(2, 3, 9, 7), torch.rand(2, 40, 2) * 2 - 1, torch.rand(2, 2), torch.rand(2, 40, 3)
    )
    model.train()
    optimizer = torch.optim.Adam(model.parameters())
    first, *_ = train_step(model, optimizer, batch, learning_rate=1e-3)
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.abs().sum() > 0, name
    for _ in range(30):
        last, *_ = train_step(model, optimizer, batch, learning_rate=1e-3)
    assert last < first
    lr, size = torch.rand(1, 3, 70, 60), (101, 150)
    whole = model.eval().upscale(lr, size, clamp=False, memory=2**40)
    tiled = torch.cat([strip for _, strip in model.strips(lr, size, memory=1)], dim=2)
    torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=0)
    y, x = (pixel_centres(n, lr) for n in size)
    with torch.inference_mode():
        points = model(lr, grid_coord(y, x)[None], cell_of(size, lr))
    torch.testing.assert_close(points.mT.unflatten(2, size), whole, atol=1e-5, rtol=0)
    assert (model.upscale(lr, size, precision="bf16!") - whole.clamp(0, 1)).abs().max() < 0.05
    if model.decoder.has_statistics:
        with pytest.raises(UserError, match="means over all points"):
            graphs(model)
        return
    programs = graphs(model)
    image, coord, cell = torch.rand(1, 3, 16, 12), torch.rand(30, 2) * 2 - 1, torch.ones(1, 2) / 9
    field = programs["encoder"].program.module()(image)
    if "binder" in programs:
        field = programs["binder"].program.module()(*field, cell)
    (found,) = programs["decoder"].program.module()(*field, coord, cell)
    field = model.encode_frame(image)
    torch.testing.assert_close(found, model.query(field, coord[None], cell), atol=1e-5, rtol=0)


def test_radius_of_the_example_is_its_receptive_field(monkeypatch):
    encoder = with_example("encoder", "slim", monkeypatch).encoder.double()
    for name, parameter in encoder.named_parameters():
        parameter.data = parameter.data.abs() * (not name.endswith("bias"))
    spot = torch.zeros(1, 3, 3, 2 * encoder.radius + 9, dtype=torch.double)
    spot[0, :, 1, encoder.radius + 4] = 1
    with torch.inference_mode():
        changed = encoder(spot).amax(dim=(0, 1, 2)).nonzero().flatten()
    assert (changed.min(), changed.max()) == (4, 2 * encoder.radius + 4)


def test_the_example_of_a_sampling_works(monkeypatch, learnable):
    """As printed, with its line in samplers.py: chosen by name, trained, the same with workers."""
    code, line = blocks(ROOT / "docs" / "own-data.md", "python")[:2]
    name, wanted = re.fullmatch(r'"([\w-]+)": (\w+),\n', line).groups()
    file = types.ModuleType("liif.data.two_scales")
    monkeypatch.setitem(sys.modules, file.__name__, file)
    exec(compile(code, file.__name__, "exec"), vars(file))
    source = Path(liif.data.samplers.__file__).read_text()
    table = "SAMPLINGS = {"
    assert source.count(table) == 1
    source = source.replace(
        table, f"from {file.__name__} import {wanted}\n\n{table}{line.strip()} "
    )
    samplers = types.ModuleType("samplers_with_example")
    monkeypatch.setitem(sys.modules, samplers.__name__, samplers)
    exec(compile(source, "samplers.py", "exec"), vars(samplers))
    values = {
        "sampling": name,
        "images": str(learnable),
        "patch": 8,
        "queries": 64,
        "cache": "none",
    }
    config = TypeAdapter(samplers.TrainData).validate_python(values)
    opened = config.open_source(None)
    found = [
        list(batches(opened, seed=0, batch_size=4, start=0, stop=20, workers=workers))
        for workers in (0, 2)
    ]
    for a, b in zip(*found, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a[:4], b[:4], strict=True))
    assert any((batch.cell[:, 0] != batch.cell[:, 1]).any() for batch in found[0])
    model = liif.models.build.build_model(liif.models.build.ModelConfig.model_validate(TINY))
    optimizer = torch.optim.Adam(model.parameters())
    losses = [
        train_step(model, optimizer, batch.to(torch.device("cpu")), learning_rate=3e-3)[0]
        for batch in found[0]
    ]
    assert sum(losses[-5:]) < sum(losses[:5])


# Figures and the site


def test_figures_are_those_that_the_script_draws(monkeypatch):
    """Each is in the page of its script, once, and small; their links are tested above."""
    folder = ROOT / "docs" / "figures"
    monkeypatch.syspath_prepend(str(folder))
    drawn = set()
    for script, page in (("draw", "concepts"), ("models", "models")):
        spec = importlib.util.spec_from_file_location(script, folder / f"{script}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        text = (ROOT / "docs" / f"{page}.md").read_text()
        assert sorted(re.findall(r"\(figures/(\w+)\.svg\)", text)) == sorted(module.FIGURES)
        drawn |= {*module.FIGURES}
        for name, draw in module.FIGURES.items():
            content = (folder / f"{name}.svg").read_text(encoding="utf-8")
            assert content == draw().svg() and len(content) < 25_000
    assert {path.stem for path in folder.glob("*.svg")} == drawn


@pytest.mark.slow
def test_the_site_builds(tmp_path, monkeypatch):
    """Strictly, and with nothing in it that a browser would load from elsewhere."""
    for needed in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(needed, reason='pip install "liif[docs]"')
    monkeypatch.setenv("NO_MKDOCS_2_WARNING", "1")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path / "site")]
    done = processes.run(command, cwd=ROOT, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe)[^>]*src=\"?([^\" >]+)", text)
        loaded += re.findall(r"<link[^>]*rel=\"?stylesheet[^>]*href=\"?([^\" >]+)", text)
        loaded += re.findall(r"<link[^>]*href=\"?([^\" >]+)[^>]*rel=\"?stylesheet", text)
        assert loaded
        assert not [url for url in loaded if re.match(r"(\w+:)?//", url)]
    reference = (tmp_path / "site" / "reference" / "liif.html").read_text(encoding="utf-8")
    assert "upscale" in reference and "clip_cell" in reference

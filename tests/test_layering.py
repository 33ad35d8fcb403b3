"""The picture of the package in README.md, held by reading the source."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "liif"

LAYERS = """
__main__ cli __init__
commands.train commands.test commands.upscale commands.convert
commands.tables commands.plot commands.download commands.data commands.runs commands.completion
commands.models commands.export
commands.view
commands.options commands.device commands.typed
view.server
view.guard view.render view.worker
view.bicubic view.pictures
view.cache
report lpips plot train
tables resume record results naming compare
crops enlarge
state step
hub export
pretrained
tableconfig validation download
measurements runlog unpack data.sources
evaluate
pictures
checkpoint
config
data.loader
data.device
data.samples
data.pairs
data.cache
data.mapped
data.formats
data.photo
data.resize data.images data.paths
data.tiff
data.png
models.build models.reference
models.sr
models.decoders.liif models.decoders.metasr models.decoders.upsampler
models.encoders.edsr models.encoders.rdn
models.fused
models.kernel
models.layers models.parallel
metrics anyimage
geometry
configfile
distributed files optimizer
section errors
"""
"""From top to bottom; a file imports only from lines below its own."""

LEVEL = {
    name: level for level, line in enumerate(LAYERS.strip().splitlines()) for name in line.split()
}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.stat().st_size)


def name_of(path):
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            if (PACKAGE.parent / node.module.replace(".", "/")).is_dir() and node.module != "liif":
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            else:
                yield node.module


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_only_go_down(path):
    name = name_of(path)
    for module in imports(ast.parse(path.read_text())):
        if module == "liif" or module.startswith("liif."):
            target = module.removeprefix("liif").removeprefix(".")
            if name in ("__main__", "cli") and target == "cli":
                continue
            assert LEVEL[target] > LEVEL[name], f"{name} imports {target}"


def test_every_file_has_its_layer():
    assert {name_of(path) for path in FILES} == set(LEVEL)


@pytest.mark.parametrize("path", sorted((PACKAGE / "models").rglob("*.py")), ids=name_of)
def test_modules_keep_no_state_between_calls(path):
    """self.x = … only in __init__."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef) and node.name != "__init__":
            for part in ast.walk(node):
                targets = part.targets if isinstance(part, ast.Assign) else []
                for target in targets:
                    owner = getattr(target, "value", None)
                    stored = (
                        isinstance(target, ast.Attribute) and getattr(owner, "id", "") == "self"
                    )
                    assert not stored, f"{path.name}: {node.name} stores {target.attr}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_the_command_line_chooses_a_device(path):
    text = path.read_text()
    assert ".cuda()" not in text
    if name_of(path) not in ("commands.device", "distributed", "train"):
        assert '"cuda' not in text


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_can_be_read_in_one_sitting(path):
    assert len(path.read_text().splitlines()) <= 300

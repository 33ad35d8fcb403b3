"""Imports between rooms only go down, inside a room there are no circles; state and devices."""

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "liif"

FLOORS = ["commands", "view", "training", "figures", "evaluation", "hub inference", "models data"]
FLOORS += ["images", "core"]
"""From top to bottom; rooms of one floor know nothing of each other."""

LEVEL = {room: level for level, floor in enumerate(FLOORS) for room in floor.split()}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.stat().st_size)


def name_of(path):
    """As Python imports it, without the package's own name; "" for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path) for path in FILES}


def imports(path):
    """Names of the package's files that a file imports, wherever it does."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are written out, from liif…"
            targets = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for target in targets:
            if target == "liif" or target.startswith("liif."):
                name = target[5:]
                while name and name not in NAMES:
                    name = name.rpartition(".")[0]
                yield name


def room_of(name):
    return name.partition(".")[0]


def test_every_folder_is_a_room():
    folders = {path.parent.name for path in PACKAGE.glob("*/*.py")}
    assert folders == set(LEVEL)
    assert {path.stem for path in PACKAGE.glob("*.py")} == {"__init__", "__main__", "cli"}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_between_rooms_go_down(path):
    own = room_of(name_of(path))
    if own not in LEVEL:  # cli, __main__ and the package itself may import all that is below
        return
    for name in imports(path):
        other = room_of(name)
        assert other in LEVEL, f"{name_of(path)} imports {name or 'the package itself'}"
        assert other == own or LEVEL[other] > LEVEL[own], f"{name_of(path)} imports {name}"


@pytest.mark.parametrize("room", LEVEL)
def test_no_circles_inside_a_room(room):
    graph = {name_of(path): set(imports(path)) for path in (PACKAGE / room).rglob("*.py")}
    graph = {name: {n for n in used if room_of(n) == room} - {room} for name, used in graph.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("path", sorted((PACKAGE / "models").rglob("*.py")), ids=name_of)
def test_modules_keep_no_state_between_calls(path):
    """self.x = … only in __init__. Classes without a base, which are no modules, may have state."""
    classes = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ClassDef)]
    for node in [part for each in classes if each.bases for part in ast.walk(each)]:
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
def test_devices_are_chosen_in_few_places(path):
    text = path.read_text()
    assert ".cuda()" not in text
    allowed = "commands.device", "core.distributed", "core.hardware", "models.fastest"
    if name_of(path) not in allowed:
        assert not re.search('"cuda[":]', text)  # the key cuda_graphs is no device

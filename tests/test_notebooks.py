"""The notebooks run from top to bottom, and are kept without their output."""

import json

import pytest
from helpers.paths import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SHORTER = {
    "liif-in-100-lines": ("SECONDS = 12", "SECONDS = 2"),
    "own-photographs": ("STEPS = 500", "STEPS = 60"),
    "compare-models": ('"steps": 400', '"steps": 40'),
}
"""What makes the trainings of each so long, and what does here."""


def name_of(path):
    return path.stem


def sources(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_these_are_all():
    assert [path.stem for path in NOTEBOOKS] == sorted(SHORTER)


@pytest.mark.parametrize(
    "path",
    NOTEBOOKS,
    ids=name_of,
)
@pytest.mark.slow
def test_runs(path, tmp_path, monkeypatch):
    needed = 'pip install "liif[notebooks]"'
    nbformat = pytest.importorskip("nbformat", reason=needed)
    client = pytest.importorskip("nbclient", reason=needed)
    pytest.importorskip("ipykernel", reason=needed)
    pytest.importorskip("matplotlib", reason=needed)
    for variable in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable.lower()))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    long, short = SHORTER[path.stem]
    text = path.read_text(encoding="utf-8")
    assert text.count(json.dumps(long)[1:-1]) == 1
    notebook = nbformat.reads(text.replace(json.dumps(long)[1:-1], json.dumps(short)[1:-1]), 4)
    nbformat.validate(notebook)
    place = {"metadata": {"path": str(tmp_path)}}
    client.NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources=place
    ).execute()  # raises for an error in a cell
    kinds = [
        kind
        for cell in notebook.cells
        for out in cell.get("outputs", [])
        for kind in out.get("data", ())
    ]
    assert kinds.count("image/png") >= 2


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_is_kept_without_output(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    for cell in cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None
    assert cells[0]["cell_type"] == "markdown" and "".join(cells[0]["source"]).startswith("# ")


def test_liif_in_100_lines():
    path = ROOT / "notebooks" / "liif-in-100-lines.ipynb"
    ours = [cell for cell in sources(path) if cell.startswith("# LIIF")]
    lines = [line for cell in ours for line in cell.splitlines() if line.strip()]
    assert 50 < len(lines) <= 100
    assert "liif." not in "\n".join(lines)  # of the package, nothing

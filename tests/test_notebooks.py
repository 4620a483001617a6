"""The notebooks: run from their first cell to their last as a reader would, and committed without what came out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
METADATA = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for what a notebook writes, and nothing of this user's Jupyter or network."""
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "jupyter"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def values(name: str, folder: Path, *expressions: str) -> list[Any]:
    """Runs a notebook in a folder, and returns what expressions are worth after its last cell."""
    notebook = nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)
    asked = f"import json; print(json.dumps([{', '.join(expressions)}]))"
    notebook.cells.append(nbformat.v4.new_code_cell(asked))
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    return json.loads(notebook.cells[-1].outputs[0].text)


def test_quick_start(work: Path) -> None:
    shown, best, probability, points, masks = values(
        "quick_start",
        work,
        "shown",
        "predictions[0].label",
        "predictions[0].probability",
        "points.tolist()",
        "[masks.min().item(), masks.max().item()]",
    )
    assert best == shown
    assert probability > 0.9
    assert all(abs(value) <= 0.75 for pair in points for point in pair for value in point)
    assert 0 <= masks[0] < masks[1] <= 1
    assert {path.name for path in (work / "quick_start").iterdir()} == {"video.mp4", "points.png"}


def test_features_and_linear_probe(work: Path) -> None:
    accuracy, tested, spans, watched, drawn, query, neighbours = values(
        "features_and_linear_probe",
        work,
        "accuracy",
        "int(is_test.sum())",
        "along.spans.tolist()",
        "probabilities[::2].argmax(dim=-1).tolist()",
        "labels.tolist()",
        "int(targets[query])",
        "targets[found].tolist()",
    )
    assert tested == 50
    assert accuracy >= 0.9
    assert spans == [[start / 2, start / 2 + 1] for start in range(9)]
    assert watched == drawn  # whole seconds show one clip each
    assert neighbours.count(query) >= 3


def test_fine_tune(work: Path) -> None:
    before, after, videos, same, label = values(
        "fine_tune",
        work,
        "before",
        "after",
        "[len(list((folder / part).rglob('*.mp4'))) for part in ('train', 'test')]",
        "all(torch.equal(loaded.state_dict()[name], value) for name, value in trained.state_dict().items())",
        "prediction.label",
    )
    assert videos == [10, 40]
    assert before <= 65
    assert after >= 90
    assert same
    assert label == "right_and_back"


def test_a_notebook_that_fails_fails_its_test(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("raise ValueError('no video')")])
    nbformat.write(broken, work / "broken.ipynb")
    monkeypatch.setattr("test_notebooks.EXAMPLES", work)
    with pytest.raises(Exception, match="no video"):
        values("broken", work, "1")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_committed_without_outputs(path: Path) -> None:
    """Outputs would hide what a change is about, and say of a machine what nobody else sees."""
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert notebook.metadata == METADATA, "run: pre-commit run nbstripout --all-files"
    for cell in notebook.cells:
        assert cell.metadata == {}, cell.id
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None), cell.id


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_of_notebooks_lead_somewhere(path: Path) -> None:
    text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("http")]
    assert links
    assert [link for link in links if not (EXAMPLES / link).exists()] == []

"""Every block of code in README.md, docs/ and examples/ does what it says: Python runs, commands run or are parsed.

A page's blocks run in their order, in a folder with the files that they name (:func:`write_files`), with the names that
its text takes for granted (:data:`CONTEXT`). Models have the architecture names that the pages write, but are small:
``ila_vit_b16`` is two blocks of width 128, and weights that would come from the Hub are random ones on this machine.
What else differs from the page stands in :data:`SUBSTITUTES`, and what does not run, with its reason, in
:data:`NOT_RUN`.
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import yaml
from checkpoint_files import CLIP_CONFIG, name_architecture, openai_clip, write_plain
from clips import write_clip
from hub.server import HubServer

import ila_models
from ila_models.cli.main import main, make_parser
from ila_models.pretrained import pretrained_file
from ila_models.publishing.project import PROJECT_ADDRESS
from ila_models.training.config import RECIPES, load_config, parse_config
from ila_models.weights.manifest import Record

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "examples/README.md", *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/**/*.md"))]
CODE = {"python", "bash", "yaml"}
SHOWN = {"text", "bibtex", "source", "help"}
"""Languages of blocks that are no code. `mkdocs build` fills `source` and `help`, and fails where it cannot."""

SUBSTITUTES: dict[str, dict[str, str]] = {
    "README.md": {
        "path/to/checkout": str(ROOT),
        "indices=[3, 7, 11]": "indices=[0, 1]",  # blocks of a small model
        "OWNER/": "owner/",  # whom the Hub of the tests knows
        "--out features": "--out features --workers 1",
        "--out results": "--out results --workers 0",
    },
    "docs/app.md": {"OWNER": "owner", "dataset motion motion10": "dataset motion motion10 --count 40"},
    "docs/evaluation.md": {
        '"cuda"': '"cpu"',
        'output="results"': 'output="results", num_workers=0',
    },
    "docs/extraction.md": {"num_workers=8": "num_workers=1"},
    "docs/features.md": {"num_workers=4": "num_workers=0"},
    "docs/forms.md": {
        '"vit_small_patch14_reg4_dinov2", pretrained=True, img_size=224': '"vit_tiny_patch16_224", img_size=64,'
        " depth=2",
        "OWNER/": "owner/",
        "import TimesformerForVideoClassification": "import TimesformerConfig, TimesformerForVideoClassification",
        '.from_pretrained("facebook/timesformer-base-finetuned-k400")': "(TimesformerConfig(image_size=64,"
        " hidden_size=64, num_attention_heads=1, num_hidden_layers=1))",
        "--model local-dir:my_dino": "--model local-dir:my_dino --workers 1",
    },
    "docs/your_videos.md": {
        "name: ila_vit_b16.openai": "name: ila_vit_nano8.motion_8x64",  # the quickest to train
        "epochs: 30": "epochs: 2",
        "warmup_epochs: 3": "warmup_epochs: 1",
        "batch_size: 5": "batch_size: 2",
        "--config my_videos.yaml": "--config my_videos.yaml data.num_workers=0",
    },
}
"""What is exchanged in the code of a page before it runs."""

YAML_FILES = {"docs/your_videos.md": "my_videos.yaml"}
"""The file that the page's text calls its block of YAML."""

INSTALLS = re.compile(r"(\.venv/bin/)?pip install |python3 -m venv ")
"""What a command begins with that sets up an environment: none of them runs."""

NOT_RUN: dict[str, tuple[str, ...]] = {
    "runs this test": (".venv/bin/python -m pytest -n auto --dist loadfile",),
    "reads or fetches weights of real size": (
        "ila-models download ila_vit_b16.openai",
        "ila-models verify ila_vit_b16.openai",
        "ila-models convert released_k400_b16.pth ila_vit_b16.safetensors",
        "ila-models publish --all --checkpoint FOLDER --namespace OWNER --license ID",
        "ila-models publish collection --namespace OWNER",
    ),
    "trains for days": (
        "ila-models train --config ila_vit_b16.k400_8x224 --out runs/b16 data.train=videos/train"
        " data.validation=videos/val data.train_annotations=null data.validation_annotations=null"
        " data.class_names=null",
        "ila-models train --config ila_vit_b16.k400_8x224 --out runs/b16 data.train=kinetics400/train"
        " data.train_annotations=null data.validation=kinetics400/validation data.validation_annotations=null"
        " data.class_names=null",
        "ila-models train --config ila_vit_b16.k400_8x224 --out runs/dino"
        " model.name=timm/vit_small_patch14_reg4_dinov2.lvd142m model.head=linear model.img_size=224"
        " data.train=videos/train data.train_annotations=null data.class_names=null data.validation=videos/val"
        " data.validation_annotations=null",
    ),
    "takes several processes, GPUs or machines": (
        "python -m pytest --noconftest tests/test_gpu.py",
        "python benchmarks/machine.py --name h200 --minutes 9 --out results",
        "torchrun --nproc-per-node 8 -m ila_models evaluate --model ila_vit_l14 --data kinetics/val --views 4x3"
        " --out results",
        "torchrun --nproc-per-node 8 -m ila_models extract videos/ --model ila_vit_l14 --out features",
        'sbatch --array=0-31 --gres=gpu:1 --wrap "ila-models extract videos/ --model ila_vit_l14 --out features"',
        "srun --ntasks-per-node 8 ila-models extract videos/ --model ila_vit_l14 --out features",
        "ila-models extract videos/ --model ila_vit_l14 --out features --share 2/8",
        "ila-models extract videos/ --model ila_vit_l14 --out features --engine ray",
        "torchrun --nproc-per-node 8 -m ila_models train --config my.yaml --out runs/mine run.accumulate=2",
    ),
    "serves until it is interrupted; runs in tests/test_app.py": (
        "ila-models app",
        ".venv/bin/ila-models app",
        "ila-models app --model ila_vit_b16.openai --model ila_vit_b16",
        "ila-models app --model ila_vit_b16 --checkpoint best.safetensors --text-tower ViT-B-16.pt",
    ),
    "runs in tests/test_notebooks.py": ("jupyter notebook examples/quick_start.ipynb",),
    "runs in tests/test_examples.py": (
        'python -c "from ila_models.data.motion import write_motion_videos;'
        " write_motion_videos('videos', count=200, seed=1)\"",
        "python examples/search.py videos --query videos/growing/*1.mp4 --model ila_vit_nano8",
        "python examples/linear_probe.py videos --model ila_vit_nano8",
        "python examples/localisation_features.py videos --out features --model ila_vit_nano8 --window 0.5"
        " --stride 0.25",
    ),
}
"""Why commands do not run here. Those of `ila-models` are parsed, with every option and choice."""


class Block(NamedTuple):
    """A block of code.

    Attributes:
        page: The file.
        line: The number of its first line of code.
        language: What its fence says.
        code: Its lines.
    """

    page: str
    line: int
    language: str
    code: str


def blocks_of(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    fences = re.finditer(r"^```(?P<language>.*)\n(?P<code>(?:.*\n)*?)```$", text, flags=re.MULTILINE)
    return [
        Block(page, text.count("\n", 0, fence.start("code")) + 1, fence["language"], fence["code"]) for fence in fences
    ]


def commands_of(code: str) -> list[str]:
    """The commands of a block of Bash, without comments, each on one line."""
    lines = re.sub(r"\s*\\\n\s*", " ", code).splitlines()
    commands = [command for line in lines for command in re.sub(r"(^|\s+)# .*$", "", line).split("&&")]
    return [command.strip() for command in commands if command.strip()]


def program_arguments(command: str) -> list[str] | None:
    """What a command gives to ``ila-models``, also under torchrun and SLURM; None where it runs something else."""
    words = shlex.split(command)
    if "--wrap" in words:
        words = shlex.split(words[words.index("--wrap") + 1])
    if words[0] == "srun":
        words = words[words.index("ila-models") :]
    if words[0] in ("ila-models", ".venv/bin/ila-models"):
        return words[1:]
    if words[:1] == ["torchrun"] and "ila_models" in words:
        return words[words.index("ila_models") + 1 :]
    return None


def exchanged(page: str, code: str) -> str:
    """Code of a page as it runs here."""
    for there, here in SUBSTITUTES.get(page, {}).items():
        code = code.replace(there, here)
    return code


def write_files(folder: Path) -> None:
    """The files and folders that the pages speak of, in small."""
    for name in (
        "video.mp4",
        "YOUR_VIDEO.mp4",
        "new.mp4",
        "clip.mp4",
        "match.mp4",
        "videos/a.mp4",
        "kinetics/val/a.mp4",
        "kinetics/val/b.mp4",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_clip(folder / name, frames=24, fps=8)
    (folder / "val.txt").write_text("a.mp4 0\nb.mp4 7\n", encoding="utf-8")
    for part in ("train", "validation"):
        for kind in ("opening a door", "closing a door"):
            (folder / "my_videos" / part / kind).mkdir(parents=True)
            shutil.copy(folder / "video.mp4", folder / "my_videos" / part / kind / "0001.mp4")


CLIP = torch.rand(1, 8, 3, 64, 64)
PATHS = ["video.mp4", "no_such_video.mp4"]
CONTEXT: dict[str, dict[str, Any]] = {
    "README.md": {"clip": CLIP, "paths": PATHS},
    "docs/benchmarks.md": {"ila_models": ila_models, "torch": torch},
    "docs/features.md": {"paths": PATHS, "save": lambda *_: None},
    "docs/forms.md": {"clip": CLIP, "labels": torch.tensor([3]), "criterion": torch.nn.functional.cross_entropy},
}
"""Names that a page's code uses and its text explains."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small files for the checkpoints that pages ask for by name: a CLIP, and a model of Kinetics' 400 classes."""
    folder = tmp_path_factory.mktemp("weights")
    write_plain(folder / "clip.pt", openai_clip().state_dict())
    with pytest.MonkeyPatch.context() as patch:
        name_architecture("ila_vit_b16", CLIP_CONFIG, patch)
        ila_models.save_pretrained(ila_models.create_model("ila_vit_b16.k400_8x224"), folder / "k400")
    return {"ila_vit_b16.openai": folder / "clip.pt", "ila_vit_b16.k400_8x224": folder / "k400" / "model.safetensors"}


@pytest.fixture
def small_models(weights: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """``ila_vit_b16`` is small, and its weights are there; the model that comes with the package is itself."""

    def there(record: Record) -> Path:
        return weights[record.name] if record.name in weights else pretrained_file(record)

    name_architecture("ila_vit_b16", CLIP_CONFIG, monkeypatch)
    monkeypatch.setattr("ila_models.factory.pretrained_file", there)


def run_command(block: Block, command: str) -> None:
    """Runs a command of the program, or parses it where it is not to be run."""
    if INSTALLS.match(command):
        return
    arguments = program_arguments(command)
    if any(command in commands for commands in NOT_RUN.values()):
        if arguments is not None:
            parse(arguments)
        return
    assert arguments is not None, f"{block.page}, line {block.line}: neither run nor in NOT_RUN: {command}"
    assert main(program_arguments(exchanged(block.page, command))) == 0, f"{block.page}, line {block.line}: {command}"


def parse(arguments: list[str]) -> None:
    """Reads a command line as the program does, and of ``train`` also the fields that it changes."""
    options = make_parser().parse_args(arguments)
    if arguments[0] == "train":
        recipe = options.config if (RECIPES / f"{options.config}.yaml").is_file() else "ila_vit_b16.k400_8x224"
        load_config(recipe, options.overrides)


@pytest.mark.usefixtures("small_models")
@pytest.mark.parametrize("page", [page for page in PAGES if any(block.language in CODE for block in blocks_of(page))])
def test_code_of(
    page: str, weights: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: HubServer
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    write_files(folder)
    shutil.copy(weights["ila_vit_b16.k400_8x224"], folder / "ila_vit_b16.safetensors")
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {"__name__": "__main__", **CONTEXT.get(page, {})}
    for block in blocks_of(page):
        if block.language == "python":
            # Lines of an error are those of the page.
            exec(compile("\n" * (block.line - 1) + exchanged(page, block.code), str(ROOT / page), "exec"), names)
        elif block.language == "yaml":
            parse_config(yaml.safe_load(block.code), where=f"{page}, line {block.line}")
            Path(YAML_FILES[page]).write_text(exchanged(page, block.code), encoding="utf-8")
        elif block.language == "bash":
            for command in commands_of(block.code):
                run_command(block, command)


def test_every_block_says_what_it_is() -> None:
    unknown = [block[:3] for page in PAGES for block in blocks_of(page) if block.language not in CODE | SHOWN]
    assert unknown == []


def test_exceptions_are_of_code_that_is_there() -> None:
    commands = {
        command
        for page in PAGES
        for block in blocks_of(page)
        if block.language == "bash"
        for command in commands_of(block.code)
    }
    assert [command for listed in NOT_RUN.values() for command in listed if command not in commands] == []
    code = {page: "".join(block.code for block in blocks_of(page) if block.language in CODE) for page in PAGES}
    assert [(page, text) for page, pairs in SUBSTITUTES.items() for text in pairs if text not in code[page]] == []
    assert [
        (page, name) for page, names in CONTEXT.items() for name in names if not re.search(rf"\b{name}\b", code[page])
    ] == []


def test_the_reference_has_every_public_name() -> None:
    pages = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "reference").glob("*.md"))
    assert {*ila_models.__all__} - {*re.findall(r"^::: ila_models\.(\w+)$", pages, re.MULTILINE)} == {"__version__"}


def test_the_site_names_the_project_s_own_address() -> None:
    assert f"repository: &repository {PROJECT_ADDRESS}\n" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")

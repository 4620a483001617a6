"""Imports run one way, and `import ila_models` stays light and silent."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest

from ila_models.weights.download import cache_folder

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ila_models"

PUBLIC = "__init__"

# cli -> publishing, predict, info -> factory -> pretrained -> convert -> ila_vit, weights; ila_vit -> blocks, temporal,
# heads, text -> alignment, layers -> configs. A folder (cli, data, publishing, weights) counts as one.
ALLOWED: dict[str, set[str]] = {
    "version": set(),
    "configs": set(),
    "categories": set(),
    "whole_files": set(),
    "data": {"whole_files"},
    "layers": {"configs"},
    "pairing": {"configs"},
    "alignment": {"pairing", "layers", "configs"},
    "one_pass": set(),
    "text": {"layers", "configs"},
    "class_features": {"whole_files", "text", "settings", "weights"},
    "temporal": {"layers", "configs"},
    "heads": {"layers", "configs"},
    "blocks": {"alignment", "pairing", "layers", "configs"},
    "contracts": {"blocks", "alignment", "configs"},
    "ila_vit": {"contracts", "blocks", "temporal", "heads", "class_features", "text", "alignment", "layers", "configs"},
    "image_model": {"configs", "data"},
    "aligned_vit": {"image_model", "contracts", "blocks", "temporal", "text", "one_pass", "alignment", "configs"},
    "aligned_timesformer": {"contracts", "blocks", "one_pass", "alignment", "configs"},
    "aligned_pretrained": {"aligned_vit", "image_model", "text", "weights", "data"},
    "video_model": {"aligned_pretrained", "aligned_vit", "factory", "ila_vit", "class_features", "weights"},
    # `temporal` and `layers` only for resampling position embeddings; weights never build models.
    "weights": {"whole_files", "temporal", "layers", "configs"},
    "convert": {"contracts", "ila_vit", "weights", "text", "alignment", "configs", "categories"},
    "pretrained": {"whole_files", "convert", "weights"},
    "factory": {"pretrained", "convert", "ila_vit", "weights", "class_features", "text", "configs", "categories"},
    "timm_bridge": {"aligned_pretrained", "aligned_vit", "factory", "ila_vit"},
    "info": {"video_model", "aligned_vit", "image_model", "factory", "weights", "ila_vit", "configs"},
    "predict": {"video_model", "data"},
    "export": {"video_model"},
    "quantize": {"ila_vit"},
    "doctor": {"factory", "pretrained", "weights", "data", "version"},
    "demo": {"whole_files", "visualize", "predict", "factory", "weights", "data"},
    "publishing": {
        "whole_files",
        "aligned_pretrained",
        "aligned_vit",
        "image_model",
        "video_model",
        "app",
        "demo",
        "text",
    }
    | {"info", "factory", "convert", "pretrained", "ila_vit", "weights", "data", "configs", "version"},
    "training": {
        "aligned_vit",
        "image_model",
        "video_model",
        "factory",
        "publishing",
        "whole_files",
        "settings",
        "alignment",
        "heads",
        "weights",
        "data",
        "configs",
    },
    "parquet": {"whole_files", "weights"},
    "settings": {"data"},
    "evaluation": {"whole_files", "settings", "parquet", "video_model", "weights", "data"},
    "features": {"video_model", "ila_vit", "data"},
    "visualize": {
        "whole_files",
        "features",
        "predict",
        "video_model",
        "blocks",
        "pairing",
        "alignment",
        "ila_vit",
        "weights",
        "data",
    },
    "extraction": {
        "whole_files",
        "features",
        "settings",
        "class_features",
        "parquet",
        "factory",
        "video_model",
        "weights",
        "data",
    },
    "app": {"visualize", "video_model", "features", "demo", "factory", "heads", "ila_vit", "text", "weights", "data"},
    "cli": {"app", "demo", "visualize", "training", "evaluation", "extraction", "features", "publishing", "predict"}
    | {"pretrained", "info", "factory", "doctor", "export", "ila_vit", "text", "weights", "data", "convert"}
    | {"class_features", "configs", "version", "video_model"},
    "__main__": {"cli"},
}
HEAVY = ("av", "open_clip", "gdown", "transformers", "cv2", "decord", "torchcodec", "pyarrow", "torchao", "onnx")
HEAVY += ("h5py", "ray", "webdataset", "gradio")


def area(module: str) -> str:
    """The file or folder of the package that a module belongs to."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else PUBLIC


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> Iterator[str]:
    """Modules of ours that a file imports, inside functions as well."""
    name = module_name(path)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "ila_models")
        elif isinstance(node, ast.ImportFrom):
            source = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            if source.split(".")[0] != "ila_models":
                continue
            for alias in node.names:
                whole = f"{source}.{alias.name}"
                path_of_whole = ROOT / whole.replace(".", "/")
                is_module = path_of_whole.with_suffix(".py").exists() or (path_of_whole / "__init__.py").exists()
                yield whole if is_module else source


FILES = sorted(PACKAGE.rglob("*.py"))


def test_every_part_of_the_package_has_a_place() -> None:
    assert {area(module_name(path)) for path in FILES} == {*ALLOWED, PUBLIC}


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.parent != PACKAGE or path.name != "__init__.py"], ids=module_name
)
def test_imports_run_one_way(path: Path) -> None:
    here = area(module_name(path))
    wrong = [module for module in imported(path) if area(module) not in {here, *ALLOWED[here]}]
    assert wrong == []


def test_the_table_itself_has_no_circles() -> None:
    done: set[str] = {PUBLIC}
    waiting = dict(ALLOWED)
    while waiting:
        ready = [name for name, below in waiting.items() if below <= done]
        assert ready, f"imports go round among {', '.join(waiting)}"
        done |= set(ready)
        waiting = {name: below for name, below in waiting.items() if name not in done}


def run(program: str, *, folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_is_light_and_silent(tmp_path: Path) -> None:
    program = f"""
import json, logging, sys, warnings
import timm
warnings.simplefilter("error")
import ila_models
print(json.dumps({{
    "heavy": [name for name in {HEAVY} if name in sys.modules],
    "handlers": len(logging.root.handlers),
    "version": ila_models.__version__,
    "missing": [name for name in ila_models.__all__ if not hasattr(ila_models, name)],
}}))
"""
    # timm is imported before warnings become errors: some versions of it and of torch bring warnings of their own.
    found = json.loads(run(program, folder=tmp_path))
    assert found.pop("version")
    assert found == {"heavy": [], "handlers": 0, "missing": []}


def test_models_are_built_and_run_without_optional_packages(tmp_path: Path) -> None:
    program = f"""
import sys
for name in {HEAVY}:
    sys.modules[name] = None
import torch
import ila_models
with torch.device("meta"):
    model = ila_models.create_model("ila_vit_b32", num_classes=3)
    print(tuple(model(torch.empty(1, 8, 3, 224, 224)).shape))
"""
    assert run(program, folder=tmp_path) == "(1, 3)\n"


def test_tests_do_not_read_a_developer_s_caches() -> None:
    for folder in (huggingface_hub.constants.HF_HUB_CACHE, huggingface_hub.constants.HF_TOKEN_PATH, cache_folder()):
        assert "ila_models_tests_" in str(folder)

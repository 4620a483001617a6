"""Models as graphs that need none of this package: torch's exported programs, and ONNX files.

A graph is of the form for inference (:meth:`~ila_models.ila_vit.ILAVisionTransformer.fuse`), and takes any number of
clips and frames.
"""

from __future__ import annotations

import copy
import importlib
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from .video_model import VideoModel

MIN_FRAMES = 3
"""Frames that a graph needs: torch takes a dimension of size 1, as two frames make of their pairs, for a constant."""
ONNX_TOLERANCE = 1e-4
"""How far onnxruntime may be from torch, of the largest output."""


def export_program(model: VideoModel) -> ExportedProgram:
    """A model as an exported program, for ``torch.export.save``, AOTInductor, ExecuTorch and the like.

    Args:
        model: The model, fused or not; it stays as it is.

    Returns:
        A program from clips [B, T, 3, H, W], B at least 1 and T at least 3, to logits [B, C], or to embeddings [B, E].

    Raises:
        RuntimeError: The text head has no classes yet.
    """
    clips, dimensions = _example(model)
    with torch.no_grad():
        return torch.export.export(_for_inference(model), (clips,), dynamic_shapes={"video": dimensions})


def export_onnx(model: VideoModel, path: str | os.PathLike[str]) -> Path:
    """Writes a model as an ONNX file, and lets onnxruntime answer once to see that it says the same.

    The input is ``video`` [clips, frames, 3, H, W], normalised, at least 3 frames; the output is ``logits``
    [clips, C], or ``embeddings`` [clips, E] without a head. Above 2 GB, ONNX wants the weights in a file of their own
    beside it, ``FILE.data``. Files appear complete or not at all.

    Args:
        model: The model, fused or not; it stays as it is.
        path: The file to write; its folder is made if need be.

    Returns:
        The file.

    Raises:
        ValueError: The model is not float32.
        RuntimeError: A package is missing, the text head has no classes yet, or onnxruntime's answer differs by more
            than 1e-4.
        OSError: The file cannot be written; what stood there is untouched.
    """
    require_onnx()
    like = model.temporal.pos_embed
    if like.dtype != torch.float32:
        raise ValueError(
            f"the model is {like.dtype}, which onnxruntime's CPU cannot answer in: export model.float(), and"
            f" make 16 bits of the file by onnxruntime's own tools"
        )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # On the CPU, since a GPU may round products to ten bits, and the file is to be held against exact answers.
    prepared = _for_inference(model if like.device.type == "cpu" else copy.deepcopy(model).cpu())
    clips, dimensions = _example(prepared)
    with torch.no_grad():
        expected = prepared(clips)
        program = torch.onnx.export(
            prepared,
            (clips,),
            dynamo=True,
            verbose=False,
            dynamic_shapes={"video": dimensions},
            input_names=["video"],
            output_names=["logits" if model.num_classes else "embeddings"],
        )
    assert program is not None
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        written = Path(folder, path.name)
        program.save(written)
        _check_answer(written, clips, expected)
        for part in sorted(Path(folder).iterdir(), reverse=True):  # the weights before the file that names them
            part.replace(path.parent / part.name)
    return path


def _for_inference(model: VideoModel) -> VideoModel:
    return model if model.inference_form and not model.training else copy.deepcopy(model).fuse()


def _example(model: VideoModel) -> tuple[Tensor, dict[int, Any]]:
    """Clips to trace, of sizes that torch takes for no constants, and the dimensions that may change."""
    generator = torch.Generator().manual_seed(0)
    clips = torch.randn(2, MIN_FRAMES + 1, 3, *model.img_size, generator=generator)
    return clips.to(model.temporal.pos_embed), {0: Dim("clips", min=1), 1: Dim("frames", min=MIN_FRAMES)}


def _check_answer(path: Path, clips: Tensor, expected: Tensor) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    answer = torch.from_numpy(session.run(None, {"video": clips.numpy()})[0])
    error = float((answer - expected).abs().max() / expected.abs().max())
    if not error <= ONNX_TOLERANCE:
        raise RuntimeError(
            f"onnxruntime {onnxruntime.__version__} answers otherwise than torch, by {error:.1e} of the largest output"
            f" (at most {ONNX_TOLERANCE:.0e} is expected): nothing was written; another version of onnxruntime or"
            f" onnxscript may help"
        )


def require_onnx() -> None:
    """Checks that ONNX files can be written.

    Raises:
        RuntimeError: A package is missing.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        try:
            importlib.import_module(package)
        except ModuleNotFoundError as error:
            raise RuntimeError(f"an ONNX file takes {package}: pip install 'ila-models[onnx]'") from error

"""``ila-models export``: a model as a file that runs without this package."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..export import MIN_FRAMES, export_onnx, require_onnx
from .given import given_path
from .model_options import add_classes_option, add_weights_options, create_named_model

EXAMPLES = """\
examples:
  ila-models export ila.onnx --model ila_vit_b16
      the released Kinetics-400 model
  ila-models export clip.onnx --model ila_vit_b16.openai --classes "surfing,tai chi"
      frozen CLIP with its classes built in
  ila-models export dino.onnx --model local-dir:my_dino
      an image model with alignment
"""


def add_to(commands: Any) -> None:
    """Adds the command to the program's."""
    parser = commands.add_parser(
        "export",
        help="write a model as an ONNX file",
        description="Writes a model, rearranged for inference, as an ONNX file for any number of clips, and of frames"
        f" from {MIN_FRAMES} on, and checks onnxruntime's answer against torch's.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=given_path, metavar="FILE", help="file to write, such as ila_vit_b16.onnx")
    add_weights_options(parser)
    add_classes_option(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Exports, and says what goes in and what comes out."""
    require_onnx()  # before weights are fetched
    model = create_named_model(options)
    model.fuse()
    written = export_onnx(model, options.file)
    height, width = model.img_size
    contract = model.pretrained_cfg
    classes, channels = model.num_classes, model.temporal.pos_embed.shape[-1]
    output = f"logits [clips, {classes}]" if classes else f"embeddings [clips, {channels}]"
    sys.stdout.write(
        f"{written}: video [clips, frames, 3, {height}, {width}], RGB of mean {contract['mean']} and std"
        f" {contract['std']}, to {output}\n"
    )
    return 0

"""Writes the model tables of README.md and docs/ out of weights_manifest.json and the models; with --check, compares.

python .ci/model_tables.py [--check]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import get_args

import torch
from transformers import TimesformerConfig, TimesformerForVideoClassification

from ila_models import align_timesformer
from ila_models.configs import AlignmentForm
from ila_models.info import model_info, multiply_adds
from ila_models.weights.manifest import PackageSource, Record, Source, records

TIMES = "\N{MULTIPLICATION SIGN}"
ROOT = Path(__file__).resolve().parents[1]
BACKBONES = (
    "vit_base_patch16_clip_224.openai",
    "vit_base_patch16_siglip_224.webli",
    "vit_small_patch14_dinov2.lvd142m",
    "vit_base_patch14_reg4_dinov2.lvd142m",
    "vit_base_patch16_dinov3.lvd1689m",
    "eva02_base_patch14_224.mim_in22k",
    "deit3_base_patch16_224.fb_in22k_ft_in1k",
    "vit_relpos_base_patch16_224.sw_in1k",
    "vit_little_patch16_reg4_gap_256.sbb_in1k",
)
BEGIN = "<!-- model table: written by .ci/model_tables.py -->\n"
END = "<!-- end of the model table -->\n"


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    """A table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def percent(value: float | None) -> str:
    """A metric, or that there is none."""
    return "not measured yet" if value is None else f"{value:.1f}"


def amount(number: int, unit: float, name: str) -> str:
    """A number in units, small ones with two digits that count."""
    return f"{number / unit:.0f} {name}" if number >= 10 * unit else f"{number / unit:.2g} {name}"


def shape(record: Record) -> str:
    """Frames and pixels."""
    return f"{record.arguments['num_frames']} {TIMES} {record.arguments['img_size'][0]}"


def readme_table() -> str:
    """What the trained checkpoints are and cost, by their data; frozen CLIP is not among them."""
    trained = sorted(
        (record for record in records().values() if record.evaluation is not None),
        key=lambda record: record.tag.partition("_")[0],
    )
    return table(
        [
            "checkpoint",
            f"frames {TIMES} pixels",
            "parameters",
            "multiply-adds",
            "paper's GFLOPs",
            "top-1 / top-5 reported",
            "top-1 measured",
        ],
        (
            [
                f"`{record.name}`",
                shape(record),
                amount(record.parameters, 1e6, "M"),
                amount(record.multiply_adds, 1e9, "G"),
                "not known" if record.paper_gflops is None else f"{record.paper_gflops:g}",
                f"{record.reported.top1:.1f} / {record.reported.top5:.1f}" if record.reported else "none",
                percent(record.measured and record.measured.top1),
            ]
            for record in trained
        ),
    )


def address(source: Source) -> str:
    """Where a link in docs/ goes."""
    return f"../{source.url}" if isinstance(source, PackageSource) else source.url


def licence(stated: str | None) -> str:
    """What a record says of its licence; an address as a link, for no line breaks in an address."""
    if stated is None:
        return "not stated"
    return f"[its page]({stated.removeprefix('see ')})" if stated.startswith("see https://") else stated


def docs_table() -> str:
    """Where every checkpoint comes from."""
    return table(
        ["checkpoint", "what it is", "from", "sha256", "size", "licence"],
        (
            [
                f"`{record.name}`" + (" (default)" if record.default else ""),
                record.description,
                f"[{type(source).__name__.removesuffix('Source')}]({address(source)})",
                "not measured yet" if source.sha256 is None else f"`{source.sha256[:12]}…`",
                "not measured yet" if source.size is None else f"{source.size / 1e6:.0f} MB",
                licence(record.license),
            ]
            for record in records().values()
            for source in record.sources
        ),
    )


def zoo_tables() -> str:
    """Both: what checkpoints are and cost, and where they come from."""
    return f"{readme_table()}\nWhere each comes from:\n\n{docs_table()}"


def forms_table() -> str:
    """What every form of the block costs, beside the paper's figures for its own form."""
    sizes = [("ila_vit_b32.k400_8x224", 8), ("ila_vit_b16.k400_8x224", 8), ("ila_vit_b16.k400_16x224", 16)]
    sizes += [("ila_vit_l14.k400_8x224", 8), ("ila_vit_l14_336.k400_16x336", 16)]
    titles = [f"{name.partition('.')[0].removeprefix('ila_vit_')}, {frames} frames" for name, frames in sizes]
    papers = [f"{records()[name].paper_gflops:g}" for name, _ in sizes]
    rows = [
        [f"`{form}`", *(f"{model_info(name, alignment=form).macs / 1e9:.1f}" for name, _ in sizes)]
        for form in get_args(AlignmentForm)
    ]
    return table(["`alignment=`", *titles], [*rows, ["the paper's, of `token`", *papers]])


def backbones_table() -> str:
    """What alignment costs with image models of timm, those of add_alignment's tests in their usual sizes."""
    rows = []
    for name in BACKBONES:
        info = model_info(f"timm/{name}", img_size=224)
        assert info.image_macs is not None, "timm's models are counted by themselves too"
        numbers = (info.image_macs, info.macs)
        rows.append([f"`{name}`", *(f"{number / 1e9:.1f}" for number in numbers), f"{info.parameters / 1e6:.1f} M"])
    rows.append(timesformer_row())
    return table(["model, 224 pixels", "itself on 8 frames", "with alignment", "parameters with it"], rows)


def timesformer_row() -> list[str]:
    """The same of TimeSformer, whose temporal attention goes when alignment comes."""
    with torch.device("meta"):
        model = TimesformerForVideoClassification(TimesformerConfig(num_labels=400)).eval().requires_grad_(False)
        clip = torch.empty(1, 8, 3, 224, 224)
        itself, _ = multiply_adds(lambda: model(clip))
        aligned = align_timesformer(model).requires_grad_(False)
        with_it, _ = multiply_adds(lambda: aligned(clip))
    parameters = sum(parameter.numel() for parameter in aligned.parameters())
    name = "TimeSformer-B of `transformers`, alignment in the place of its temporal attention"
    return [name, f"{itself / 1e9:.1f}", f"{with_it / 1e9:.1f}", f"{parameters / 1e6:.1f} M"]


TABLES: dict[str, list[Callable[[], str]]] = {
    "README.md": [readme_table],
    "docs/models.md": [zoo_tables],
    "docs/forms.md": [forms_table, backbones_table],
}
"""The tables of each file, in the order of their places."""


def main() -> int:
    """Writes, or compares: 1 if a file differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a table is out of date")
    check = parser.parse_args().check
    outdated = []
    for name, tables in TABLES.items():
        path = ROOT / name
        before = path.read_text(encoding="utf-8")
        after, *places = before.split(BEGIN)
        for make, place in zip(tables, places, strict=True):
            after += f"{BEGIN}\n{make()}\n{END}{place.partition(END)[2]}"
        if after != before:
            outdated.append(name)
            if not check:
                path.write_text(after, encoding="utf-8")
    if outdated and check:
        sys.stderr.write(f"out of date: {', '.join(outdated)}; run: python .ci/model_tables.py\n")
    return 1 if outdated and check else 0


if __name__ == "__main__":
    sys.exit(main())

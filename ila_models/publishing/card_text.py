"""What people read on a model card: all that they need to use the model, and nothing that is not known."""

from __future__ import annotations

import shlex
from itertools import islice

from ..data import create_transform
from ..factory import KINETICS_CLASSES
from ..version import __version__
from ..weights.manifest import Accuracy, PackageSource, citation
from .card_facts import CardFacts
from .card_usage import usage_sections
from .license import License, stated_license
from .markdown import code, paragraph
from .project import PROJECT_ADDRESS

_CLASSES_SHOWN = 5
_HUB_PAGE = "https://huggingface.co"
_SSV2_PAGE = "https://www.qualcomm.com/developer/software/something-something-v-2-dataset"


def card_text(facts: CardFacts) -> str:
    """The card below its metadata, in Markdown."""
    sections = [
        f"# {facts.name if facts.repo_id else code(facts.name)}",
        _introduction(facts),
        "## Facts",
        _facts_table(facts),
        *_results(facts),
        "## Use",
        *usage_sections(facts),
        "## Classes",
        _classes(facts),
        "## Check a download",
        _verification(facts),
        "## Where the weights come from",
        _origin(facts),
        "## Limits and risks",
        _limits(facts),
        "## Licence",
        _licence(facts),
        "## Citation",
        "\n\n".join(paper.bibtex for paper in facts.citations).join(("```bibtex\n", "\n```")),
    ]
    return "\n\n".join(sections) + "\n"


def _introduction(facts: CardFacts) -> str:
    paper = citation("ila")
    about = "A video model in the ILA architecture"
    if facts.record is not None:
        about = facts.record.description
    elif facts.head != "none" and facts.checkpoint.num_classes:
        about = f"A video model that tells {facts.checkpoint.num_classes} classes apart, in the ILA architecture"
    return paragraph(
        f"{about}. ILA (Implicit Learnable Alignment, [arXiv {paper.arxiv}](https://arxiv.org/abs/{paper.arxiv}), ICCV"
        f" 2023; [Paper page]({_HUB_PAGE}/papers/{paper.arxiv})) makes CLIP's image transformer a video model: each of"
        f" its blocks aligns every pair of neighbouring frames before it attends within the frames. The weights are"
        f" read by [ila_models]({PROJECT_ADDRESS}), in PyTorch."
    )


def _facts_table(facts: CardFacts) -> str:
    checkpoint, contract, costs = facts.checkpoint, facts.contract, facts.costs
    config = checkpoint.config
    height, width = config.img_size
    short_side = create_transform(contract | {"img_size": config.img_size}).resize_to
    smoothing = "with" if contract["antialias"] else "without"
    mean, std = (", ".join(map(str, contract[name])) for name in ("mean", "std"))
    classes = checkpoint.num_classes or KINETICS_CLASSES
    with_head = f"with its head ({classes} classes)" if facts.head != "none" else "without a head"
    rows = [
        ("architecture", f"`{checkpoint.architecture}`" if checkpoint.architecture else "sizes of its own"),
        ("input", f"float tensor `[B, T, C, H, W]` = `[B, {config.num_frames}, 3, {height}, {width}]`, RGB"),
        ("frames", _sampling(contract["sampling"], config.num_frames)),
        ("resize", f"short side to {short_side} pixels, {contract['interpolation']}, {smoothing} antialiasing"),
        ("crop", f"{height} x {width} pixels, at the centre (one crop) or along the long side (three)"),
        ("normalisation", f"mean {mean}; std {std}; of values in [0, 1]"),
        ("output", _output(facts)),
        ("parameters", f"{costs.parameters / 1e6:.1f} M, {costs.backbone_parameters / 1e6:.1f} M without the head"),
        ("multiply-adds", f"{costs.macs / 1e9:.1f} G a clip {with_head}; {costs.backbone_macs / 1e9:.1f} G without"),
    ]
    if facts.head == "none":
        rows[-2:] = [
            ("parameters", f"{costs.parameters / 1e6:.1f} M"),
            ("multiply-adds", f"{costs.macs / 1e9:.1f} G a clip"),
        ]
    if facts.record is not None and facts.record.paper_gflops is not None:
        rows.append(
            ("the paper's GFLOPs", f"{facts.record.paper_gflops:g}, for the token form that its text describes")
        )
    table = "\n".join(["| | |", "|---|---|", *(f"| {name} | {fact} |" for name, fact in rows)])
    note = paragraph(
        "Parameters and multiply-adds are counted by this project, where one multiply-add counts as one; a text tower"
        " is not among them. `ila_models.create_transform(model)` prepares frames exactly as the table says."
    )
    return f"{table}\n\n{note}"


def _sampling(rule: str, frames: int) -> str:
    if rule == "segment_midpoints":
        return f"{frames}, from the middles of {frames} equal parts of the video"
    return f"{frames}, by the rule {code(rule)}"


def _output(facts: CardFacts) -> str:
    classes = facts.checkpoint.num_classes
    if facts.head == "none":
        return f"video embeddings `[B, {facts.checkpoint.config.embed_dim}]`"
    if classes == 0:
        return "logits `[B, C]` of the C classes that you name; a softmax makes probabilities"
    kind = "compared with text features of their names" if facts.head == "text" else "by a linear layer"
    return f"logits `[B, {classes}]` of {classes} classes, {kind}; a softmax makes probabilities"


def _results(facts: CardFacts) -> list[str]:
    record = facts.record
    if record is None or record.evaluation is None:
        return []
    evaluation = record.evaluation
    views = f"{evaluation.clips} x {evaluation.crops}"
    reported = _accuracy(record.reported, "not reported")
    measured = _accuracy(record.measured, "not measured yet")
    if record.reported is not None:
        told = f"*Reported* is what [the {record.reported.by}]({_page(record.reported)}) says"
    else:
        told = "Nobody has reported an accuracy"
    if record.measured is not None:
        told += f". *Measured* was by {record.measured.by}: [how]({_page(record.measured)})"
    elif record.reported is not None:
        told += "; this project has not verified it yet"
    table = "\n".join(
        [
            f"| {evaluation.dataset.name}, {evaluation.split}, {views} views | reported | measured |",
            "|---|---|---|",
            f"| top-1 accuracy (%) | {reported[0]} | {measured[0]} |",
            f"| top-5 accuracy (%) | {reported[1]} | {measured[1]} |",
        ]
    )
    return [
        "## Accuracy",
        table,
        paragraph(f"{told}. Views are clips x crops of every video, whose probabilities are averaged."),
    ]


def _accuracy(claim: Accuracy | None, otherwise: str) -> tuple[str, str]:
    return (otherwise, otherwise) if claim is None else (f"{claim.top1:.1f}", f"{claim.top5:.1f}")


def _page(claim: Accuracy) -> str:
    is_url = claim.source.startswith("https://")
    return claim.source if is_url else f"{PROJECT_ADDRESS}/blob/main/{claim.source}"


def _classes(facts: CardFacts) -> str:
    checkpoint = facts.checkpoint
    if facts.head == "none":
        return "The model has no classes: it gives video embeddings."
    if checkpoint.class_names is None and checkpoint.num_classes == 0:
        return "The model has no classes of its own: you name them."
    if checkpoint.class_names is None:
        return paragraph(
            f"The file does not name its {checkpoint.num_classes} classes: predictions are their numbers, from 0, in"
            f" the order of the labels that the model was trained with.{_whence(facts)} Give the names with"
            " `class_names=[...]`, or `--classes @FILE` with one a line."
        )
    names = checkpoint.class_names
    shown = ", ".join(f"{index} {code(name)}" for index, name in islice(enumerate(names), _CLASSES_SHOWN))
    return (
        f"{shown}{', …' if len(names) > _CLASSES_SHOWN else ''}\n\n"
        f"All {len(names)} stand, in order, in `config.json` under `label_names` and in `model.class_names`."
    )


def _whence(facts: CardFacts) -> str:
    """Where the names of classes are, if that is known."""
    evaluation = facts.record.evaluation if facts.record else None
    if evaluation is None or evaluation.dataset.hub_id != "something-something-v2":
        return ""
    return (
        f" The names come with the data set, from [its page]({_SSV2_PAGE}). That their order there is the order of"
        " these classes, nobody has checked."
    )


def _verification(facts: CardFacts) -> str:
    note = paragraph(
        "reads the weights, compares them with `config.json`, and replays `test/reference.safetensors` where it is"
        " there: a clip made from a seed, and the video embedding and logits that this model gave for it when it was"
        " published."
    )
    return f"```bash\nila-models verify {shlex.quote(facts.model_name)}\n```\n\n{note}"


def _origin(facts: CardFacts) -> str:
    by = f"ila_models {__version__}"
    source = facts.checkpoint.source
    if source is None and facts.record is not None and _is_ours(facts):
        return (
            f"This project trained them{_trained_where(facts)}, on its own clips, with the recipe that comes with the"
            f" package:\n\n```bash\nila-models train --config {facts.record.name} --out DIR\n```"
        )
    if source is None:
        return paragraph(f"Their publisher saved them with {by}. How they were trained, only the publisher can tell.")
    sources = facts.record.sources if facts.record else ()
    where = next((f" ([released here]({each.url}))" for each in sources if each.layout != "ila_models"), "")
    tower = " The features of the class names were computed with the file's text tower." if _is_kinetics(facts) else ""
    # What the file says of itself stands on lines of its own: wrapped, a word of it might begin a list.
    return (
        f"- file: {code(source['file'])}{where}\n- recognised as: {code(source['layout'])}\n"
        f"- sha256: {code(source['sha256'])}\n\n"
        + paragraph(
            f"It was converted to safetensors by {by}, as float32, under other names. Nothing was retrained.{tower}"
        )
    )


def _is_ours(facts: CardFacts) -> bool:
    """Whether the checkpoint comes with the package, which holds none but its own."""
    return facts.record is not None and any(isinstance(source, PackageSource) for source in facts.record.sources)


def _trained_where(facts: CardFacts) -> str:
    measured = facts.record.measured if facts.record else None
    return "" if measured is None else f" ([configuration, time and losses]({_page(measured)}))"


def _is_kinetics(facts: CardFacts) -> bool:
    return facts.record is not None and facts.head == "text" and facts.checkpoint.num_classes > 0


def _limits(facts: CardFacts) -> str:
    config, record = facts.checkpoint.config, facts.record
    height, width = config.img_size
    points = []
    start = "scratch" if facts.base_model is None else "CLIP's weights"
    if record is not None and record.evaluation is not None:
        points.append(
            f"Trained on {record.evaluation.dataset.name}, from {start}. Nothing is claimed here for other data, nor"
            " for whom it does worse."
        )
    elif record is not None and facts.base_model is not None:
        points.append(
            "Frozen CLIP: it was never trained on videos, and looks at frames one by one. No accuracy is claimed for"
            " it."
        )
    else:
        points.append("This card claims no accuracy: what the model was trained on and measured by, ask its publisher.")
    if facts.head != "none":
        points.append(
            "It always chooses among its classes, also where none of them is right. Whether its probabilities are"
            " calibrated, this project has not checked."
        )
    points += [
        f"A clip is {config.num_frames} frames, cropped to {height} x {width} pixels: what happens between them or"
        " outside the crop is not seen.",
        "The first and the last frame have one neighbour to be aligned with, the others two.",
        f"{_biases(facts)} Do not use it for surveillance, to recognise persons or to judge them.",
        "Its activation is OpenAI's QuickGELU: in a transformer with plain GELU, the same weights answer slightly"
        " wrong.",
    ]
    return "\n".join(paragraph(point, first="- ", later="  ") for point in points)


def _biases(facts: CardFacts) -> str:
    if _is_ours(facts):
        return "It has seen shapes that a program drew, and not a single person or real scene."
    if facts.base_model is None:
        return "It has the biases of what it was trained on, of which this card knows nothing."
    return (
        "CLIP learned from pictures and texts of the web, and its biases (by gender, skin colour, age, culture) come"
        " with it, as do those of the videos it was trained on since."
    )


def _licence(facts: CardFacts) -> str:
    license, record = facts.license, facts.record
    if license is None:
        told = "No licence is stated for these weights. Ask their publisher before you use them."
    elif record is None:
        told = f"The publisher states that the weights are under {license_link(license)}."
    elif stated_license(record) is not None:
        told = f"The weights are under {license_link(license)}, as those who made them state."
    else:
        told = (
            "The authors of the checkpoint state no licence. Whoever published this repository states that the weights"
            f" are under {license_link(license)}, on their own responsibility."
        )
    if facts.base_model is not None:
        told += f" CLIP's licence is told on [its page]({_HUB_PAGE}/{facts.base_model})."
    return paragraph(f"{told} The code of [ila_models]({PROJECT_ADDRESS}) is under the MIT licence.")


def license_link(license: License) -> str:
    """A licence as a card names it."""
    return f"`{license.id}`" if license.link is None else f"[{license.name}]({license.link})"

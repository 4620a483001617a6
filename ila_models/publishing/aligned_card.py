"""The model card of an image model with alignment."""

from __future__ import annotations

import json
import shlex
from itertools import islice

from huggingface_hub import ModelCard, ModelCardData

from ..data.transforms import VideoTransform, create_transform
from ..image_model import ImageModelRecipe
from ..info import count_aligned_costs
from ..version import __version__
from ..weights.aligned import AlignedCheckpoint
from ..weights.manifest import citation
from .card import PIPELINE_TAG
from .card_text import license_link
from .config_json import LIBRARY_NAME
from .license import License
from .markdown import code, paragraph
from .project import PROJECT_ADDRESS

_CLASSES_SHOWN = 5
_TIMM = "https://github.com/huggingface/pytorch-image-models"


def aligned_card(
    checkpoint: AlignedCheckpoint, *, repo_id: str | None, license: License | None, base_model: str | None
) -> ModelCard:
    """Writes it; the same arguments give the same text, and nothing is claimed that is not known.

    Args:
        checkpoint: What is published; its tensors are not looked at.
        repo_id: Repository ``owner/name``; None for the folder of ``checkpoint.path``.
        license: Under which it is published; None leaves it open, and the card says so.
        base_model: Repository of the Hub of the image model that it started from; None where nobody knows of one.
    """
    paper = citation("ila")
    data = ModelCardData(
        library_name=LIBRARY_NAME,
        pipeline_tag=PIPELINE_TAG,
        tags=["video", "action-recognition", "timm", "ila", f"arxiv:{paper.arxiv}"],
        base_model=base_model,
        base_model_relation=None if base_model is None else "finetune",
        license=None if license is None else license.id,
        license_name=None if license is None else license.name,
        license_link=None if license is None else license.link,
    )
    folder = checkpoint.path.resolve().parent.name
    name = folder if repo_id is None else repo_id.rpartition("/")[2]
    source = f"local-dir:{folder}" if repo_id is None else f"hf-hub:{repo_id}"
    sections = [
        f"# {name if repo_id else code(name)}",
        paragraph(
            f"A video model: {code(checkpoint.image_model)} of [timm]({_TIMM}) with the alignment of ILA (Implicit"
            f" Learnable Alignment, [arXiv {paper.arxiv}](https://arxiv.org/abs/{paper.arxiv}), ICCV 2023) before each"
            f" of its blocks, which lets neighbouring frames see each other. It is read by"
            f" [ila_models]({PROJECT_ADDRESS}), in PyTorch."
        ),
        "## Facts",
        _facts(checkpoint),
        "## Use",
        _usage(checkpoint, source, has_folder=repo_id is None),
        "## Classes",
        _classes(checkpoint),
        "## Limits",
        paragraph(
            "This card claims no accuracy: what the model was trained on and measured by, ask its publisher. It has the"
            " biases of the images and videos that it was trained on. Do not use it for surveillance, to recognise"
            " persons or to judge them."
        ),
        "## Licence",
        paragraph(
            (
                "No licence is stated for these weights. Ask their publisher before you use them."
                if license is None
                else f"The publisher states that the weights are under {license_link(license)}."
            )
            + " The licence of the image model's weights, where they were started from, goes on to hold."
            f" The code of [ila_models]({PROJECT_ADDRESS}) is under the MIT licence."
        ),
        "## Citation",
        f"```bibtex\n{paper.bibtex}\n```",
    ]
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(sections) + "\n")


def _facts(checkpoint: AlignedCheckpoint) -> str:
    contract, config = checkpoint.preprocessing, checkpoint.config
    height, width = checkpoint.image_model_args["img_size"]
    mean, std = (", ".join(f"{value:g}" for value in contract[name]) for name in ("mean", "std"))
    classes = checkpoint.image_model_args["num_classes"]
    costs = count_aligned_costs(ImageModelRecipe(checkpoint.image_model, checkpoint.image_model_args), config)
    rows = [
        ("image model", code(checkpoint.image_model)),
        ("input", f"float tensor `[B, T, C, H, W]` = `[B, {config.num_frames}, 3, {height}, {width}]`, RGB"),
        ("frames", _preparation(create_transform(contract | {"img_size": (height, width)}))),
        ("normalisation", f"mean {mean}; std {std}; of values in [0, 1]"),
        ("output", f"logits `[B, {classes}]`" if classes else "video vectors `[B, E]`"),
        ("aligned", f"{config.alignment_target}, {config.alignment_width} channels of pair features"),
        ("transformer over frames", f"{config.temporal_depth} layers"),
        ("parameters", f"{costs.parameters / 1e6:.1f} M"),
        ("multiply-adds", f"{costs.macs / 1e9:.1f} G a clip, where one multiply-add counts as one"),
        ("written by", f"ila_models {__version__}"),
    ]
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {fact} |" for name, fact in rows)])


def _preparation(transform: VideoTransform) -> str:
    height, width = transform.img_size
    kind = f"{transform.interpolation}, {'with' if transform.antialias else 'without'} antialiasing"
    scale = transform.resize_to / min(height, width)
    squashed = f"squashed to {int(height * scale + 0.5)} x {int(width * scale + 0.5)} pixels"
    resized = squashed if transform.crop_mode == "squash" else f"short side to {transform.resize_to} pixels"
    return f"{resized} ({kind}); {height} x {width} pixels of the centre"


def _usage(checkpoint: AlignedCheckpoint, source: str, *, has_folder: bool) -> str:
    beside = " Run them beside the folder of this card." if has_folder else ""
    predict = 'print(ila_models.predict_video(model, "video.mp4"))  # the likeliest classes\n'
    classes = checkpoint.image_model_args["num_classes"]
    command = f"\n\n```bash\nila-models predict video.mp4 --model {shlex.quote(source)}\n```" if classes else ""
    return (
        f'```bash\npip install "git+{PROJECT_ADDRESS}"\n```\n\n'
        + paragraph(f"`video.mp4` stands for a video of yours.{beside}")
        + "\n\n```python\nimport ila_models\n\n"
        f"model = ila_models.load_aligned_vit({json.dumps(source)})\n{predict if classes else ''}"
        'frames = ila_models.load_video("video.mp4", num_frames=model.num_frames)  # uint8 [T, 3, H, W]\n'
        "output = model(ila_models.create_transform(model)(frames)[None])\n"
        f'extractor = ila_models.FeatureExtractor({json.dumps(source)}, levels=["clip", "frame"])\n'
        f'features = extractor("video.mp4")\n```{command}'
    )


def _classes(checkpoint: AlignedCheckpoint) -> str:
    count = checkpoint.image_model_args["num_classes"]
    if not count:
        return "The model has no classes: it gives video vectors."
    if checkpoint.class_names is None:
        return f"The file does not name its {count} classes: predictions are their numbers, from 0."
    names = checkpoint.class_names
    shown = ", ".join(f"{index} {code(name)}" for index, name in islice(enumerate(names), _CLASSES_SHOWN))
    more = ", …" if len(names) > _CLASSES_SHOWN else ""
    return f"{shown}{more}\n\nAll {count} stand, in order, in `config.json` under `label_names`."

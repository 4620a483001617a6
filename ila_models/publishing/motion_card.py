"""The card of the motion dataset: what the Hub reads of it, above what people read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from huggingface_hub import DatasetCard, DatasetCardData

from ..data.motion import MOTION_CLASSES
from ..weights.manifest import citation
from .markdown import paragraph
from .project import PROJECT_ADDRESS

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


@dataclass(frozen=True, kw_only=True)
class MotionSplit:
    """A part of the dataset.

    Attributes:
        name: Of its folder, and as the Hub calls it.
        count: How many videos it has.
        seed: Of its clips, see :class:`~ila_models.data.motion.MotionDataset`.
    """

    name: str
    count: int
    seed: int


def motion_card(name: str, splits: Sequence[MotionSplit], *, seed: int, img_size: int, example: str) -> DatasetCard:
    """Writes the card. The same arguments, and the same version of PyAV, give the same text.

    Args:
        name: The dataset's, for the examples.
        splits: Its parts, training first.
        seed: That was asked for.
        img_size: Side of the videos in pixels.
        example: Path of a video, relative to the folder.
    """
    total = sum(split.count for split in splits)
    data = DatasetCardData(
        pretty_name="Motion: ten motions that only the order of frames tells apart",
        license="mit",
        task_categories=["video-classification"],
        size_categories=[next((size for limit, size in _SIZES if total < limit), "n>1M")],
        annotations_creators=["machine-generated"],
        source_datasets=["original"],
        tags=["video", "action-recognition", "motion", "synthetic", "ila", f"arxiv:{citation('ila').arxiv}"],
        configs=[
            {
                "config_name": "default",
                "data_files": [
                    {"split": split.name, "path": [f"{split.name}/metadata.csv", f"{split.name}/*/*.mp4"]}
                    for split in splits
                ],
            }
        ],
    )
    text = _text(name, splits, seed=seed, img_size=img_size, example=example)
    return DatasetCard(f"---\n{data.to_yaml()}\n---\n\n{text}")


def _text(name: str, splits: Sequence[MotionSplit], *, seed: int, img_size: int, example: str) -> str:
    sections = [
        "# Motion: ten motions that only the order of frames tells apart",
        paragraph(
            "Short generated videos of one textured shape over a textured background. The class is what the shape does,"
            " and each class is another one, its **twin**, played backwards:"
        ),
        _twins(),
        paragraph(
            "**No single frame tells twins apart**, and no heap of frames without their order: the frames of a video,"
            " shuffled, are as likely to be of the one class as of the other. A model that does not see the order of"
            " frames can do no better than a coin between twins, which is a top-1 accuracy of 50 % at best. A frame"
            " that comes with its time is another matter, and cannot but be: what moves right is, on average, further"
            " right at the end than at the beginning. A model with positions in time may use this; it has seen the"
            " order, then."
        ),
        _purpose(),
        "## What is in it",
        _splits_table(splits),
        _contents(img_size),
        "## How it is made",
        _making(),
        "## Load",
        _loading(name, example),
        "## Reproduce",
        _reproduction(name, splits[0].count, seed=seed, img_size=img_size),
        "## Limits",
        paragraph(
            "Drawn shapes are not the world: what a model scores here says whether it sees motion and the order of"
            " frames, and nothing of how well it knows real actions. There are no people, no places and no personal"
            " data in it."
        ),
        "## Licence and citation",
        paragraph(
            "MIT: a program drew all of it, and no other data went in. If it helps your work, cite the paper of the"
            " method for which it was made:"
        ),
        f"```bibtex\n{citation('ila').bibtex}\n```",
    ]
    return "\n\n".join(sections) + "\n"


def _twins() -> str:
    rows = ["| label_id | label | label_id | its twin |", "|---|---|---|---|"]
    for label in range(0, len(MOTION_CLASSES), 2):
        rows.append(f"| {label} | {MOTION_CLASSES[label]} | {label + 1} | {MOTION_CLASSES[label + 1]} |")
    return "\n".join(rows)


def _purpose() -> str:
    paper = citation("ila")
    return paragraph(
        f"It was made for [ila_models]({PROJECT_ADDRESS}), an implementation of ILA (Implicit Learnable Alignment,"
        f" [arXiv {paper.arxiv}](https://arxiv.org/abs/{paper.arxiv}), ICCV 2023), to see on a machine without a GPU"
        " whether a video model learns from motion. The paper's authors have no part in it."
    )


def _splits_table(splits: Sequence[MotionSplit]) -> str:
    rows = ["| split | videos | of each class | seed |", "|---|---|---|---|"]
    for split in splits:
        rows.append(f"| {split.name} | {split.count} | {split.count // len(MOTION_CLASSES)} | {split.seed} |")
    return "\n".join(rows)


def _contents(img_size: int) -> str:
    return paragraph(
        f"A video is h264, {img_size} x {img_size} pixels, a second long: eight pictures, each shown for two frames,"
        " so that the usual rules that choose eight frames choose each picture once. Videos lie in a folder per class,"
        " such as `test/moving_left`; `metadata.csv` of a split has the columns `file_name`, `label`, `label_id` and"
        " `twin`; `annotations.txt` says the same in lines `path label_id`."
    )


def _making() -> str:
    return paragraph(
        "A seed and a number decide each video. The shape has one of seven outlines and one of four patterns, in any"
        " two colours that stand out, measures 0.26 to 0.52 of the picture and stays in view. From the first picture to"
        " the last it travels 0.20 to 0.44 of the picture, or turns by 50 to 110 degrees, or grows or shrinks by a"
        " factor of 1.5 to 2.2, or comes out of the background or goes into it altogether. Half of the motions are of"
        " constant speed, the others faster in the middle. Half of the backgrounds drift, in any direction; up to two"
        " smaller shapes stand still; every value has some noise. The splits have seeds of their own: no video is in"
        " two."
    )


def _loading(name: str, example: str) -> str:
    datasets = paragraph(f"With 🤗 datasets (decoding takes torchcodec), `OWNER/{name}` being this repository:")
    ours = paragraph("With ila_models, whose shipped checkpoint tells these motions apart:")
    training = paragraph("Measure a model on the downloaded folder:")
    return "\n\n".join(
        [
            datasets,
            "```python\nfrom datasets import load_dataset\n\n"
            f'motion = load_dataset("OWNER/{name}")\n'
            'print(motion["test"][0]["label"])\n```',
            ours,
            "```python\nimport ila_models\nfrom huggingface_hub import snapshot_download\n\n"
            f'folder = snapshot_download("OWNER/{name}", repo_type="dataset")\n'
            'model = ila_models.create_model("ila_vit_nano8", pretrained=True)\n'
            f'print(ila_models.predict_video(model, f"{{folder}}/{example}"))\n```',
            training,
            "```bash\nila-models evaluate --model ila_vit_nano8 --data FOLDER/test"
            " --annotations FOLDER/test/annotations.txt\n```",
        ]
    )


def _reproduction(name: str, count: int, *, seed: int, img_size: int) -> str:
    import av

    return "\n\n".join(
        [
            f'```bash\npip install "git+{PROJECT_ADDRESS}"\n'
            f"ila-models dataset motion {name} --count {count} --seed {seed} --img-size {img_size}\n```",
            paragraph(
                "writes these files again, byte for byte, with the version of PyAV that encoded them,"
                f" {av.__version__}; with another, the videos show the same and may differ in their bytes."
                " `ila_models.data.motion` makes the clips as tensors, without files."
            ),
        ]
    )

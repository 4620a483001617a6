"""How a model card says that the model is used. Every block of code in it runs; the tests run them."""

from __future__ import annotations

import json
import shlex

from .card_facts import CardFacts
from .markdown import code, paragraph
from .project import PROJECT_ADDRESS

_EXAMPLE_CLASSES = ("surfing", "tai chi")


def usage_sections(facts: CardFacts) -> list[str]:
    """Installation, the three ways to the model, features and class names, in Markdown."""
    return [_installation(facts), *_python_usage(facts), *_features(facts), *_open_vocabulary(facts)]


def _installation(facts: CardFacts) -> str:
    where = "" if facts.repo_id else f" Run them beside {code(facts.folder)}, which is the folder of this card."
    note = paragraph(f"The blocks below go on from one another; `video.mp4` stands for a video of yours.{where}")
    return f'With Python 3.10 or later:\n\n```bash\npip install "git+{PROJECT_ADDRESS}"\n```\n\n{note}'


def _python_usage(facts: CardFacts) -> list[str]:
    name, architecture = json.dumps(facts.model_name), facts.checkpoint.architecture
    arguments, options = _class_arguments(facts)
    predict = ""
    if facts.head != "none":
        predict = 'print(ila_models.predict_video(model, "video.mp4"))  # the likeliest classes\n\n'
    sections = [
        "**In Python**\n\n```python\nimport torch\n\nimport ila_models\n\n"
        f"model = ila_models.create_model({name}{arguments})\n{predict}"
        'frames = ila_models.load_video("video.mp4", num_frames=model.num_frames)  # uint8 [T, 3, H, W]\n'
        "clip = ila_models.create_transform(model)(frames)[None]  # [1, T, 3, H, W]\n"
        f"with torch.inference_mode():\n    output = model(clip)  # {_output_shape(facts)}\n```"
    ]
    if architecture is not None:
        slug = PROJECT_ADDRESS.removeprefix("https://github.com/")
        sections.append(
            "**With torch.hub**, which fetches the code but not what it depends on, or **through timm**, which knows"
            " the models\nafter `import ila_models`\n\n```python\nimport timm\n\n"
            f'model = torch.hub.load(\n    "{slug}", "{architecture}", trust_repo=True,\n'
            f"    checkpoint_path={json.dumps(facts.checkpoint_path)}{arguments},\n)\n"
            f"model = timm.create_model({name}, pretrained=True{arguments})\n```"
        )
    if facts.head != "none":
        sections.append(
            "**On the command line**, with one view (the default) or several (`--views 4x3`)\n\n"
            f"```bash\nila-models predict video.mp4 --model {shlex.quote(facts.model_name)}{options}\n```"
        )
    return sections


def _class_arguments(facts: CardFacts) -> tuple[str, str]:
    """Arguments without which the model would have no classes, in Python and on the command line."""
    if facts.checkpoint.num_classes:
        return "", ""
    if facts.head == "none":
        return (", num_classes=0", "") if facts.checkpoint.head == "text" else ("", "")
    arguments = f", class_names={_python_list(_EXAMPLE_CLASSES)}"
    options = f' --classes "{",".join(_EXAMPLE_CLASSES)}"'
    if not facts.has_text_tower:
        arguments += f', text_encoder=ila_models.load_text_encoder("{facts.text_tower}")'
        options += f" --text-tower {facts.text_tower}"
    return arguments, options


def _output_shape(facts: CardFacts) -> str:
    if facts.head == "none":
        return f"[1, {facts.checkpoint.config.embed_dim}]"
    return f"[1, {facts.checkpoint.num_classes or len(_EXAMPLE_CLASSES)}]"


def _features(facts: CardFacts) -> list[str]:
    config = facts.checkpoint.config
    frames, embedding = config.num_frames, config.embed_dim
    tokens = 1 + (config.img_size[0] // config.patch_size) * (config.img_size[1] // config.patch_size)
    return [
        "**As a feature extractor**\n\n"
        "```python\n"
        f"extractor = ila_models.create_model({json.dumps(facts.model_name)}, num_classes=0)\n"
        "with torch.inference_mode():\n"
        f"    embedding = extractor(clip)  # [1, {embedding}]: one vector a clip\n"
        f"    tokens = extractor.forward_features(clip)  # [1, {frames}, {tokens}, {config.width}]: all tokens\n"
        f"    vectors = extractor.forward_frames(tokens)  # [1, {frames}, {embedding}]: one vector a frame\n"
        "```\n\n"
        "`num_classes=N` gives a fresh linear head of N classes for training; `num_frames=` and `img_size=` build for"
        " other clips."
    ]


def _open_vocabulary(facts: CardFacts) -> list[str]:
    if facts.head != "text":
        return []
    names = _python_list(("arm wrestling", "playing guitar"))
    encoder, which = "", "The file brings CLIP's text tower"
    if not facts.has_text_tower:
        if facts.text_tower is None:
            return []
        encoder = f', text_encoder=ila_models.load_text_encoder("{facts.text_tower}")'
        which = "The file brings no text tower, so CLIP's is taken from its own repository"
    note = paragraph(f"{which}. The model then chooses among these names only. No accuracy is claimed for that.")
    return [
        "**With class names of your own**\n\n"
        f'```python\nmodel.set_classes({names}{encoder})\nprint(ila_models.predict_video(model, "video.mp4"))\n```\n\n'
        f"{note}"
    ]


def _python_list(names: tuple[str, ...]) -> str:
    return json.dumps(list(names))

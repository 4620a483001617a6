"""The ``README.md`` of the app's Space: what the Hub reads of it, above what people read."""

from __future__ import annotations

import platform
from collections.abc import Sequence

from huggingface_hub import SpaceCard, SpaceCardData

from ..app.texts import TITLE
from ..version import __version__
from ..weights.manifest import citation
from .markdown import code, paragraph
from .project import PROJECT_ADDRESS


def space_card(name: str, models: Sequence[str], *, repositories: Sequence[str], gradio: str) -> SpaceCard:
    """Writes the card.

    Args:
        name: The Space's, for the examples.
        models: That the app offers.
        repositories: Of the Hub, from which some of them are fetched.
        gradio: Version that the Space runs.
    """
    major, minor, _ = platform.python_version_tuple()
    data = SpaceCardData(
        title=TITLE,
        emoji="🎯",
        colorFrom="blue",
        colorTo="yellow",
        sdk="gradio",
        sdk_version=gradio,
        python_version=f"{major}.{minor}",
        app_file="app.py",
        license="mit",
        short_description="Watch a video model align neighbouring frames",
        models=list(repositories) or None,
        tags=["video-classification", "action-recognition", "ila", f"arxiv:{citation('ila').arxiv}"],
    )
    return SpaceCard(f"---\n{data.to_yaml()}\n---\n\n{_text(name, models)}")


def _text(name: str, models: Sequence[str]) -> str:
    paper = citation("ila")
    options = "".join(f" --model {model}" for model in models)
    sections = [
        f"# {TITLE}",
        paragraph(
            "Upload or record a short video, see what the model makes of it, and watch its interactive points: for each"
            " pair of neighbouring frames, ILA (Implicit Learnable Alignment,"
            f" [arXiv {paper.arxiv}](https://arxiv.org/abs/{paper.arxiv}), ICCV 2023) predicts a point in either frame,"
            " and a soft mask round it says how much each patch counts when the two are aligned."
        ),
        paragraph(f"It offers {', '.join(map(code, models))}. Uploads are deleted within an hour."),
        "## How it is made",
        paragraph(
            f"`app.py` starts the app of [ila_models]({PROJECT_ADDRESS}). `requirements.txt` takes the package from"
            f" that repository at the tag `v{__version__}`, so **the repository must be public and have that tag**"
            " before the Space can be built, and pins everything else to the versions with which the app was tried. The"
            " Space needs no GPU; for one that has it, remove the line about CUDA from `requirements.txt`."
        ),
        f"```bash\npip install 'ila-models[app] @ git+{PROJECT_ADDRESS}@v{__version__}'\n"
        f"# The same on your machine:\nila-models app{options}\n"
        f"# These files anew, and to the Hub:\nila-models space {name}{options}\n"
        f"ila-models publish space {name} --namespace OWNER\n```",
        "## Licence and citation",
        paragraph("The app and the checkpoint that comes with the package are under the MIT licence."),
        f"```bibtex\n{paper.bibtex}\n```",
    ]
    return "\n\n".join(sections) + "\n"

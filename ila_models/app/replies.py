"""What happens when something is pressed: from what stands on the page to what it shows next."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from ..visualize import WindowPredictions
from . import texts
from .limits import Limits
from .models import OfferedModels, read_class_names
from .prediction import PointPictures, answer, draw_points
from .refusal import RefusedError
from .timeline import timeline_html

TOP = 5
"""Classes that are shown."""
_PICTURES_STAY = [gr.skip()] * 4


@dataclass(frozen=True, kw_only=True)
class Replies:
    """Answers the page's events.

    Attributes:
        offered: The models of its list.
        limits: Of uploads.
        scratch: Where pictures are made, on their way to gradio's cache.
    """

    offered: OfferedModels
    limits: Limits
    scratch: Path

    def recognise(
        self, video: str | None, model: str, names: str | None, dark: bool | None = False
    ) -> Iterator[list[Any]]:
        """Asks a model about a video.

        Args:
            video: Path of the upload; None before there is one.
            model: Its name in the list.
            names: Class names as typed; None where the page has no box for them.
            dark: Whether the page is dark, and the pictures should be.

        Yields:
            The refusal, the classes, the classes over time, the animation, the contact sheet, with the headings of the
            last three: twice, because the pictures take longer.
        """
        try:
            if video is None:
                raise RefusedError("There is no video yet. Please upload or record one, or press one of the examples.")
            with self.offered.lend(model) as loaded:
                found = answer(loaded, Path(video), class_names=read_class_names(names or ""), limits=self.limits)
        except RefusedError as refusal:
            nothing = [*_over_time(None), *_pictures(PointPictures(None, None))]
            yield [gr.Markdown(str(refusal), visible=True), None, *nothing]
            return
        words = [gr.Markdown(visible=False), found.probabilities, *_over_time(found.over_time)]
        yield [*words, *_PICTURES_STAY]
        # gradio has copied what is yielded by the time it comes back here.
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            drawn = draw_points(found.capture, Path(folder), theme="dark" if dark else "light")
            yield [*words, *_pictures(drawn)]

    def introduce(self, model: str) -> list[Any]:
        """Loads the model that was chosen: what is said of it, the box for class names, and the refusal."""
        try:
            with self.offered.lend(model) as loaded:
                said, reads_names = texts.about(loaded), loaded.text_encoder is not None
        except RefusedError as refusal:
            return [gr.skip(), gr.skip(), gr.Markdown(str(refusal), visible=True)]
        return [said, gr.Textbox("", visible=reads_names), gr.Markdown(visible=False)]


def _over_time(predictions: WindowPredictions | None) -> list[Any]:
    """The heading and the bars of the classes over time; hidden where there is one window."""
    if predictions is None:
        return [gr.Markdown(visible=False), gr.HTML(visible=False)]
    return [gr.Markdown(visible=True), gr.HTML(timeline_html(predictions, topk=TOP), visible=True)]


def _pictures(drawn: PointPictures) -> list[Any]:
    """The animation and the contact sheet, and the heading of each; hidden where there are none."""
    animation, sheet = drawn
    return [
        gr.Markdown(visible=animation is not None),
        gr.Video(animation, visible=animation is not None),
        gr.Markdown(visible=sheet is not None),
        gr.Image(sheet, visible=sheet is not None),
    ]

"""Serving the app until it is interrupted, with everything that it writes in one folder that vanishes with it."""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..demo import DEMO_MODEL
from ..features.creation import default_device
from .examples import write_examples
from .limits import Limits
from .models import OfferedModels

_logger = logging.getLogger(__name__)

_LAST_PORT = 65_535  # sixteen bits


def launch(
    models: Sequence[str] = (DEMO_MODEL,),
    *,
    checkpoint: str | None = None,
    text_tower: str | None = None,
    num_frames: int | None = None,
    device: str | None = None,
    limits: Limits | None = None,
    host: str | None = None,
    port: int | None = None,
    share: bool = False,
) -> None:
    """Serves the app until it is interrupted (Ctrl+C, or a request of the system to stop).

    Call it from the main thread, which waits here. Nothing is fetched but the weights of models that no cache has, and
    no figures of use are sent. (Who writes a request by hand can name a public address, which gradio then fetches as if
    it were uploaded.) Uploads and pictures are deleted within an hour, and when the app stops.

    Args:
        models: To choose from, the first one at the start; names for :func:`~ila_models.create_model`.
        checkpoint: Weights of the only model; None takes the pretrained ones of each.
        text_tower: CLIP checkpoint whose text tower reads class names, where the weights bring none.
        num_frames: Frames of a clip; None takes each checkpoint's.
        device: Where models run; None takes a GPU if there is one.
        limits: Of uploads; None takes the defaults.
        host: Address to listen on; None takes gradio's, which is this machine only unless ``GRADIO_SERVER_NAME`` says
            otherwise, as it does in a Space.
        port: To listen on; None takes ``GRADIO_SERVER_PORT``, or the first free one from 7860 on.
        share: Have a public address made by gradio's servers, through which anybody who knows it can use the app.

    Raises:
        ValueError: A model cannot be had, the port is out of range, or the arguments contradict each other.
        RuntimeError: gradio is not installed.
        OSError: The port is taken.
    """
    if port is not None and not 1 <= port <= _LAST_PORT:
        raise ValueError(
            f"port={port} is out of range: give one from 1 to {_LAST_PORT}, or none for the first free one from 7860"
        )
    offered = OfferedModels(
        models,
        checkpoint=checkpoint,
        text_tower=text_tower,
        num_frames=num_frames,
        device=device or str(default_device()),
    )
    limits = limits or Limits()
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ila_models_app_")))
        stack.enter_context(_interrupted_when_told_to_stop())
        # gradio reads both when it is imported and when its components are made.
        stack.enter_context(_environment(GRADIO_TEMP_DIR=str(scratch / "gradio"), GRADIO_ANALYTICS_ENABLED="False"))
        try:
            from .interface import STYLE, build_interface, page_theme
            from .replies import Replies
        except ModuleNotFoundError as error:
            raise RuntimeError(f"the app takes {error.name}: pip install 'ila-models[app]'") from error
        replies = Replies(offered=offered, limits=limits, scratch=scratch)
        blocks = build_interface(replies, write_examples(scratch))
        try:
            _, *addresses = blocks.launch(
                server_name=host,
                server_port=port,
                share=share,
                max_file_size=limits.bytes,
                theme=page_theme(),
                css=STYLE,
                footer_links=["gradio", "settings"],
                ssr_mode=False,
                quiet=True,
                prevent_thread_lock=True,
            )
            for address in filter(None, addresses):
                _logger.info("the app is at %s (Ctrl+C stops it)", address)
            threading.Event().wait()
        except OSError as error:
            if port is None or "port" not in str(error).lower():
                raise
            raise OSError(
                f"port {port} is taken, or not yours to take: choose another, or none for a free one"
            ) from error
        except KeyboardInterrupt:
            _logger.info("the app stops")
        finally:
            blocks.close(verbose=False)


@contextmanager
def _interrupted_when_told_to_stop() -> Iterator[None]:
    """Takes the signal by which systems and containers stop a program as Ctrl+C, so that nothing is left behind."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Sets variables of the environment, and afterwards what they were before."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value

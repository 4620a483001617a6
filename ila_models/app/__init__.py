"""The app in the browser: show it a video, read what it sees, watch the interactive points.

:func:`launch` serves it until it is interrupted; ``ila-models app`` is its command, and a Space of the Hugging Face Hub
is a file of three lines that calls it. gradio is imported when it is called, and comes with
``pip install 'ila-models[app]'``.
"""

from .launch import launch
from .limits import Limits

__all__ = ["Limits", "launch"]

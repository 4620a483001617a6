"""Pictures of what a model sees: interactive points and soft masks, attention roll-out, classes over time.

:func:`visualize_video` does it all. Beneath it, numbers and pictures apart: :func:`capture_video` or
:func:`capture_clip` runs the model, and each ``draw_`` or ``animate_`` function draws one picture of what was captured.
"""

from .animation import animate_points, encode_gif, encode_mp4
from .capture import AlignmentCapture, ClipCapture, Footage, capture_clip, read_footage
from .contact_sheet import draw_contact_sheet
from .rollout import roll_out
from .rollout_sheet import draw_rollout
from .themes import THEMES, Theme
from .timeline import WindowPredictions, draw_timeline, predict_windows
from .video import VideoCapture, Visualization, capture_video, check_choices, visualize_video, write_pictures

__all__ = [
    "THEMES",
    "AlignmentCapture",
    "ClipCapture",
    "Footage",
    "Theme",
    "VideoCapture",
    "Visualization",
    "WindowPredictions",
    "animate_points",
    "capture_clip",
    "capture_video",
    "check_choices",
    "draw_contact_sheet",
    "draw_rollout",
    "draw_timeline",
    "encode_gif",
    "encode_mp4",
    "predict_windows",
    "read_footage",
    "roll_out",
    "visualize_video",
    "write_pictures",
]

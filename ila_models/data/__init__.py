"""From a video file to a model's input: decoding, frame sampling, transforms."""

from .loading import load_clips, load_video
from .sampling import clip_views, random_clip_views, random_in_segments, segment_midpoints
from .transforms import VideoTransform, create_transform
from .video import VideoError, VideoReader

__all__ = [
    "VideoError",
    "VideoReader",
    "VideoTransform",
    "clip_views",
    "create_transform",
    "load_clips",
    "load_video",
    "random_clip_views",
    "random_in_segments",
    "segment_midpoints",
]

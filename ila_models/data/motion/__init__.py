"""Generated clips whose class is a motion, so that a model must see the order of their frames.

One textured shape over a textured background moves left, right, up or down, turns, grows, shrinks, appears or vanishes.
Each of the ten classes is another one played backwards, its twin: the frames of a clip, in whatever order, are as
likely to be of the one as of the other, and a model that does not see their order can do no better than a coin.

A frame that comes with its time is another matter, and cannot but be: what moves right is, on average, further right at
the end than at the beginning. A model with positions in time may use this; it has seen the order, then.
"""

from .classes import MOTION_CLASSES, twin
from .dataset import TEST_SEED, TRAIN_SEED, VALIDATION_SEED, MotionDataset, motion_clips
from .writing import encode_clip, write_motion_videos

__all__ = [
    "MOTION_CLASSES",
    "TEST_SEED",
    "TRAIN_SEED",
    "VALIDATION_SEED",
    "MotionDataset",
    "encode_clip",
    "motion_clips",
    "twin",
    "write_motion_videos",
]

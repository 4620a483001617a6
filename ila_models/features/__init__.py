"""Features of whole videos: windows along time, several levels in one pass, every frame decoded once."""

from .extractor import FeatureExtractor
from .levels import LEVELS
from .result import Failure, Features
from .windows import Window, WindowSettings, plan_windows

__all__ = ["LEVELS", "Failure", "FeatureExtractor", "Features", "Window", "WindowSettings", "plan_windows"]

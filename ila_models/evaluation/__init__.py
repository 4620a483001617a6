"""How often a model is right: on any videos, by any number of processes, and again after a stop."""

from .report import BrokenVideo, ClassAccuracy, Confusion, Report, report_from
from .run import evaluate

__all__ = ["BrokenVideo", "ClassAccuracy", "Confusion", "Report", "evaluate", "report_from"]

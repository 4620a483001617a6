"""Features of folders of videos on disk, in the formats that other programs read: resumable, by one process or many."""

from .job import ExtractionJob
from .run import Summary, extract
from .shares import Share

__all__ = ["ExtractionJob", "Share", "Summary", "extract"]

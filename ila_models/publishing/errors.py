"""The one error of publishing."""

from __future__ import annotations


class PublishingError(RuntimeError):
    """Something could not be published. The message says how far it came; running it again goes on from there."""

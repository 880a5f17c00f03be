"""The one error that users of event data meet."""

from __future__ import annotations


class EventDataError(ValueError):
    """Something about a recording is not as expected; the text says what, and what to do."""

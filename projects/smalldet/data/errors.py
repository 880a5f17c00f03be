"""The one error that users of the data room meet."""

from __future__ import annotations


class DataError(ValueError):
    """Something about the data is not as expected; the text says what, and what to do."""

"""Any loader of batches as one of optimisation steps."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any

logger = logging.getLogger(__name__)
Batch = list[dict[str, Any]]


class BatchPerStep:
    """A batch of ``loader``, as it comes, is one optimisation step.

    For loaders that cannot be told where to begin, as Detectron2's: a resumed run goes on with
    other samples than the run that was not stopped.

    Args:
        loader: lists of Detectron2 dicts, this process's share of a step each.
    """

    def __init__(self, loader: Iterable[Batch]) -> None:
        self.loader = loader

    def seek(self, samples_seen: int) -> None:
        """Say that it begins anew, if it should go on."""
        if samples_seen:
            logger.warning(
                f"{type(self.loader).__name__} cannot go on where it stopped: from here on the run "
                "sees other samples than if it had not been resumed."
            )

    def __iter__(self) -> Iterator[list[Batch]]:
        while True:
            for batch in self.loader:
                yield [batch]

"""What an exported file says of itself, in its metadata: all that a predictor needs besides it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from omegaconf import OmegaConf

from labbook.config.load import load_config, save_config, to_plain

FORMAT = 1  # of the metadata
KEY, CONFIG_KEY = "smalldet", "config"


@dataclass(frozen=True)
class Manifest:
    """The description in an exported file.

    Attributes:
        holds: "detections" (decoded boxes before NMS), "features" or "weights".
        recurrent: whether inputs are representations of events with a state, else images.
        class_names: by class id.
        input: name of the first input, (1, channels, height, width) float32; others are states.
        size: height and width that it must have, px; empty: any multiple of ``multiple``.
        multiple: of the sides, px.
        padding: value of each channel in what is added at the bottom and right.
        state: shape of each state by name; zeros start a recording. Inputs have these names,
            outputs ``next_`` before them.
        outputs: names of the other outputs. "predictions" is (1, cells, 5 + classes): cxcywh (px of
            the input), objectness, class confidences of 0 to 1.
        nms: arguments of ``select_detections``.
    """

    holds: str
    recurrent: bool = False
    class_names: Sequence[str] = ()
    input: str = "images"
    size: Sequence[int] = ()
    multiple: int = 1
    padding: Sequence[float] = (0.0,)
    state: Mapping[str, Sequence[int]] | None = None
    outputs: Sequence[str] = ()
    nms: Mapping[str, Any] | None = None

    def metadata(self, config: str) -> dict[str, str]:
        """As strings, with the ``config`` (YAML), for the file."""
        return {KEY: json.dumps({"format": FORMAT, **asdict(self)}), CONFIG_KEY: config}


def read_manifest(metadata: Mapping[str, str] | None, path: Path) -> Manifest:
    """The manifest of the file at ``path`` from its metadata.

    Raises:
        ValueError: it has none, a damaged one, or one of a later version of this program.
    """
    text = (metadata or {}).get(KEY)
    if not text or not (metadata or {}).get(CONFIG_KEY):
        raise ValueError(
            f"{path} does not say how it was made, so it is no file of tools/export.py. Export the "
            "run again, or load weights of other programs through a config."
        )
    try:
        content = json.loads(text)
        version = content.pop("format")
        known = {field.name for field in fields(Manifest)}
        manifest = Manifest(**{k: v for k, v in content.items() if k in known})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"The description in {path} is damaged; export the run again.") from error
    if version != FORMAT:
        raise ValueError(
            f"{path} has format {version}, and this program reads format {FORMAT}. Export the run "
            "again with this version."
        )
    return manifest


def config_text(cfg: Mapping[str, Any]) -> str:
    """A config in plain dicts and lists as YAML that loads again.

    Raises:
        ConfigError: it would not load equal.
    """
    with TemporaryDirectory() as folder:
        node: Any = OmegaConf.create(dict(cfg), flags={"allow_objects": True})
        save_config(node, folder)
        return (Path(folder) / "config.yaml").read_text(encoding="utf-8")


def read_config_text(text: str, path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The config of the exported file at ``path``, checked, in plain dicts and lists.

    Raises:
        ValueError: it does not load.
    """
    with TemporaryDirectory() as folder:
        file = Path(folder) / "config.yaml"
        file.write_text(text, encoding="utf-8")
        try:
            return to_plain(load_config(file, overrides))
        except ValueError as error:
            reason = str(error).replace(f"{file}: ", "")
            raise ValueError(f"The config in {path} does not load: {reason}") from error

"""What filtering an annotation file left out or changed: counted, exemplified, printable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tabulate import tabulate

from smalldet.data.filter.fields import shown

FINDINGS = {
    "images_malformed": "image entries without an id or a file name: left out",
    "images_without_file": "image entries without a file: left out",
    "images_unreadable": "files that are no readable image: left out",
    "images_cut_short": "files that can be decoded only in part, or not at all: left out",
    "images_of_other_depth": "images of neither 8 nor 16 bits a channel nor floats from 0 to 1: "
    "left out, because what is black in them, and what white, is not known",
    "images_of_other_size": "images whose file has another size than their entry: left out, "
    "because their boxes cannot be trusted",
    "images_with_shared_id": "images that share an id with another file: left out, because their "
    "boxes cannot be told apart",
    "images_repeated": "images listed more than once: merged",
    "sizes_filled": "image entries without a size: taken from the file",
    "files_without_entry": "image files without an entry: not used",
    "annotations_malformed": "annotations that are no object: dropped",
    "annotations_of_unknown_images": "annotations of images that are not listed: dropped",
    "annotations_of_left_out_images": "annotations of images left out above: dropped",
    "annotations_of_unknown_categories": "annotations of categories that are not listed: dropped",
    "boxes_of_other_classes": "boxes of other classes: dropped",
    "boxes_merged": "boxes of classes that are merged into another: kept as boxes of that one",
    "boxes_malformed": "boxes that are not four numbers: dropped",
    "boxes_as_text": "boxes whose numbers are written as text: read as numbers",
    "boxes_non_finite": "boxes with NaN, infinity or larger numbers: dropped",
    "boxes_without_area": "boxes without width or height: dropped",
    "boxes_outside": "boxes wholly outside their image: dropped",
    "boxes_clipped": "boxes partly outside their image: clipped to it",
    "boxes_repeated": "boxes listed twice (same image, class and place): one kept",
    "annotation_ids_repeated": "annotation ids used twice: all were renumbered",
    "crowd_flags": "boxes flagged as crowd: kept with their flag, so that evaluation ignores "
    "detections there; training does not learn from them",
    "flags_as_text": "crowd flags written as text: taken as what it says",
    "areas_replaced": "areas other than width x height of the box: replaced, because sizes are "
    "judged by the box",
}
_EXAMPLES = 5


@dataclass
class FilterReport:
    """The outcome for one split.

    Attributes:
        images: image entries kept.
        negatives: of these, images without a box to learn from.
        boxes: boxes kept.
        source_classes: boxes per class name in the source file, unwanted ones too.
        counts: how often each of ``FINDINGS`` happened; absent means never.
        examples: up to five file names or ids for each.
    """

    images: int = 0
    negatives: int = 0
    boxes: int = 0
    source_classes: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def note(self, finding: str, example: object) -> None:
        """Count one ``finding``; ``example`` says where it was."""
        if finding not in FINDINGS:
            raise KeyError(f"{finding!r} is not one of FINDINGS.")
        self.counts[finding] = self.counts.get(finding, 0) + 1
        known, text = self.examples.setdefault(finding, []), shown(example)
        if len(known) < _EXAMPLES and text not in known:
            known.append(text)

    def summary(self, title: str) -> str:
        """A headline, and a line for each kind of finding."""
        classes = ", ".join(f"{name}: {count}" for name, count in self.source_classes.items())
        lines = [
            f"{title}: {self.images} images kept ({self.negatives} of them without a box to "
            f"learn from), {self.boxes} boxes kept. Boxes by class in the source: {classes}."
        ]
        for finding, text in FINDINGS.items():
            if finding in self.counts:
                examples = ", ".join(self.examples.get(finding, []))
                more = ", ..." if self.counts[finding] > len(self.examples[finding]) else ""
                lines.append(f"  {self.counts[finding]} {text} ({examples}{more})")
        return "\n".join(lines)


def report_table(reports: Mapping[str, FilterReport]) -> str:
    """The splits side by side: one column each, one line per count that is not zero anywhere."""
    rows = [
        [f"{name} kept", *(getattr(report, name) for report in reports.values())]
        for name in ("images", "negatives", "boxes")
    ]
    for finding in FINDINGS:
        counts = [report.counts.get(finding, 0) for report in reports.values()]
        if any(counts):
            rows.append([finding.replace("_", " "), *counts])
    return tabulate(rows, ["", *reports], tablefmt="plain")

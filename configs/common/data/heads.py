"""Head detection from COCO folders: datasets/coco/{train,valid,test}."""

from detectron2.config import LazyCall as L
from detectron2.data import transforms as T

from smalldet.data.augment import ResizeToFit
from smalldet.data.resize import Resize
from smalldet.data.splits import CocoSplits
from smalldet.data.loader import build_eval_loader, build_train_loader
from smalldet.data.mapper import SeededMapper
from smalldet.evaluation.coco import CocoBoxEvaluator

dataset = L(CocoSplits)(
    name="heads",  # registered are heads_train, heads_valid and heads_test
    root="${oc.env:DETECTRON2_DATASETS,datasets}/coco",
    classes=["head"],
    merge={},  # classes of the source that become one: {head: [face, helmet]}
    keep_negatives=True,  # images without heads teach what is not one
    generate=None,
)

resize = "${dataloader.resizes.${dataloader.resize}}"
# With targets, for the validation loss.
eval_mapper = L(SeededMapper)(augmentations=[resize], is_train=False, with_instances=True)


def eval_loader(split):
    return L(build_eval_loader)(
        dataset=f"${{dataset.name}}_{split}",
        mapper=eval_mapper,
        batch_size=1,
        limit=None,  # images; None: all
        num_workers="${dataloader.num_workers}",
    )


dataloader = dict(
    image_size=640,  # px, height and width of the network input
    resize="stretch",  # or keep_aspect: as large as fits, padded at the bottom or right
    resizes=dict(
        stretch=L(Resize)(shape="${dataloader.image_size}"),
        keep_aspect=L(ResizeToFit)(shape="${dataloader.image_size}"),
    ),
    num_workers=4,
    train=L(build_train_loader)(
        dataset="${dataset.name}_train",
        mapper=L(SeededMapper)(
            augmentations=[resize, L(T.RandomFlip)(horizontal=True)],
            is_train=True,
            seed="${train.seed}",
        ),
        total_batch_size="${train.total_batch_size}",
        micro_batch_size="${train.micro_batch_size}",
        num_workers="${dataloader.num_workers}",
        seed="${train.seed}",
    ),
    valid=eval_loader("valid"),
    test=eval_loader("test"),
)

evaluation = {
    split: L(CocoBoxEvaluator)(
        dataset=f"${{dataset.name}}_{split}",
        tile=0,  # px; 0: no tiles
        tile_merge="nms",  # or nmm
    )
    for split in ("valid", "test")
}

"""Any config of the study of published RVTs at toy size: for shape, not for score."""

from detectron2.config import LazyCall as L
from toydata.streets import recordings_like

from ._etram import small


def toy(name):
    """The RVT config ``name`` with a small model, short sequences and generated recordings."""
    cfg = small(f"../rvt/{name}.py")
    cfg.dataset.root = "${oc.env:DETECTRON2_DATASETS,datasets}/toy_${dataset.class_map}"
    cfg.dataset.name = "toy_${dataset.class_map}"
    sizes = dict(train=4, val=2, test=2, seconds=1.5, width=320, height=180)
    cfg.dataset.generate = L(recordings_like)(class_map="${dataset.class_map}", seed=0, **sizes)
    cfg.dataloader.sequence_length = 5
    cfg.dataloader.valid.batch_size = cfg.dataloader.test.batch_size = 2
    cfg.train.total_batch_size = 4
    cfg.train.max_iter = cfg.train.max_iter // 40_000
    return cfg

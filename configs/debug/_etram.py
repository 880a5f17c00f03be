"""Any config of the eTraM line at toy size: for shape, not for score; a minute on a CPU."""

from detectron2.config import LazyCall as L
from detectron2.config import LazyConfig
from toydata.streets import GeneratedRecordings


def toy(name):
    """The eTraM config ``name`` with a small model and generated recordings."""
    cfg = small(f"../etram/{name}.py")
    kind = "${dataset.downsample}${without_prefix:_histogram,_${dataset.representation}}"
    cfg.dataset.root = f"${{oc.env:DETECTRON2_DATASETS,datasets}}/toy_events_{kind}"
    cfg.dataset.name = f"toy_events_{kind}"
    sizes = dict(train=4, val=2, test=2, seconds=1.0, width=240, height=180)
    cfg.dataset.generate = L(GeneratedRecordings)(seed=0, **sizes)
    cfg.dataset.downsample = "none" if cfg.dataset.downsample == "nearest" else "sum"
    cfg.train.max_iter = cfg.train.max_iter // 10_000
    cfg.train.project_name = "etram_size_aware_debug"
    return cfg


def small(config):
    """The recurrent config in the file ``config``, seen from here, with a small model."""
    cfg = LazyConfig.load_rel(config)
    cfg.train.output_dir = "work_dirs/debug/${experiment.name}"
    for loader in (cfg.dataloader.train, cfg.dataloader.valid, cfg.dataloader.test):
        loader.num_workers = 0
    cfg.train.eval_period = cfg.train.checkpointer.period = 5
    cfg.train.log_period = 1
    cfg.train.amp.enabled = False
    rvt = cfg.model.backbone.bottom_up
    rvt.update(embed_dim=rvt.embed_dim // 4, dim_head=rvt.dim_head // 4, partition_split=1)
    return cfg

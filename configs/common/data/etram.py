"""Event recordings that tools/prepare_events.py RAW datasets/etram_cls8_sample_nearest made."""

from detectron2.config import LazyCall as L
from eventcam.augment.sequence import AugmentSettings
from eventcam.dataset import EventRecordings
from eventcam.sampling.eval_loader import build_sequence_eval_loader
from eventcam.sampling.train_loader import build_sequence_train_loader
from eventcam.sampling.schedule import SamplingSettings

from smalldet.data.catalog import records_of
from smalldet.evaluation.event_boxes import EventBoxEvaluator

# As the folder is named: nearest, or of voxel grids nearest_voxel.
_kind = "${dataset.downsample}${without_prefix:_histogram,_${dataset.representation}}"

dataset = L(EventRecordings)(
    name=f"etram_{_kind}",
    root=f"${{oc.env:DETECTRON2_DATASETS,datasets}}/etram_cls8_sample_{_kind}",
    class_map="etram_cls8",
    representation="histogram",  # or "voxel", with in_channels=10 of the backbone
    downsample="nearest",  # to half resolution; "sum" keeps all events
    generate=None,
)


def eval_loader(split):
    return L(build_sequence_eval_loader)(
        recordings=L(records_of)(name=f"${{dataset.name}}_{split}"),
        sequence_length="${dataloader.sequence_length}",
        batch_size=2,  # recordings side by side
        num_workers=3,
        limit=None,  # labelled times; None: all
    )


dataloader = dict(
    sequence_length=5,  # steps of 50 ms: gradients flow through so many
    train=L(build_sequence_train_loader)(
        recordings=L(records_of)(name="${dataset.name}_train"),
        sampling=L(SamplingSettings)(
            mode="streaming",
            random_augment=L(AugmentSettings)(),
            stream_augment=L(AugmentSettings)(zoom=0.5, zoom_in_share=0.0),
            seed="${train.seed}",
        ),
        sequence_length="${dataloader.sequence_length}",
        total_batch_size="${train.total_batch_size}",
        micro_batch_size="${train.micro_batch_size}",
        num_workers=4,
        # As published. A step of empty times alone would be divided by one positive, not hundreds.
        known_empty=False,
    ),
    valid=eval_loader("val"),
    test=eval_loader("test"),
)

evaluation = {
    name: L(EventBoxEvaluator)(
        dataset=f"${{dataset.name}}_{split}",
        slices=dict(day="*_day_*", night="*_night_*"),  # or a CSV file: recording,slice
    )
    for name, split in (("valid", "val"), ("test", "test"))
}

"""Example: our backbone, neck, head, losses and evaluator in a plain Detectron2 script.

Run: python configs/examples/own_script.py ROOT --steps 1000
ROOT holds train and valid, each a folder of images with an _annotations.coco.json.
"""

import argparse
from pathlib import Path

import torch
from detectron2 import data as D
from detectron2.data import transforms as T
from detectron2.data.datasets import register_coco_instances
from detectron2.engine import SimpleTrainer
from detectron2.evaluation import inference_on_dataset
from detectron2.modeling import BACKBONE_REGISTRY

import smalldet  # registers what is looked up below
from smalldet.detectors import ImageDetector
from smalldet.evaluation.coco import CocoBoxEvaluator
from smalldet.heads import YOLOXHead
from smalldet.necks import SimpleFeaturePyramid


def build_model(size: int, depth: int, num_classes: int) -> ImageDetector:
    vim = BACKBONE_REGISTRY.get("VisionMamba")(img_size=size, embed_dim=192, depth=depth)
    head = YOLOXHead(
        num_classes=num_classes,
        size_aware_loss=True,
        size_aware_terms=("iou", "classification"),
        classification_loss="focal",
        score_threshold=0.001,
    )
    return ImageDetector(SimpleFeaturePyramid(vim, out_channels=64), head)


def main() -> dict:
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--size", type=int, default=640, help="side of the network input, px")
    parser.add_argument("--depth", type=int, default=24, help="blocks of the backbone")
    args = parser.parse_args()
    images = {}
    for name in ("train", "valid"):
        folder = args.root / name
        register_coco_instances(name, {}, str(folder / "_annotations.coco.json"), str(folder))
        images[name] = D.get_detection_dataset_dicts(name, filter_empty=False)
    common = {"augmentations": [T.Resize((args.size, args.size))], "image_format": "RGB"}
    model = build_model(args.size, args.depth, len(D.MetadataCatalog.get("train").thing_classes))
    mapper = D.DatasetMapper(is_train=True, **common)
    loader = D.build_detection_train_loader(images["train"], mapper=mapper, total_batch_size=4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    SimpleTrainer(model, loader, optimizer).train(0, args.steps)
    mapper = D.DatasetMapper(is_train=False, **common)
    loader = D.build_detection_test_loader(images["valid"], mapper=mapper)
    return inference_on_dataset(model, loader, CocoBoxEvaluator("valid"))


if __name__ == "__main__":
    print(main())

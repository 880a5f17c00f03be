"""``import smalldet`` alone makes our classes known to Detectron2, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

NAMES = {
    "BACKBONE": ["VisionMamba", "MaxViTRNN", "TimmBackbone", "SimpleFeaturePyramid", "PAFPN"],
    "META_ARCH": ["ImageDetector", "RecurrentDetector"],
    "HEAD": ["RCNNHead", "YOLOXHead"],
}
SCRIPT = """
import json, sys
import smalldet
from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY
from smalldet.heads import HEAD_REGISTRY
registries = {"BACKBONE": BACKBONE_REGISTRY, "META_ARCH": META_ARCH_REGISTRY, "HEAD": HEAD_REGISTRY}
names = json.loads(sys.argv[1])
found = {kind: [registries[kind].get(n).__name__ for n in names[kind]] for kind in names}
print(json.dumps(found))
"""


def test_importing_smalldet_registers_all_classes():
    command = [sys.executable, "-c", SCRIPT, json.dumps(NAMES)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == NAMES

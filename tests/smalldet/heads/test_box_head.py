"""The two changes to Detectron2's region heads, and their golden numbers."""

from __future__ import annotations

import copy

import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling.poolers import ROIPooler
from detectron2.structures import Boxes, Instances

from smalldet.heads.box_head import ConvFCBoxHead, FullPrecisionPooler
from toy_detection import golden, gradients, pyramid, rcnn_head, relative_error, state_of

REGION = ShapeSpec(channels=4, height=7, width=7)


def test_stage_layers_equal_the_published_ones():
    arrays = golden("vim/cascade_box_head.npz")
    layers = {"conv_dims": [16] * 4, "fc_dims": [48]}
    changes = {f"roi_heads.box_heads.0.{name}": dims for name, dims in layers.items()}
    head = rcnn_head(changes).build(pyramid(16).output_shape()).roi_heads
    head.box_head[0].load_state_dict(state_of(arrays, "sd.head."))
    features = head.box_head[0](arrays["x"])
    assert relative_error(features, arrays["fc_out"]) < 1e-5
    proposals = Instances((1000, 1000), proposal_boxes=Boxes(arrays["proposals"]))
    for stage, predictor in enumerate(head.box_predictor):
        predictor.load_state_dict(state_of(arrays, f"sd.predictor{stage}."))
        found = predictor(arrays["fc_out"])
        boxes = predictor.predict_boxes(found, [proposals])[0]
        probabilities = predictor.predict_probs(found, [proposals])[0]
        values = {"scores": found[0], "deltas": found[1], "boxes": boxes, "probs": probabilities}
        for name, value in values.items():
            assert relative_error(value, arrays[f"stage{stage}_{name}"]) < 1e-5, (stage, name)
    transform = head.box_predictor[0].box2box_transform
    deltas = transform.get_deltas(arrays["proposals"], arrays["gt"])
    assert relative_error(deltas, arrays["target_deltas_stage0"]) < 1e-5


def test_recomputation_changes_no_number_and_keeps_fewer_activations():
    kept = ConvFCBoxHead(REGION, conv_dims=[16, 16], fc_dims=[8])
    recomputed = copy.deepcopy(kept)
    recomputed.checkpoint = True
    regions, outputs, numbers = torch.randn(16, 4, 7, 7), [], []
    for head in (kept, recomputed):
        x, sizes = regions.clone().requires_grad_(), []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda y, sizes=sizes: (sizes.append(y.numel()), y)[1], lambda y: y
        ):
            output = head(x)
        output.square().sum().backward()
        outputs.append([output, x.grad, *gradients(head).values()])
        numbers.append(sum(sizes))
    assert all(torch.equal(a, b) for a, b in zip(*outputs, strict=True))
    assert numbers[1] < numbers[0] / 2


def test_no_regions_are_fine():
    head = ConvFCBoxHead(REGION, conv_dims=[4], fc_dims=[8])
    output = head(torch.zeros(0, 4, 7, 7))
    output.sum().backward()
    assert output.shape == (0, 8)
    assert all(p.grad is not None for p in head.parameters())


def test_boxes_keep_their_place_in_bf16():
    """A small box far from the origin: Detectron2's own pooler would read beside it."""
    settings = {"output_size": 2, "scales": [1 / 4, 1 / 8], "sampling_ratio": 0}
    settings["pooler_type"] = "ROIAlignV2"
    ramp = torch.arange(160.0).expand(1, 1, 160, 160).bfloat16()
    features = [ramp, ramp[..., ::2, ::2]]
    boxes = [Boxes(torch.tensor([[561.0, 561.0, 573.0, 573.0]]))]
    ours = FullPrecisionPooler(**settings)(features, boxes)
    exact = ROIPooler(**settings)([x.float() for x in features], boxes)
    assert torch.equal(ours, exact)
    assert ours.dtype == torch.float32

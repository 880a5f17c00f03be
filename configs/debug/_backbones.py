"""Any config of the study of backbones at toy size, made small as those of OFAT."""

from ._ofat import toy as _toy

SMALL = {
    "deit_tiny": dict(embed_dim=48, depth=2, num_heads=2),
    "resnet50": dict(layers=[1, 1, 1, 1], channels=[16, 32, 64, 128]),
    "convnext_tiny": dict(depths=[1, 1, 1, 1], dims=[16, 32, 64, 128]),
    "swin_tiny": dict(embed_dim=24, depths=[1, 1, 1, 1], num_heads=[1, 2, 4, 8]),
}


def toy(name):
    """The config ``name`` of the study at toy size; input, tiles and ViM's depth are a quarter."""
    cfg = _toy(f"../backbones/{name}")
    cfg.evaluation.valid.tile = cfg.evaluation.test.tile = 80
    cfg.dataloader.image_size = 240 if name == "vim_tiny_960" else 160
    bottom_up = cfg.model.backbone.bottom_up
    if "model_name" in bottom_up:
        options = next(o for start, o in SMALL.items() if bottom_up.model_name.startswith(start))
        bottom_up.model_options.update(options)
        bottom_up.pretrained = False
        return cfg
    bottom_up.depth = 6
    if "trainable_layers" in bottom_up:
        bottom_up.trainable_layers = bottom_up.trainable_layers // 4
    return cfg

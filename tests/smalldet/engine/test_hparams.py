"""The HParams entry, read back as TensorBoard reads it."""

from __future__ import annotations

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from smalldet.engine.hooks.hparams import score_names, write_hparams

RESULTS = {
    "iterations": 40,
    "valid": {"bbox/AP50": 50.0, "bbox/AP": 25.0, "bbox/APs": None, "bbox/AR@1": 1.0},
    "test": {"bbox/AP50": 45.0, "bbox/AP": 20.0, "bbox/APs": 10.0},
}


def config(folder, factors=(), level="baseline", **optimizer) -> dict:
    return {
        "experiment": {"study": "ofat", "factors": list(factors), "level": level},
        "train": {"output_dir": str(folder), "total_batch_size": 8, "epochs": 100, "seed": 3},
        "optimizer": {"_target_": "torch.optim.AdamW", "lr": 0.001, **optimizer},
        "model": {"sizes": [[8], [16]], "head": {"_target_": "a.b.Head", "flag": True}},
    }


def read(folder):
    events = EventAccumulator(str(folder))
    events.Reload()
    content = events.PluginTagToContent(metadata.PLUGIN_NAME)
    start = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG])
    experiment = metadata.parse_experiment_plugin_data(content[metadata.EXPERIMENT_TAG])
    values = {
        name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()
    }
    return events, values, experiment


def test_values_and_scores_come_back(tmp_path):
    factors = ["optimizer.lr", "model.head.flag", "model.sizes.1", "model.head", "no.such.key"]
    write_hparams(tmp_path, config(tmp_path, factors, 0.01, lr=0.01), RESULTS)
    events, values, _ = read(tmp_path)
    assert values["factor"] == ", ".join(factors) and values["level"] == "0.01"
    assert (values["optimizer"], values["optimizer.lr"]) == ("AdamW", 0.01)
    assert (values["train.total_batch_size"], values["train.epochs"]) == (8, 100)
    assert values["model.head.flag"] == "True"
    assert (values["model.sizes.1"], values["model.head"]) == ("[16]", "Head")
    assert values["no.such.key"] == "None"
    (score,) = events.Scalars("best/valid/AP50")
    assert (score.value, score.step) == (50.0, 40)
    assert "best/valid/APs" not in events.Tags()["scalars"]  # not defined


def test_all_runs_have_the_same_columns_and_nothing_but_event_files(tmp_path):
    other = config(tmp_path, ["model.head.flag"], "on")
    write_hparams(tmp_path / "baseline", config(tmp_path), RESULTS)
    write_hparams(tmp_path / "other", other, RESULTS | {"test": {}})
    experiments = [read(tmp_path / name)[2] for name in ("baseline", "other")]
    values = [sorted(info.name for info in e.hparam_infos) for e in experiments]
    scores = [sorted(info.name.tag for info in e.metric_infos) for e in experiments]
    assert values[0] == values[1] and scores[0] == scores[1] == sorted(score_names())
    assert {"factor", "level", "optimizer", "optimizer.lr"} <= set(values[0])
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(path.name.startswith("events.out.tfevents") for path in files)


@pytest.mark.parametrize("missing", ["experiment", "optimizer.lr"])
def test_a_config_without_these_is_filed_all_the_same(tmp_path, missing):
    cfg = config(tmp_path)
    section, _, key = missing.partition(".")
    cfg[section] = {k: v for k, v in cfg[section].items() if k != key} if key else None
    write_hparams(tmp_path, cfg, RESULTS)
    assert read(tmp_path)[1]["factor"] == "none"

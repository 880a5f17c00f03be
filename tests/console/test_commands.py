"""What the commands do with their words."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from detectron2.engine import default_argument_parser

from console import home, lab, predict, train, weights
from console.main import main

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "configs/ofat/baseline_lr0.001_bs8_adamw_ep100.py"


def test_training_takes_the_options_of_detectron2s_scripts():
    words = "--config-file a.py --resume --num-gpus 2 --num-machines 3 --machine-rank 1 a=1 b=2"
    theirs = vars(default_argument_parser().parse_args(words.split()))
    ours = vars(train.parse(words.split(), "train"))
    assert theirs.keys() <= ours.keys()
    assert {key: ours[key] for key in theirs if key != "dist_url"} == {
        key: value for key, value in theirs.items() if key != "dist_url"
    }


def test_the_record_names_a_script_that_exists(monkeypatch):
    monkeypatch.chdir(ROOT)
    words = ["--config-file", CONFIG, "train.seed=1"]
    monkeypatch.setattr(sys, "argv", ["/environment/bin/smalldet", "train", *words])
    assert train.parse(words, "smalldet train").command == [home.TRAIN_SCRIPT, *words]
    monkeypatch.setattr(sys, "argv", ["./tools/lazyconfig_train_net.py", *words])
    assert train.parse(words, "x").command == sys.argv


def test_configs_of_the_project_are_found_from_anywhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    toy = CONFIG.replace("configs/", "configs/debug/")  # which no file is
    assert Path(home.find_config(CONFIG)).samefile(ROOT / CONFIG)
    assert home.find_config(toy) == str(ROOT / toy) and not (ROOT / toy).exists()
    assert home.find_config("configs/none.py") == "configs/none.py"
    own = tmp_path / CONFIG
    own.parent.mkdir(parents=True)
    own.touch()
    assert home.find_config(CONFIG) == CONFIG and home.find_config(toy) == toy


def test_the_lab_book_works_where_configs_are(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["lab", "list", "ofat"]) == 0 and "baseline" in capsys.readouterr().out
    monkeypatch.setattr(lab, "home", lambda: lab.INSTALLED)
    assert main(["lab", "list", "ofat"]) == 1
    assert f"cp -r {lab.INSTALLED / 'configs'} ." in capsys.readouterr().err
    (tmp_path / "configs").mkdir()
    assert main(["lab", "list", "ofat"]) == 2
    assert "smalldet lab: There is no study" in capsys.readouterr().err


@pytest.mark.parametrize("is_complete", [True, False])
def test_predict_fails_at_the_end_if_an_input_could_not_be_read(monkeypatch, capsys, is_complete):
    monkeypatch.setattr(predict, "predict", lambda _: ("what was done", is_complete))
    assert main(["predict", "RUN", "photos"]) == (0 if is_complete else 1)
    assert capsys.readouterr().out == "what was done\n"


@pytest.mark.parametrize("words", ["--merge nmm", "--overlap 0.5"])
def test_options_of_tiles_are_not_ignored_where_there_are_none(words, capsys):
    with pytest.raises(SystemExit):
        predict.parse(["RUN", "photo.jpg", *words.split()], "predict")
    assert "--tile" in capsys.readouterr().err
    assert predict.parse(["RUN", "photo.jpg", "--tile", "64", *words.split()], "predict").tile == 64


def test_weights_are_downloaded_once(monkeypatch, tmp_path, capsys):
    hub = pytest.importorskip("huggingface_hub")
    asked = []

    def download(repository: str, file: str) -> str:
        asked.append((repository, file))
        cached = tmp_path / "cached"
        cached.write_bytes(b"weights")
        return str(cached)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "hf_hub_download", download)
    for _ in range(2):
        assert main(["weights", "vim-tiny"]) == 0
    assert asked == [("hustvl/Vim-tiny-midclstok", "vim_t_midclstok_76p1acc.pth")]
    assert Path("ckpts/vim_tiny_pretrained.pth").read_bytes() == b"weights"
    assert "is there already" in capsys.readouterr().out


def test_without_a_network_the_way_by_hand_is_said(monkeypatch, tmp_path, capsys):
    hub = pytest.importorskip("huggingface_hub")

    def no_network(*_):
        raise OSError("unreachable")

    monkeypatch.setattr(hub, "hf_hub_download", no_network)
    path = tmp_path / "ckpts" / "x.pth"
    assert main(["weights", "vim-tiny", "--out", str(path)]) == 1
    said = capsys.readouterr().err
    assert weights.ADDRESS.format(*weights.WEIGHTS["vim-tiny"][:2]) in said and str(path) in said
    assert not list(tmp_path.rglob("*.pth"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("data convert", "holds neither YOLO's layout"),
        ("data prepare-events", "No recordings were found in"),
        ("data --data-root", "has no train/_annotations.coco.json"),
        ("doctor data --data-root", "has no train/_annotations.coco.json"),
    ],
)
def test_the_commands_about_data_share_a_name(monkeypatch, tmp_path, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    targets = [] if words.endswith("root") else ["out"]
    assert main([*words.split(), str(tmp_path), *targets]) == 1
    assert said in capsys.readouterr().err and not list(tmp_path.iterdir())

"""YAML as OmegaConf reads it: the same values, the same refusals, and no crash, however deep."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from runfolder import yaml_files
from runfolder.yaml_files import read_yaml

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)
ODD = ("1e3", "1.e5", "yes", "on", "0o7", "0x1f", "1_000", "2001-01-01", "1:30", ".inf", "~")
REFUSED = (
    "[",
    "{a: 1, a: 2}",
    "a: b: c",
    "&a [*a]",
    "!!python/object:os.system [1]",
    "\0",
    "? {a: 1}",
)
REFUSED += (
    "!!set {a}",
    "!!binary aGk=",
    "a: !!timestamp 2001-01-01",
    "a: =",
    "null: 1",
    "[" * 200_000,
)
REFUSED += ("- " * 200_000 + "x", "{a: " * 200_000, "? " * 200_000)


def read(folder: Path, text: str):
    path = folder / "a.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return read_yaml(path)


@settings(max_examples=40, deadline=None)
@given(tree=st.dictionaries(st.text(), TREES))
def test_what_omegaconf_writes_it_reads(tree, tmp_path_factory):
    try:
        text = OmegaConf.to_yaml(OmegaConf.create(tree))
        expected = OmegaConf.to_container(OmegaConf.create(text)) if text != "{}\n" else {}
    except Exception:  # not every text is one of OmegaConf's
        return
    assert read(tmp_path_factory.mktemp("a"), text) == expected


@pytest.mark.parametrize("text", ODD)
def test_numbers_and_words_are_those_of_omegaconf(text, tmp_path):
    expected = OmegaConf.to_container(OmegaConf.create(f"a: {text}"))
    assert repr(read(tmp_path, f"a: {text}")) == repr(expected)


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:8])
def test_all_else_is_refused_in_a_sentence(text, tmp_path):
    with pytest.raises(ValueError, match=r"a\.yaml is not plain YAML"):
        read(tmp_path, text)


def test_both_loaders_agree():
    text = "a: [1, {b: c}]\nd: 1e3\n"
    loaders = yaml_files._FastLoader, yaml_files._SlowLoader
    first, second = (yaml.load(text, Loader=loader) for loader in loaders)
    assert first == second == {"a": [1, {"b": "c"}], "d": 1000.0}

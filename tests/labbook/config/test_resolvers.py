"""Derived numbers of configs."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

import labbook.config.resolvers  # noqa: F401  (registers them)


def resolve(expression: str):
    return OmegaConf.create({"value": expression, "entries": [1, 2, 3], "total": 15900}).value


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("${iterations:100,1271,8}", 15900),
        ("${iterations:100,1271,16}", 8000),
        ("${iterations:100,1271,32}", 4000),
        ("${iterations:200,1271,8}", 31800),
        ("${iterations_per_epoch:1271,8}", 159),
        ("${iterations_per_epoch:8,8}", 1),
        ("${iterations_per_epoch:1,8}", 1),
        ("${fraction_of:0.7,${total}}", 11130),
        ("${fraction_of:0.9,15}", 14),
        ("${ratio:500,${total}}", 500 / 15900),
        ("${ratio:500,100}", 1.0),
        ("${length:${entries}}", 3),
        ("${length:[a,b]}", 2),
        ("${without_prefix:etram_,etram_4scale_100k}", "4scale_100k"),
        ("${without_prefix:etram_,4scale_etram_100k}", "4scale_etram_100k"),
        ("${without_steps:4scale_sizeaware_100k}", "4scale_sizeaware"),
        ("${without_steps:baseline_100k_tiny}", "baseline_tiny"),
        ("${without_steps:net_100kb}", "net_100kb"),
    ],
)
def test_values_and_types(expression: str, value: float | str) -> None:
    found = resolve(expression)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("${iterations:100,1271,0}", "integer of at least 1 as batch, found 0"),
        ("${iterations:ten,1271,8}", "integer of at least 1 as epochs, found 'ten'"),
        ("${iterations:1.5,1271,8}", "found 1.5"),
        ("${iterations_per_epoch:true,8}", "as images, found True"),
        ("${fraction_of:70,100}", "between 0 and 1"),
        ("${fraction_of:0.5,many}", "finite number as count"),
        ("${ratio:1,0}", "above 0"),
        ("${length:head}", "length needs a list"),
    ],
)
def test_wrong_input_is_a_sentence(expression: str, sentence: str) -> None:
    with pytest.raises(Exception, match=sentence):
        resolve(expression)

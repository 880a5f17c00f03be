"""Size thresholds and the size table."""

from __future__ import annotations

import numpy as np
import pytest

from boxmetrics.slices import SizeRow, SizeThresholds, size_table, size_thresholds, table_text


def test_terciles_put_a_third_into_each_bin():
    areas = np.random.default_rng(0).lognormal(6, 1.5, 3000)
    thresholds = size_thresholds(areas)
    *_, total = size_table(areas, np.zeros(3000, int), ["Car"], thresholds)
    assert total.total == 3000
    assert np.allclose([total.small, total.medium, total.large], 1000, atol=5)


def test_the_table_counts_by_class_and_bin_with_limits_in_the_upper_bin():
    rows = size_table([10, 100, 100, 5000, 99], [0, 0, 1, 1, 1], "ABC", SizeThresholds(100, 1000))
    assert rows == [
        SizeRow("A", 1, 1, 0, 55.0),
        SizeRow("B", 1, 1, 1, 100.0),
        SizeRow("C", 0, 0, 0, None),
        SizeRow("all", 2, 2, 1, 100.0),
    ]


@pytest.mark.parametrize(
    ("areas", "fractions", "message"),
    [
        ([], (0.3, 0.6), "No ground-truth box"),
        ([4.0] * 10, (0.3, 0.6), "too alike"),
        ([4.0, 0.0], (0.3, 0.6), "1 of 2 areas are not positive"),
        ([4.0, np.nan], (0.3, 0.6), "not positive"),
        ([4.0, 50.0, 600.0], (0.6, 0.3), "two rising numbers"),
    ],
)
def test_what_cannot_be_cut_is_an_error_sentence(areas, fractions, message):
    with pytest.raises(ValueError, match=message):
        size_thresholds(areas, fractions)


def test_a_class_without_name_is_refused():
    with pytest.raises(ValueError, match="only 1 names"):
        size_table([4.0], [1], ["Car"], SizeThresholds(1, 2))


def test_the_table_as_text_lines_up():
    thresholds = SizeThresholds(100, 1000)
    rows = size_table([16, 400, 2500], [0, 0, 0], ["Car", "Bus"], thresholds)
    header, car, bus, total = table_text(rows, thresholds).splitlines()
    assert len({len(header), len(car), len(bus), len(total)}) == 1
    assert header.split()[:6] == ["boxes", "<", "100", "px²", "<", "1,000"]
    assert car.split() == ["Car", "3", "1", "1", "1", "20.0"]
    assert bus.split() == ["Bus", "0", "0", "0", "0", "-"]

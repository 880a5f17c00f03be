"""Bootstrap intervals of AP: equal to repeating images by hand, paired, and honest in coverage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ap_scenes import image, random_frames, random_image

from boxmetrics import weighted_ap
from boxmetrics.average_precision import precision_recall
from boxmetrics.bootstrap import METRICS, Interval, bootstrap_ap, bootstrap_difference
from boxmetrics.matches import ImageBoxes, Matches, match_images, match_table
from boxmetrics.protocols import PROPHESEE, evaluate, keep
from boxmetrics.tables import BoxTable

CLASSES = 3  # the last never has ground truth
BOX = [10.0, 10.0, 30.0, 30.0]
FAR = [60.0, 60.0, 80.0, 80.0]
IOU = {"AP": None, "AP50": 0.5, "AP75": 0.75}


def random_images(seed: int, count: int = 10) -> list[ImageBoxes]:
    """Scenes made to hurt, where no two scores are equal."""
    rng = np.random.default_rng(seed)
    images = [random_image(rng, n, CLASSES - 1) for n in range(count)]
    return [replace(image, scores=rng.random(len(np.asarray(image.scores)))) for image in images]


def simulated(
    rng: np.random.Generator, images: int, found: float | np.ndarray = 0.7, alarms: float = 0.5
) -> Matches:
    """One object an image, found with a probability; sometimes a false alarm."""
    found = np.broadcast_to(found, images)
    scenes = []
    for n in range(images):
        boxes, scores = [], []
        if rng.random() < found[n]:
            boxes, scores = [BOX], [rng.normal(1)]
        if rng.random() < alarms:
            boxes, scores = [*boxes, FAR], [*scores, rng.normal(0)]
        scenes.append(image(n, boxes, scores, [BOX]))
    return match_images(scenes, [0.5])


def width(interval: Interval | None) -> float:
    assert interval is not None
    return interval.high - interval.low


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", range(12))
def test_the_estimate_is_the_ap_of_the_data_set(seed, metric):
    rng = np.random.default_rng(seed)
    images = [random_image(rng, n, CLASSES - 1) for n in range((2, 6, 12)[seed % 3])]
    curves = precision_recall(BoxTable.of_images(images), CLASSES)
    for classes in (None, [1], [0, 1, 2]):
        interval = bootstrap_ap(match_images(images), metric, classes=classes, repeats=5)
        expected = curves.ap(IOU[metric], classes=classes)
        assert (interval is None) == (expected is None)
        if interval is not None:
            assert interval.estimate == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", range(8))
def test_weights_equal_images_repeated_by_hand(seed, metric):
    images = random_images(seed)
    units = np.arange(10) if seed % 2 else np.arange(10) // 3  # images; recordings of three
    weights = np.random.default_rng(seed).integers(0, 4, (6, units.max() + 1))
    weights[0] = 0
    ranked = weighted_ap.rank_classes(match_images(images), METRICS[metric], units)
    fast = weighted_ap.mean_weighted_ap(ranked, weights)
    assert np.isnan(fast[0])
    for row, value in zip(weights[1:], fast[1:], strict=True):
        drawn = [image for image, n in zip(images, row[units], strict=True) for _ in range(n)]
        table = BoxTable.of_images(replace(image, image_id=n) for n, image in enumerate(drawn))
        slow = precision_recall(table, CLASSES).ap(IOU[metric])
        assert 100 * value == pytest.approx(np.nan if slow is None else slow, abs=1e-9, nan_ok=True)


def test_the_scenes_of_the_oracle_hold_crowds_and_more_than_a_hundred_predictions():
    matches = [match_images(random_images(seed)) for seed in range(8)]
    assert any((m.gt_crowd[m.det_gt] & (m.det_gt >= 0)).any() for m in matches)
    assert any((m.det_gt[1:, 0] != m.det_gt[1:, -1]).any() for m in matches)
    assert any(
        np.unique(m.det_image * 9 + m.det_class, return_counts=True)[1].max() > 100 for m in matches
    )


def test_small_chunks_change_nothing(monkeypatch):
    matches = match_images(random_images(3))
    whole = bootstrap_ap(matches, "AP", repeats=50)
    monkeypatch.setattr(weighted_ap, "_MAX_ELEMENTS", 1)
    assert bootstrap_ap(matches, "AP", repeats=50) == whole


def test_draws_repeat_and_a_higher_level_is_wider():
    matches = simulated(np.random.default_rng(0), 40)
    assert bootstrap_ap(matches) == bootstrap_ap(matches)
    assert bootstrap_ap(matches, seed=1) != bootstrap_ap(matches)
    assert width(bootstrap_ap(matches, level=0.99)) > width(bootstrap_ap(matches, level=0.8)) > 0


@pytest.mark.parametrize(("level", "lowest", "highest"), [(0.95, 0.83, 0.99), (0.5, 0.33, 0.67)])
def test_the_interval_covers_other_data_sets_as_often_as_it_says(level, lowest, highest):
    """600 data sets of this size gave 0.92 at level 0.95; the bounds are 3 sigma for 80."""
    rng = np.random.default_rng(0)
    intervals = [bootstrap_ap(simulated(rng, 40), repeats=100, level=level) for _ in range(80)]
    expected = np.mean([interval.estimate for interval in intervals])
    covered = np.mean([interval.low <= expected <= interval.high for interval in intervals])
    assert lowest <= covered <= highest


def test_the_estimate_lies_amid_the_interval_also_with_many_rare_classes():
    """Where plain percentiles lie so far above that they leave it out."""
    rng = np.random.default_rng(0)
    scenes = []
    for n in range(100):
        labels = rng.integers(60, size=2).tolist()
        boxes = [BOX, FAR, FAR, BOX]
        scenes.append(image(n, boxes, rng.random(4), [BOX, FAR], labels * 2, labels))
    estimate, low, high = bootstrap_ap(match_images(scenes), repeats=200)
    assert low + 0.25 * (high - low) < estimate < high - 0.25 * (high - low)


def test_an_interval_stays_within_what_ap_can_be():
    perfect = bootstrap_ap(match_images([image(n, [BOX], [0.5], [BOX]) for n in range(5)]))
    assert perfect == pytest.approx((100, 100, 100))
    rarely = [
        image(n, [FAR, BOX][: 1 + (n == 0)], [0.9, 0.5][: 1 + (n == 0)], [BOX]) for n in range(40)
    ]
    interval = bootstrap_ap(match_images(rarely))
    assert 0 == interval.low < interval.estimate < interval.high


def test_correlated_recordings_need_a_wider_interval_than_images():
    rng = np.random.default_rng(0)
    recordings = np.repeat([f"night_{n}" for n in range(10)], 20)
    matches = simulated(rng, 200, found=np.repeat(np.linspace(0.2, 0.95, 10), 20))
    by_image, by_recording = bootstrap_ap(matches), bootstrap_ap(matches, groups=recordings)
    assert by_image.estimate == pytest.approx(by_recording.estimate)
    assert width(by_recording) > 1.5 * width(by_image)


def test_a_model_does_not_differ_from_itself():
    matches = match_images(random_images(5))
    for metric in METRICS:
        assert bootstrap_difference(matches, matches, metric, repeats=50) == (0.0, 0.0, 0.0)
    seeds = [matches, match_images(random_images(5))]
    assert bootstrap_difference(seeds, list(seeds), repeats=50) == (0.0, 0.0, 0.0)


def test_a_better_model_is_told_from_a_worse_one_by_pairing():
    rng = np.random.default_rng(0)
    found, alarmed, scores = rng.random(60) < 0.6, rng.random(60) < 0.3, 0.7 * rng.random(60)

    def model(alarms: np.ndarray) -> Matches:
        hits = [
            ([BOX], [score]) if hit else ([], []) for hit, score in zip(found, scores, strict=True)
        ]
        wrong = [([FAR], [0.8]) if alarm else ([], []) for alarm in alarms]
        return match_images(
            image(n, h[0] + w[0], h[1] + w[1], [BOX])
            for n, (h, w) in enumerate(zip(hits, wrong, strict=True))
        )

    worse, better = model(alarmed), model(alarmed & False)
    difference = bootstrap_difference(better, worse)
    assert difference.low > 0
    apart = [bootstrap_ap(better), bootstrap_ap(worse)]
    assert difference.estimate == pytest.approx(apart[0].estimate - apart[1].estimate)
    assert width(difference) < width(apart[0]) + width(apart[1])
    mirrored = bootstrap_difference(worse, better)
    assert mirrored == pytest.approx((-difference.estimate, -difference.high, -difference.low))


def test_seeds_are_averaged():
    rng = np.random.default_rng(0)
    seeds = [simulated(rng, 40, found) for found in (0.5, 0.7, 0.9)]
    single = [bootstrap_ap(matches).estimate for matches in seeds]
    assert bootstrap_ap(seeds).estimate == pytest.approx(np.mean(single))
    assert bootstrap_ap(seeds[:1]) == bootstrap_ap(seeds[0])
    difference = bootstrap_difference(seeds[1:], seeds[0])
    assert difference.estimate == pytest.approx(np.mean(single[1:]) - single[0])


def test_nothing_to_tell_is_none():
    truth = [image(n, [BOX], [0.5], [BOX]) for n in range(3)]
    no_truth = match_images([image(n, [BOX], [0.5]) for n in range(3)])
    assert bootstrap_ap(no_truth) is None
    assert bootstrap_difference(no_truth, no_truth) is None
    assert bootstrap_ap(match_images([])) is None
    assert bootstrap_ap(match_images(truth), classes=[1]) is None
    assert bootstrap_ap(match_images(truth), classes=[]) is None
    assert bootstrap_ap(match_images(truth[:1])) is None
    assert bootstrap_ap(match_images(truth), groups=["night"] * 3) is None


def test_no_predictions_give_zero_and_draws_without_truth_are_left_out():
    scenes = [image(0, [], [], [BOX]), *(image(n, [FAR], [0.5]) for n in range(1, 5))]
    assert bootstrap_ap(match_images(scenes), "AP") == (0.0, 0.0, 0.0)


def test_the_boxes_that_a_protocol_keeps_can_be_resampled_by_recording():
    table = BoxTable.of_frames(random_frames(np.random.default_rng(1), 20, CLASSES - 1))
    kept = keep(PROPHESEE, table)[0]
    interval = bootstrap_ap(match_table(kept), groups=kept.image_recording)
    scores = evaluate(PROPHESEE, table, ["car", "bus", "none"]).scores
    assert interval.estimate == pytest.approx(scores["AP50"], abs=1e-9)


def test_what_does_not_fit_is_refused():
    images = [image(n, [BOX], [0.5], [BOX]) for n in range(3)]
    matches = match_images(images)
    with pytest.raises(ValueError, match="Unknown metric 'AR'; expected one of"):
        bootstrap_ap(matches, "AR")
    with pytest.raises(ValueError, match=r"thresholds \[0.5\], but \[0.75\] are asked for"):
        bootstrap_ap(match_images(images, [0.5]), "AP75")
    with pytest.raises(ValueError, match=r"shape \(2,\) were given for 3 images"):
        bootstrap_ap(matches, groups=["a", "b"])
    with pytest.raises(ValueError, match="No matches were given"):
        bootstrap_ap([])
    with pytest.raises(ValueError, match="0 repeats were asked for"):
        bootstrap_ap(matches, repeats=0)
    with pytest.raises(ValueError, match="The level 95 was given"):
        bootstrap_ap(matches, level=95)
    with pytest.raises(ValueError, match="different images: 3 against 2"):
        bootstrap_difference(matches, match_images(images[:2]))
    with pytest.raises(ValueError, match="another order"):
        bootstrap_ap([matches, match_images(images[::-1])])
    relabelled = match_images([*images[:2], image(2, [BOX], [0.5], [BOX], gt_classes=[1])])
    with pytest.raises(ValueError, match="different ground truth: 3 against 3 boxes, or other"):
        bootstrap_difference(matches, relabelled)

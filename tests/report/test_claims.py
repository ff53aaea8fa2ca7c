import math
import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy import stats as distributions

from wrnexp.errors import UserError
from wrnexp.report.claims import Claim, all_claims, judge, pair_claims, read_ledger, read_ledgers
from wrnexp.report.collect import find_runs

WriteRun = Callable[..., Path]

MEMORY, SPEED, REACHES, COMPARABLE, EPOCH, OSCILLATION, STABLE, FEWER, LEVEL = range(9)
SMOOTH = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.65, 0.66, 0.67, 0.68, 0.69, 0.70]
ROUGH = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.65, 0.66, 0.60, 0.68, 0.62, 0.70]


class Pair:
    """Writes both arms seed by seed and reads the claims."""

    def __init__(self, write: WriteRun, outputs: Path) -> None:
        self.write, self.outputs, self.seeds = write, outputs, dict.fromkeys(("base", "light"), 0)

    def add(self, label: str, accuracy: float = 0.7, **fields: Any) -> None:
        self.write(label, self.seeds[label], accuracy, **fields)
        self.seeds[label] += 1

    def costs(self, name: str, base: list[float | None], light: list[float | None]) -> None:
        for label, values in (("base", base), ("light", light)):
            for value in values:
                self.add(label, cost={name: value})

    def times(self, base: list[float | None], light: list[float | None], **fields: Any) -> None:
        for label, values in (("base", base), ("light", light)):
            for value in values:
                self.add(label, time_to={"0.70": value}, **fields)

    def claims(self) -> list[Claim]:
        return all_claims(find_runs([self.outputs]).arms, read_ledgers())


@pytest.fixture
def pair(write_run: WriteRun, outputs: Path) -> Pair:
    return Pair(write_run, outputs)


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        ((-0.5, 0.5), "supported"),
        ((-0.5, 1.5), "underpowered"),
        ((-1.5, 1.5), "underpowered"),
        ((-3.0, 0.0), "underpowered"),
        ((1.5, 2.0), "refuted"),
        ((-2.0, -1.0), "refuted"),
        ((1.0, 1.0), "refuted"),
        (None, "underpowered"),
    ],
)
def test_judge(interval: tuple[float, float] | None, expected: str) -> None:
    assert judge(interval, -1.0, 1.0) == expected


def test_ratios_are_judged_by_the_interval_of_their_logarithms(pair: Pair) -> None:
    base, light = [2700.0, 2650.0, 2710.0], [3000.0, 2990.0, 2950.0]
    pair.costs("images_per_second", [*base], [*light])
    claim = pair.claims()[SPEED]
    test = distributions.ttest_1samp(np.log(light) - np.log(base), 0)
    assert claim.measured == pytest.approx(np.prod(np.divide(light, base)) ** (1 / 3), abs=1e-9)
    assert claim.ci95 == pytest.approx(tuple(np.exp(test.confidence_interval())), abs=1e-9)
    assert (claim.verdict, claim.n, claim.threshold) == ("supported", 3, 1.0)


@pytest.mark.parametrize(
    ("light", "expected"),
    [([75, 75, 75], "supported"), ([85, 85, 85], "refuted"), ([60, 75, 90], "underpowered"), ([75], "underpowered")],
)
def test_memory(pair: Pair, light: list[float | None], expected: str) -> None:
    pair.costs("peak_memory_bytes", [100, 100, 100], light)
    claim = pair.claims()[MEMORY]
    assert claim.verdict == expected
    if light == [75, 75, 75]:
        # The same bytes in every seed are an exact figure.
        assert claim.measured == pytest.approx(0.75)
        assert claim.ci95 == pytest.approx((0.75, 0.75))


def test_memory_that_a_device_does_not_tell_is_not_measured(pair: Pair) -> None:
    pair.costs("peak_memory_bytes", [None, None], [None, None])
    claim = pair.claims()[MEMORY]
    assert (claim.verdict, claim.measured) == ("not measured", None)
    assert "not recorded" in claim.note


def test_equal_costs_do_not_support_faster(pair: Pair) -> None:
    pair.costs("images_per_second", [100, 100], [100, 100])
    assert pair.claims()[SPEED].verdict == "refuted"


def test_costs_on_different_devices_do_not_compare(pair: Pair) -> None:
    for device in ("NVIDIA H100", "NVIDIA H200"):
        pair.add("base", cost={"peak_memory_bytes": 100}, provenance={"device": device}, time_to={"0.70": 10.0})
        pair.add("light", cost={"peak_memory_bytes": 50}, time_to={"0.70": 5.0})
    found = pair.claims()
    for index in (MEMORY, SPEED, REACHES, EPOCH):
        assert found[index].verdict == "not measured"
        assert "NVIDIA H100 and NVIDIA H200" in found[index].note
    assert found[COMPARABLE].measured is not None


def test_times_with_and_without_start_and_compilation_do_not_compare(pair: Pair) -> None:
    for accuracy_seconds in (10.0, 11.0):
        pair.add("base", cost={"start_seconds": None, "compile_seconds": None}, time_to={"0.70": accuracy_seconds})
        pair.add("light", cost={"images_per_second": 100}, time_to={"0.70": 5.0})
    claims = pair.claims()
    for index in (REACHES, EPOCH):
        assert claims[index].verdict == "not measured"
        assert "include start and compilation" in claims[index].note
    assert "include start" not in claims[SPEED].note


def test_the_speed_claim_says_how_large_steps_are(pair: Pair) -> None:
    sizes: Mapping[str, int] = {"base": 128, "light": 1024}
    for label, size in sizes.items():
        for rate in (100.0, 101.0):
            pair.add(label, cost={"images_per_second": rate, "steps": 10, "images": 10 * size})
    assert pair.claims()[SPEED].note == "a step is 128 images in base and 1,024 in light"


@pytest.mark.parametrize(
    ("base", "light", "expected"),
    [
        ([300, 310, 305], [100, 110, 105], "supported"),
        ([100, 110, 105], [300, 310, 305], "refuted"),
        ([100, 110, 105], [101, 100, 112], "underpowered"),
        ([None, None], [100, 110], "supported"),
        ([100, 110], [None, None], "refuted"),
        ([100, None], [50, 60], "underpowered"),
        ([None, None], [None, 60], "underpowered"),
        ([None, None], [None, None], "not measured"),
        ([None], [100], "underpowered"),
        ([300], [100], "underpowered"),
    ],
)
def test_time_to_70(pair: Pair, base: list[float | None], light: list[float | None], expected: str) -> None:
    pair.times(base, light)
    claim = pair.claims()[REACHES]
    assert claim.verdict == expected
    assert (claim.measured is None) == (None in base + light)


def test_seconds_to_70_count_seeds(pair: Pair) -> None:
    pair.times([100, None, 90], [50, 60, 55])
    assert pair.claims()[REACHES].note == "reached by 2 of 3 seeds of base and by 3 of 3 of light"


def test_times_need_more_than_one_look_at_the_test_set(pair: Pair) -> None:
    pair.times([None, None], [None, None], test_looks=1)
    claim = pair.claims()[REACHES]
    assert claim.verdict == "not measured"
    assert "only at the end" in claim.note


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([0.001, -0.002, 0.003], "supported"),
        ([-0.030, -0.031, -0.032], "refuted"),
        ([0.030, 0.031, 0.032], "refuted"),
        ([-0.008, -0.011, -0.010], "underpowered"),
        ([-0.050, 0.04, 0.01], "underpowered"),
        ([-0.03], "underpowered"),
        ([0.0], "underpowered"),
        ([0.0, 0.0], "underpowered"),
    ],
)
def test_comparable_accuracy(pair: Pair, differences: list[float], expected: str) -> None:
    for index, difference in enumerate(differences):
        accuracy = 0.70 + 0.004 * math.sin(index)
        pair.add("base", accuracy)
        pair.add("light", accuracy + difference)
    claim = pair.claims()[COMPARABLE]
    assert claim.verdict == expected
    assert claim.measured == pytest.approx(np.mean(differences))
    assert claim.threshold == 0.01


def test_less_oscillation(pair: Pair) -> None:
    late = []
    for seed in range(3):
        base, light = [*ROUGH[:10], ROUGH[10] + 0.001 * seed, ROUGH[11]], [*SMOOTH[:11], SMOOTH[11] + 0.001 * seed]
        pair.add("base", curve=base)
        pair.add("light", curve=light)
        late.append([np.diff(curve[-4:]).std(ddof=1) for curve in (base, light)])
    found = pair.claims()
    assert found[OSCILLATION].verdict == "supported"
    assert found[OSCILLATION].measured == pytest.approx(np.mean([light - base for base, light in late]))
    assert found[EPOCH].verdict == "refuted"  # the same seconds an epoch
    assert found[EPOCH].measured == pytest.approx(1.0)


def test_oscillation_of_short_runs_is_not_measured(pair: Pair) -> None:
    for label in ("base", "light"):
        for _ in range(2):
            pair.add(label, curve=SMOOTH[:5])
    claim = pair.claims()[OSCILLATION]
    assert claim.verdict == "not measured"
    assert "at least 9 epochs" in claim.note


def test_arms_without_a_common_seed_give_no_verdict(pair: Pair) -> None:
    pair.add("base", curve=SMOOTH)
    pair.seeds["light"] = 5
    pair.add("light", curve=SMOOTH)
    for claim in pair.claims()[:LEVEL]:
        assert (claim.verdict, claim.measured) == ("not measured", None)
        assert claim.note == "the arms have no seed in common"


@pytest.mark.parametrize(
    ("fields", "marked"),
    [
        ({}, False),
        ({"provenance": {"device": "AMD EPYC 9V74, 2 threads"}}, True),
        ({"data": {"train": 45_000, "val": 5_000}}, True),
        ({"data": {"test": 500}}, True),
        ({"data": {"name": "shapes"}}, True),
    ],
    ids=["as claimed", "cpu", "validation held out", "part of the test set", "other data"],
)
def test_claims_measured_elsewhere_are_marked(pair: Pair, fields: dict[str, Any], marked: bool) -> None:
    for label in ("base", "light"):
        pair.add(label, **fields)
    scopes = {claim.scope for claim in pair.claims()[:LEVEL]}
    assert len(scopes) == 1
    scope = scopes.pop()
    assert scope.startswith("not the setting of the claims") == marked
    assert "100 and 85 epochs" in scope


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (("base", "light", "demo_base", "demo_light"), "light needs about 25% less peak memory than base"),
        (("base", "demo_base", "demo_light"), "demo_light needs about 25% less peak memory than demo_base"),
        (("base", "demo_light"), "light or demo_light needs about 25% less peak memory than base or demo_base"),
    ],
)
def test_which_arms_claims_are_about(
    labels: tuple[str, ...], expected: str, write_run: WriteRun, outputs: Path
) -> None:
    for label in labels:
        write_run(label, 0, 0.7)
    assert all_claims(find_runs([outputs]).arms, read_ledgers())[MEMORY].claim == expected


def test_any_two_arms_can_be_held_against_what_is_claimed_of_light(write_run: WriteRun, outputs: Path) -> None:
    for label in ("one", "two"):
        write_run(label, 0, 0.7)
    assert all_claims(find_runs([outputs]).arms, read_ledgers()) == []
    one, two = find_runs([outputs]).arms
    claims = pair_claims(one, two, read_ledgers())
    assert claims[FEWER].claim == "two trains for fewer epochs than one"
    assert len(claims) == LEVEL


def test_a_curve_that_loses_less_is_more_stable_and_shorter_runs_have_fewer_epochs(pair: Pair) -> None:
    lost = []
    for seed in range(3):
        base, light = [*ROUGH[:11], 0.70 + 0.001 * seed], [*SMOOTH[:10], 0.68 + 0.001 * seed]
        pair.add("base", curve=base)
        pair.add("light", curve=light)
        lost.append([np.mean([max(0, a - b) for a, b in pairwise(c)]) for c in (base, light)])
    found = pair.claims()
    assert found[STABLE].measured == pytest.approx(np.mean([light - base for base, light in lost]))
    assert found[FEWER].verdict == "supported"
    assert found[FEWER].measured == pytest.approx(11 / 12)


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [([0.708, 0.711, 0.712], "supported"), ([0.650, 0.651, 0.652], "refuted"), ([0.70, 0.72], "underpowered")],
)
def test_a_level_is_judged_by_the_interval_of_the_arm(pair: Pair, accuracies: list[float], expected: str) -> None:
    for accuracy in accuracies:
        pair.add("light", accuracy)
    claim = pair.claims()[LEVEL]
    interval = distributions.t.interval(0.95, len(accuracies) - 1, np.mean(accuracies), distributions.sem(accuracies))
    assert (claim.verdict, claim.n, claim.threshold) == (expected, len(accuracies), 0.01)
    assert claim.measured == pytest.approx(np.mean(accuracies))
    assert claim.ci95 == pytest.approx(interval, abs=1e-9)


def test_a_ledger_is_shown_whole_where_one_of_its_arms_is_there(write_run: WriteRun, outputs: Path) -> None:
    for seed in range(3):
        write_run("paper_wrn_16_8", seed, 0.795 + 0.001 * seed)
    found = all_claims(find_runs([outputs]).arms, read_ledgers())
    assert {claim.source for claim in found} == {"Zagoruyko and Komodakis, Wide Residual Networks"}
    assert [claim.verdict for claim in found].count("not measured") == len(found) - 1
    assert "there are no runs of paper_wrn_28_10" in [claim.note for claim in found]
    (measured,) = [claim for claim in found if claim.measured is not None]
    assert measured.verdict == "supported"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"measure": "beauty"}, "claims.0: measure 'beauty' is not one of"),
        ({"below": None}, "claims.0: give one of above, below and within"),
        ({"compare": "equivalence"}, "claims.0: give within, the largest difference"),
        ({"compare": "level", "of": 0.7}, "claims.0: give within"),
        ({"bellow": 1}, "claims.0.bellow: Extra inputs are not permitted"),
        ({"compare": "glance"}, "claims.0.compare: Input should be"),
    ],
)
def test_a_wrong_entry_is_said_in_one_line(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    entry = {"claim": "x", "measure": "epochs", "compare": "ratio", "below": 1, "criterion": "y"} | change
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"source": "me", "setting": None, "claims": [entry]}))
    with pytest.raises(UserError, match=re.escape(f"{path}: {said}")) as error:
        read_ledger(path)
    assert "\n" not in str(error.value)


def test_the_ledgers_hold_each_claim_once_and_name_presets_that_are_there() -> None:
    ledgers = read_ledgers()
    assert [*ledgers] == ["light", "ours", "paper"]
    presets = {path.stem for path in (Path(__file__).parents[2] / "conf" / "experiment").glob("*.yaml")}
    for ledger in ledgers.values():
        sentences = [(entry.claim, entry.b) for entry in ledger.claims]
        assert len(set(sentences)) == len(sentences)
        for entry in ledger.claims:
            a, b = ledger.labels(entry)
            assert b
            assert {*a, *b} <= presets
            assert len(a) == len(b) or entry.compare == "level"

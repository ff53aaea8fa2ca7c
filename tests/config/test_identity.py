import copy
import json
import random
import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wrnexp.config.identity import DEFAULTS, IGNORED_KEYS, arm_id, identity_config, run_id, slug

RESULTS = Path(__file__).parents[2] / "results"

CONFIG: dict[str, Any] = {
    "model": {"depth": 16, "width": 8, "dropout": 0.25},
    "augment": {"padding": 4, "jitter": {"hue": 0.0}},
    "optim": {"lr": 0.8, "clip_norm": None, "schedule": {"milestones": [60, 120]}},
    "loader": {"batch_size": 512, "workers": 6, "prefetch_factor": 3, "persistent_workers": True, "pin_memory": True},
    "data": {"name": "cifar100", "root": "/somewhere", "val_size": 0},
    "trainer": {"device": "cuda:1", "precision": "auto", "memory_budget": 1.0},
    "tracking": {"wandb": {"mode": "auto"}},
    "seed": 3,
    "name": None,
    "label": None,
    "rerun": False,
}


def put(config: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Return a copy of `config` with another value at the dotted `key`."""
    changed = copy.deepcopy(config)
    *parents, last = key.split(".")
    node = changed
    for parent in parents:
        node = node[parent]
    node[last] = value
    return changed


def leaves(node: dict[str, Any], prefix: str = "") -> list[str]:
    return [
        key
        for name, value in node.items()
        for key in (leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else [prefix + name])
    ]


EFFECT = [key for key in leaves(CONFIG) if not key.startswith((*IGNORED_KEYS, "data.root"))]


def test_known_ids_hold_for_all_time() -> None:
    assert (run_id(CONFIG), arm_id(CONFIG)) == ("cf52e92c08", "21f96e7160")


@pytest.mark.parametrize(("name", "same"), [("cifar100", True), ("cifar10", True), ("shapes", True), ("folder", False)])
def test_the_place_of_images_counts_where_it_says_which_they_are(name: str, same: bool) -> None:
    here, there = (put(put(CONFIG, "data.name", name), "data.root", root) for root in ("/here", "/there"))
    assert (run_id(here) == run_id(there)) is same


def test_the_place_counts_for_a_function_from_outside_whatever_its_images_are_called() -> None:
    foreign = put(put(CONFIG, "data._target_", "mine.load"), "data.root", None)
    here, there = (put(foreign, "data.root", root) for root in ("/here", "/there"))
    assert len({run_id(here), run_id(there), run_id(foreign)}) == 3
    without = copy.deepcopy(foreign)
    del without["data"]["root"]
    assert run_id(foreign) == run_id(without)  # as in earlier versions


@pytest.mark.parametrize("group", ["loader", "trainer", "data", "tracking"])
@pytest.mark.parametrize("value", [None, 5, "x"])
def test_a_wrong_config_has_an_id_too(group: str, value: Any) -> None:
    assert run_id(CONFIG | {group: value}) != run_id(CONFIG) or group == "tracking"


@pytest.mark.parametrize("key", IGNORED_KEYS)
def test_keys_without_effect_do_not_count(key: str) -> None:
    changed = put(CONFIG, key, "something else")
    assert run_id(changed) == run_id(CONFIG)
    assert arm_id(changed) == arm_id(CONFIG)


@pytest.mark.parametrize("key", EFFECT)
def test_every_other_key_counts(key: str) -> None:
    changed = put(CONFIG, key, "something else")
    assert run_id(changed) != run_id(CONFIG)
    assert (arm_id(changed) == arm_id(CONFIG)) == (key == "seed")


@pytest.mark.parametrize(("key", "value"), DEFAULTS.items())
def test_a_later_key_counts_unless_it_has_its_default(key: str, value: Any) -> None:
    group, name = key.split(".")
    without = put(CONFIG, key, value)
    del without[group][name]
    assert run_id(put(CONFIG, key, value)) == run_id(without)
    assert run_id(put(CONFIG, key, "something else")) != run_id(without)


@pytest.mark.parametrize("path", sorted(RESULTS.rglob("record.json")), ids=lambda path: path.parent.name)
def test_runs_on_record_have_the_ids_that_they_had(path: Path) -> None:
    record = json.loads(path.read_text())
    assert run_id(record["config"]) == record["run_id"]
    assert arm_id(record["config"]) == record["arm_id"]


def test_run_and_arm_are_different_names() -> None:
    assert run_id(CONFIG) != arm_id(CONFIG)
    assert len({run_id(put(CONFIG, "seed", seed)) for seed in range(100)}) == 100
    assert re.fullmatch("[0-9a-f]{10}", run_id(CONFIG))


@pytest.mark.parametrize(("one", "other", "same"), [("cuda:1", "cuda", True), ("cuda", "cpu", False)])
def test_the_index_of_a_device_does_not_count(one: str, other: str, same: bool) -> None:
    ids = [run_id(put(CONFIG, "trainer.device", device)) for device in (one, other)]
    assert (ids[0] == ids[1]) is same


def test_a_run_may_go_on_with_another_number_of_devices_where_they_share_batch_statistics() -> None:
    alone, shared = CONFIG, put(put(CONFIG, "trainer.devices", 4), "trainer.sync_batchnorm", True)
    apart = put(shared, "trainer.sync_batchnorm", False)
    assert run_id(shared) == run_id(alone)
    assert run_id(put(apart, "trainer.devices", 1)) == run_id(alone)
    assert len({run_id(alone), run_id(apart), run_id(put(apart, "trainer.devices", 8))}) == 3


def test_how_a_number_or_an_order_is_written_does_not_count() -> None:
    written = put(put(CONFIG, "model.depth", 16.0), "optim.schedule.milestones", [60.0, 120])
    keys = list(written)
    random.Random(0).shuffle(keys)
    assert run_id({key: written[key] for key in keys}) == run_id(CONFIG)
    assert run_id(put(CONFIG, "optim.schedule.milestones", [120, 60])) != run_id(CONFIG)
    assert run_id(put(CONFIG, "loader.drop_last", True)) != run_id(put(CONFIG, "loader.drop_last", 1))


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(), values, max_size=4).map(lambda extra: {"more": extra}))
def test_an_id_survives_json_and_leaves_the_config_alone(extra: dict[str, Any]) -> None:
    config = CONFIG | extra
    before = copy.deepcopy(config)
    assert run_id(json.loads(json.dumps(config))) == run_id(config)
    assert config == before


def test_a_config_without_some_groups_has_an_id() -> None:
    assert run_id({"seed": 0}) != run_id({"seed": 1})
    assert identity_config({"seed": 0, "label": "x"}) == {"seed": 0}


any_text = st.text(st.characters())  # lone surrogates too: bytes of a command line that are not UTF-8
letters = st.text(st.characters(categories=("Lu", "Ll", "Lo", "Lt", "Nd")), min_size=1, max_size=300)


@settings(deadline=None)
@given(st.one_of(any_text, letters))
@example("\N{COMBINING ACUTE ACCENT}")
@example("\N{HEAVY BLACK HEART}\N{VARIATION SELECTOR-16}")
def test_a_slug_is_one_folder(text: str) -> None:
    folder = slug(text)
    assert 0 < len(folder.encode()) <= 120
    assert not set(folder) & {"/", "\\", ":", "\0", "\N{RIGHT-TO-LEFT OVERRIDE}"}
    assert folder.isprintable()
    assert folder not in (".", "..")
    assert Path(folder).name == folder
    assert slug(folder) == folder


@settings(deadline=None)
@given(letters, letters)
def test_texts_of_other_letters_have_folders_of_their_own(one: str, other: str) -> None:
    one, other = (unicodedata.normalize("NFC", text) for text in (one, other))
    assert (slug(one) == slug(other)) == (one == other)


@given(any_text.filter(lambda text: not text.isascii()), any_text.filter(lambda text: not text.isascii()))
def test_other_texts_that_are_not_ascii_have_folders_of_their_own(one: str, other: str) -> None:
    same = unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)
    assert (slug(one) == slug(other)) == same


@given(st.text(st.characters(max_codepoint=127), max_size=120))
def test_an_ascii_text_keeps_the_folder_of_earlier_versions(text: str) -> None:
    assert slug(text) == (re.sub(r"[^A-Za-z0-9._=+-]+", "-", text).strip("-.") or "run")


def test_slugs() -> None:
    assert slug("light model.dropout=0.3") == "light-model.dropout=0.3"
    assert slug("../../etc/passwd") == "etc-passwd"
    assert slug("...") == slug("") == "run"


def test_slugs_of_other_scripts() -> None:
    assert slug("дропаут") == "дропаут"
    assert slug("cafe\N{COMBINING ACUTE ACCENT}") == "café"
    assert slug("हिन्दी") == "हिन्दी"  # vowel signs are marks, not letters
    assert re.fullmatch("дроп-аут-[0-9a-f]{10}", slug("дроп аут"))
    assert re.fullmatch("run-[0-9a-f]{10}", slug("😀"))
    assert slug("😀") != slug("😁")


def test_a_long_slug_is_cut_at_a_letter_and_ends_with_a_hash() -> None:
    assert slug("a" * 120) == "a" * 120
    assert re.fullmatch("a{109}-[0-9a-f]{10}", slug("a" * 121))
    assert slug("a" * 121) != slug("a" * 122)
    assert re.fullmatch("я{54}-[0-9a-f]{10}", slug("я" * 200))
    assert re.fullmatch("(हि)*-[0-9a-f]{10}", slug("हि" * 100))  # not between a letter and its vowel


def test_time_limits_do_not_count() -> None:
    limited = put(CONFIG | {"sweep": {"max_seconds": 60}}, "trainer.max_seconds", 60)
    assert (run_id(limited), arm_id(limited)) == (run_id(CONFIG), arm_id(CONFIG))

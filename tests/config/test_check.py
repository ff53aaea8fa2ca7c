"""The schema: every wrong key at once, each with its value, what is allowed and the nearest right key."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from wrnexp.config.check import check, known_keys, problems
from wrnexp.config.text import is_printable, visible
from wrnexp.errors import UserError

LIGHT = yaml.safe_load((Path(__file__).parents[1] / "golden" / "light.yaml").read_text())


def light(**values: Any) -> dict[str, Any]:
    """Return light's config with dotted keys (`__` for the dot) set."""
    config: dict[str, Any] = copy.deepcopy(LIGHT)
    for key, value in values.items():
        *parents, last = key.split("__")
        node = config
        for parent in parents:
            node = node[parent]
        node[last] = value
    return config


def without(key: str) -> dict[str, Any]:
    group, last = key.split(".")
    config = light()
    del config[group][last]
    return config


def test_a_good_config_has_no_problems() -> None:
    check(light())


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("model__dropout", 1.5, "0 <= x < 1"),
        ("model__dropout", 1.0, "0 <= x < 1"),
        ("model__dropout", "a lot", "0 <= x < 1"),
        ("model__depth", 17, "10, 16, 22"),
        ("model__depth", 4, "10, 16, 22"),
        ("model__width", 0, "1 or more"),
        ("augment__policy", "auto", "trivialaugment"),
        ("augment__magnitude", 31, "0 to 30"),
        ("augment__jitter__hue", 0.6, "0.5"),
        ("optim__lr", -0.1, "above 0"),
        ("optim__lr", float("nan"), "above 0"),
        ("optim__epochs", "ten", "whole number"),
        ("optim__epochs", 1.5, "whole number"),
        ("optim__accumulate", 0, "1 or more"),
        ("optim__clip_norm", 0.0, "above 0"),
        ("optim__label_smoothing", True, "0 <= x < 1"),
        ("loader__batch_size", 0, "1 or more"),
        ("loader__workers", -1, "0 or more"),
        ("loader__drop_last", 1, "true or false"),
        ("data__train_limit", 0, "1 or more"),
        ("trainer__device", "gpu", "cuda:<index>"),
        ("trainer__precision", "fp16", "bf16"),
        ("trainer__memory_budget", 0.0, "0 < x <= 1"),
        ("trainer__memory_budget", 1.5, "0 < x <= 1"),
        ("trainer__ema", 1.0, "0 < x < 1"),
        ("trainer__devices", 0, "1 or more, or auto"),
        ("trainer__devices", "all", "1 or more, or auto"),
        ("trainer__devices", True, "1 or more, or auto"),
        ("trainer__sync_batchnorm", "yes", "true or false"),
        ("trainer__max_seconds", 0, "a number of seconds above 0, 1e8 at most, or null"),
        ("trainer__max_seconds", 1e17, "a number of seconds above 0, 1e8 at most, or null"),
        ("trainer__max_seconds", "1h", "a number of seconds above 0, 1e8 at most, or null"),
        ("sweep__max_seconds", -5.0, "a number of seconds above 0, 1e8 at most, or null"),
        ("tracking__wandb__mode", "on", "offline"),
        ("tracking__media__mistakes", "no", "true or false"),
        ("seed", -1, "0 or more"),
        ("name", "a/b", "without slashes"),
        ("label", True, "text"),
        ("label", "x" * 201, "up to 200 printable characters"),
        ("name", "x" * 201, "up to 200 printable characters"),
    ],
)
def test_an_impossible_value_is_named_with_what_is_allowed(key: str, value: Any, allowed: str) -> None:
    (line,) = problems(light(**{key: value}))
    assert line.startswith(key.replace("__", ".") + "=")
    assert str(value).lower()[:160] in line.lower()
    assert allowed in line


NOT_PRINTABLE = {
    "a\nb": r"a\nb",
    "a\tb": r"a\tb",
    "\x1b[31mred": r"\x1b[31mred",
    "caf\udce9": r"caf\xe9",  # a byte of a command line that is not UTF-8
    "\ud83d": r"\ud83d",
    "a\u202eb": r"a\u202eb",  # writes what follows from right to left
    "a\u2028b": r"a\u2028b",  # a line break
    "\ufeffa": r"\ufeffa",
    "a\x00": r"a\x00",
    "a\ue000": r"a\ue000",  # private use
    "a\u0378": r"a\u0378",  # not assigned
}


@pytest.mark.parametrize("text", [" ", "\u00a0", "\u3164", "\u0301", "\u2800\u2800"])
@pytest.mark.parametrize("key", ["label", "name"])
def test_a_name_has_something_to_see(key: str, text: str) -> None:
    (line,) = problems(light(**{key: text}))
    assert line.startswith(f"{key}=")


@pytest.mark.parametrize("key", ["label", "name", "data__root", "tracking__wandb__entity", "tracking__wandb__project"])
@pytest.mark.parametrize("text", NOT_PRINTABLE)
def test_text_that_is_not_printable_is_refused_and_shown_escaped(key: str, text: str) -> None:
    (line,) = problems(light(**{key: text}))
    assert line.startswith(f"{key.replace('__', '.')}={NOT_PRINTABLE[text]} is not allowed; allowed: ")
    assert line.isprintable()
    assert "printable characters" in line


@pytest.mark.parametrize(("tag", "shown"), [("b\nd", r"b\nd"), ("x" * 65, "x" * 65), ("", "")])
def test_a_tag_that_wandb_would_refuse_is_named(tag: str, shown: str) -> None:
    (line,) = problems(light(tracking__wandb__tags=["good", tag]))
    assert line.startswith(f"tracking.wandb.tags.1={shown} is not allowed; allowed: a list of texts, each of 1 to 64 ")


@pytest.mark.parametrize(
    "text", ["дропаут", "日本", "हिन्दी", "می\u200cخو", "👩\u200d🔬 ❤\ufe0f", "a" * 200, "<b>[x]`$|"]
)
def test_text_of_any_script_is_allowed(text: str) -> None:
    assert problems(light(label=text, name=text, tracking__wandb__tags=[text[:64]], data__root=f"/{text}")) == []


def test_a_long_value_is_shown_with_its_length() -> None:
    (line,) = problems(light(label="x" * 5000))
    assert "... (5,000 characters) is not allowed" in line
    assert len(line) < 300


@given(st.text(st.characters()))
def test_a_text_is_printable_where_nothing_in_it_has_to_be_escaped(text: str) -> None:
    assert is_printable(visible(text))
    assert (visible(text) == text) == is_printable(text)
    visible(text).encode()


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("model__droput", "model.dropout"),
        ("model__stem_droput", "model.stem_dropout"),
        ("optim__epoch", "optim.epochs"),
        ("optim__learning_rate", None),
        ("optim__batch_size", "loader.batch_size"),
        ("loader__batchsize", "loader.batch_size"),
        ("optim__schedule__warmup", "optim.schedule.warmup_epochs"),
        ("sead", "seed"),
    ],
)
def test_an_unknown_key_names_the_nearest(wrong: str, right: str | None) -> None:
    (line,) = problems(light(**{wrong: 1}))
    assert line.startswith(f"{wrong.replace('__', '.')}=1: there is no such key")
    assert right is None or line.endswith(f"did you mean {right}?")


@pytest.mark.parametrize("key", ["model.depth", "optim.lr", "data.root"])
def test_a_missing_key_is_named(key: str) -> None:
    (line,) = problems(without(key))
    assert line.startswith(f"{key} is missing")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"optim__momentum": 0.0}, "optim.nesterov=true"),
        ({"data__name": "folder"}, "data.root"),
        ({"data__resize": True}, "data=folder"),
        ({"trainer__device": "cuda:1", "trainer__devices": 2}, "trainer.device=cuda:1 is one device"),
        ({"trainer__device": "mps", "trainer__devices": "auto"}, "trainer.device=mps is one device"),
        ({"trainer__cuda_graphs": True, "trainer__devices": 2}, "for one device, not for trainer.devices=2"),
    ],
)
def test_values_that_do_not_fit_together(values: dict[str, Any], words: str) -> None:
    (line,) = problems(light(**values))
    assert words in line


def test_devices_are_a_number_or_all() -> None:
    assert [problems(light(trainer__devices=devices)) for devices in (1, 8, "auto")] == [[], [], []]


def test_milestones_must_grow() -> None:
    steps = {"_target_": "wrnexp.optim.Steps", "milestones": [60, 30], "gamma": 0.2, "warmup_epochs": 0}
    (line,) = problems(light(optim__schedule=steps))
    assert line.startswith("optim.schedule.milestones=[60, 30]")


def test_one_message_says_everything() -> None:
    with pytest.raises(UserError) as caught:
        check(light(model__dropout=1.5, model__droput=1, optim__momentum=0.0))
    assert str(caught.value).splitlines()[0] == "config: 3 errors"
    assert len(str(caught.value).splitlines()) == 4


def test_a_value_that_is_wrong_itself_is_not_compared_with_others() -> None:
    assert len(problems(light(optim__nesterov="yes", optim__momentum=0.0))) == 1


def test_a_class_from_elsewhere_has_keys_of_its_own() -> None:
    check(light(model={"_target_": "torch.nn.Linear", "_partial_": True, "in_features": 3}))


def test_a_class_of_ours_that_does_not_exist_is_refused() -> None:
    assert problems(light(model___target_="wrnexp.models.Resnet"))


@given(st.sampled_from([key for key in known_keys() if key.count(".") == 1]), st.text(min_size=1, max_size=3))
def test_any_addition_to_a_group_is_an_error(key: str, letters: str) -> None:
    group, name = key.split(".")
    if isinstance(LIGHT[group], dict) and name + letters not in LIGHT[group]:
        config = light()
        config[group][name + letters] = 1
        assert problems(config)


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_a_dropout_is_accepted_exactly_in_its_range(value: float) -> None:
    assert (problems(light(model__dropout=value)) == []) == (0 <= value < 1)

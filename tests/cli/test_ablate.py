"""`wrnexp ablate`: what differs is listed once, the file is written, the sweep is run as run.py runs any other."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from wrnexp.cli import ablate, main
from wrnexp.config.differences import differences
from wrnexp.config.identity import identity_config, run_id
from wrnexp.sweeps.ablation.arms import KINDS
from wrnexp.sweeps.ablation.design import ablation

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def _keys(a: str, b: str, *, of_effect: bool) -> list[str]:
    configs = [yaml.safe_load((GOLDEN / f"{name}.yaml").read_text()) for name in (a, b)]
    every = [one.key for one in differences(*configs)]
    kept = [one.key for one in differences(*map(identity_config, configs))]
    return kept if of_effect else [key for key in every if key not in kept]


@pytest.mark.parametrize(
    ("a", "b", "count"), [("base", "light", 18), ("demo_base", "demo_light", 16), ("paper_wrn_28_10", "light", 24)]
)
def test_a_dry_run_lists_every_difference_exactly_once(
    a: str, b: str, count: int, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["ablate", a, b, "--dry-run", "--only", "add-one"]) == 0
    listed = capsys.readouterr().out.split("\nArms\n")[0]
    changes, others = [*listed.split("These differ too"), ""][:2]
    found = [Counter(re.findall(r"(?<!\S)(?:[a-z_]+\.)+[a-z_]+(?=\s)", part)) for part in (changes, others)]
    keys = [_keys(a, b, of_effect=effect) for effect in (True, False)]
    assert len(keys[0]) == count
    for seen, expected in zip(found, keys, strict=True):
        assert {key: times for key, times in seen.items() if key in expected} == dict.fromkeys(expected, 1)
    assert f"From {a} to {b}: {count} settings" in changes
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_counts_the_runs_and_shows_the_arms(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ablate", "base", "light", "--dry-run", "seed=0,1", "data=shapes"]) == 0
    out = capsys.readouterr().out
    assert "12 changes, 35 arms x 2 seeds (0,1) = 70 runs" in out
    assert "2 seeds give very wide intervals" in out
    assert re.search(r"light - dropout +experiment=light model\.dropout=0\.3 +left out of light", out)
    assert re.search(r"ladder 4: \+ dropout +step 3 and model\.dropout=0\.25 +ladder 4", out)


def test_parts_orders_and_groups_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--only", "ladder", "--order", "depth and width,epochs", "--together", "depth,width"]
    assert main(["ablate", "base", "light", "--dry-run", *options, "seed=0,1,2"]) == 0
    out = capsys.readouterr().out
    assert "11 changes, 12 arms x 3 seeds" in out
    assert re.search(r"ladder 1: \+ depth and width +experiment=base model\.depth=16 model\.width=8 +ladder 1", out)
    assert re.search(r"ladder 2: \+ epochs +step 1 and optim\.epochs=85", out)
    assert "light - " not in out


def test_writing_the_file_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["seed=0", "optim.epochs=2", "--only", "add-one"]
    assert main(["ablate", "base", "light", "--write", "mine/sweep.yaml", *given]) == 0
    written = (tmp_path / "mine/sweep.yaml").read_text()
    assert written.startswith("# Which of the changes from base to light matter?\n")
    assert "`wrnexp ablate base light seed=0 optim.epochs=2 --only add-one`" in written
    assert yaml.safe_load(written)["hydra"]["sweeper"]["params"] == {"seed": "0", "optim.epochs": "2"}
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "sweep.yaml"]
    assert "--config-dir mine -cn sweep" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["base", "lihgt"], "did you mean light?"),
        (["base", "light", "--order", "droput"], "did you mean 'dropout'?"),
        (["base", "light", "--together", "depth,with"], "did you mean 'width'?"),
        (["base", "light", "optim.lr=1,2"], "the seed alone"),
    ],
)
def test_mistakes_are_told_in_a_line_with_exit_code_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["ablate", *words]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert message in told
    assert told.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_unknown_options_and_overrides_of_other_commands_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["ablate", "base", "light", "--dryrun"], ["doctor", "seed=1"]):
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert caught.value.code == 2
        assert "unrecognized arguments" in capsys.readouterr().err


def test_the_sweep_is_run_as_run_py_and_its_exit_code_is_the_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "repository"
    (root / "conf").mkdir(parents=True)
    (root / "run.py").write_text("import sys; print(sys.argv[1:]); sys.exit(7)")
    conf = ablate.ROOT / "conf"
    (root / "conf").rmdir()
    (root / "conf").symlink_to(conf)
    monkeypatch.setattr(ablate, "ROOT", root)
    assert main(["ablate", "base", "light", "seed=0", "sweep.dry_run=true", "--only", "add-one"]) == 7
    assert (tmp_path / "multirun/ablate_base_light/ablate_base_light.yaml").is_file()
    said = capfd.readouterr().out
    assert str(["--config-dir", "multirun/ablate_base_light", "-cn", "ablate_base_light", "sweep.dry_run=true"]) in said


def test_the_kinds_offered_are_those_there_are() -> None:
    assert ablate.KINDS == KINDS


def test_the_jobs_of_the_sweep_are_the_runs_that_were_meant(capfd: pytest.CaptureFixture[str]) -> None:
    given = ["seed=4,5", "data=shapes", "+scale=small", "trainer.ema=0.9"]
    assert main(["ablate", "base", "light", *given, "--only", "add-one", "sweep.dry_run=true"]) == 0
    shown = capfd.readouterr().out
    study = ablation(ablate.ROOT, "base", "light", given, kinds=["add-one"])
    expected = [run_id(config | {"seed": seed}) for _, config in study.arms for seed in (4, 5)]
    assert re.findall(r"pending .*?([0-9a-f]{10})", shown) == expected
    assert len(set(expected)) == len(expected) == 26


@pytest.mark.slow
def test_an_ablation_runs_goes_on_and_says_what_each_change_is_worth(
    tmp_path: Path, tiny_overrides: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    given = [one for one in tiny_overrides if not one.startswith(("model.", "optim."))]
    names = ["paper_wrn_16_8", "paper_wrn_28_10"]
    command = ["ablate", *names, "model.width=1", "optim.epochs=1", *given, "--only", "add-one"]
    assert main([*command, "seed=0"]) == 0
    assert main([*command, "seed=0,1"]) == 0
    said = capfd.readouterr().out
    assert "2 of 4 jobs completed, 2 pending" in said
    assert "4 of 4 jobs completed" in said
    (study,) = json.loads((tmp_path / "multirun/ablate_paper_wrn_16_8_paper_wrn_28_10/report/report.json").read_text())[
        "ablation"
    ]
    (change,) = study["changes"]
    assert change["settings"] == [{"key": "model.depth", "a": 16, "b": 28}]
    records = [json.loads(path.read_text()) for path in tmp_path.rglob("record.json")]
    by_arm = {(one["label"], one["seed"]): one["metrics"]["test_accuracy"] for one in records}
    gains = [by_arm["paper_wrn_28_10", seed] - by_arm["paper_wrn_16_8", seed] for seed in (0, 1)]
    assert change["add_one"]["difference"] == pytest.approx(sum(gains) / 2)

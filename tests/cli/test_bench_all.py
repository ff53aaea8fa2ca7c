"""`wrnexp bench all`: which benchmarks run how, what a stop and a failure leave."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from wrnexp import cli
from wrnexp.cli.bench import Figure, augment, loader, memory, step
from wrnexp.errors import UserError

Calls = list[tuple[str, argparse.Namespace]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Stand-ins for the benchmarks; each has one figure."""
    ran: Calls = []

    def stand_in(module: ModuleType) -> None:
        name = module.__name__.rpartition(".")[2]

        def measure(args: argparse.Namespace) -> Iterator[Figure]:
            ran.append((name, args))
            yield Figure(f"{name} {len(ran)}", 1.0, "images/s")

        monkeypatch.setattr(module, "measure", measure)

    for module in (step, augment, loader, memory):
        stand_in(module)
    return ran


def names(path: Path) -> list[str]:
    return [figure["name"] for figure in json.loads(path.read_text())]


def test_five_benchmarks_in_turn(tmp_path: Path, calls: Calls) -> None:
    path = tmp_path / "all.json"
    assert cli.main(["bench", "all", "--quick", "--device", "cpu", "--json", str(path)]) == 0
    assert names(path) == ["step 1", "step 2", "augment 3", "loader 4", "memory 5"]
    assert [args.model for name, args in calls if name in ("step", "memory")] == ["light", "base", "light"]
    assert all(args.quick and args.device == "cpu" for _, args in calls)
    assert calls[2][1].batch == 512  # its own default


def test_one_small_net_for_all(calls: Calls) -> None:
    assert cli.main(["bench", "all", "--model", "small", "--batch", "8"]) == 0
    assert [name for name, _ in calls] == ["step", "augment", "loader", "memory"]
    assert all(args.batch == 8 and not args.quick for _, args in calls)
    assert [args.model for name, args in calls if name in ("step", "memory")] == ["small", "small"]


def test_a_benchmark_that_fails_costs_no_other(
    tmp_path: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(args: argparse.Namespace) -> Iterator[Figure]:
        yield Figure("half of it", 1.0, "images/s")
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(augment, "measure", broken)
    path = tmp_path / "all.json"
    with pytest.raises(ExceptionGroup) as group:
        cli.main(["bench", "all", "--quick", "--json", str(path)])
    assert [str(error) for error in group.value.exceptions] == ["no such kernel"]
    assert names(path) == ["step 1", "step 2", "half of it", "loader 3", "memory 4"]
    assert "bench augment --device auto --quick failed: no such kernel" in capsys.readouterr().err


def test_a_mistake_of_the_user_ends_it(
    calls: Calls, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(args: argparse.Namespace) -> Iterator[Figure]:
        raise UserError("no such device")

    monkeypatch.setattr(step, "measure", refused)
    assert cli.main(["bench", "all"]) == 2
    assert capsys.readouterr().err == "error: no such device\n"
    assert not calls


def test_each_figure_is_written_before_the_next_is_measured(
    tmp_path: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "all.json"

    def killed(args: argparse.Namespace) -> Iterator[Figure]:
        assert names(path) == ["step 1", "step 2", "augment 3", "loader 4"]
        assert "loader 4" in capsys.readouterr().out
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(memory, "measure", killed)
    assert cli.main(["bench", "all", "--json", str(path)]) == 130
    assert len(names(path)) == 4

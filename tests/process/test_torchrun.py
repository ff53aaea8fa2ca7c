"""What is read from the variables that torchrun sets."""

import pytest

from wrnexp.process.torchrun import VARIABLES, ProcessRank, process_rank

SET = dict(zip(VARIABLES, ("5", "8", "1", "4", "node1", "29500"), strict=True))


@pytest.fixture
def torchrun(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in SET.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_the_place_of_a_process(torchrun: pytest.MonkeyPatch) -> None:
    assert process_rank() == ProcessRank(rank=5, count=8, local=1, local_count=4)


@pytest.mark.parametrize("name", VARIABLES)
def test_a_part_of_the_variables_is_another_launchers(torchrun: pytest.MonkeyPatch, name: str) -> None:
    torchrun.delenv(name)
    assert process_rank() is None


def test_one_process_is_a_run_like_any_other(torchrun: pytest.MonkeyPatch) -> None:
    torchrun.setenv("WORLD_SIZE", "1")
    torchrun.setenv("RANK", "0")
    assert process_rank() is None

"""Selection and timing of a run's pictures."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.report.page.made import answers
from wrnexp.report.media import Media, Switches, draw_answers, drawing, pictures, read_mistakes
from wrnexp.runs.record import DataInfo, Record, Signature

CLASSES = ["cat", "dog", "fox"]
SIGNATURE = Signature(classes=CLASSES, mean=(0.5,) * 3, std=(0.2,) * 3, image_size=32)
DATA = DataInfo(name="folder", digest={}, signature=SIGNATURE, train=9, val=0, test=90)
RECORD = Record(run_id="0123456789", arm_id="9876543210", label="light", seed=0, data=DATA)
NONE = Switches(augmented=False, mistakes=False, confusion=False, reliability=False)
LABELS = np.arange(90) % 3
LOGITS = answers(np.random.default_rng(0), LABELS, 3, 1.0)
IMAGES = np.random.default_rng(1).integers(0, 256, (90, 32, 32, 3), dtype=np.uint8)


def drawn(folder: Path) -> set[str]:
    return {path.name for path in (folder / "media").iterdir()} if (folder / "media").exists() else set()


class Loader:
    """Counts the calls of `preview`."""

    def __init__(self) -> None:
        self.asked = 0

    def preview(self, count: int) -> tuple[Any, Any]:
        self.asked += 1
        return np.zeros((count, 3, 32, 32), np.float32), np.arange(count) % 3


@pytest.mark.parametrize("name", [field.name for field in fields(Switches)])
def test_each_picture_has_its_switch(tmp_path: Path, name: str) -> None:
    media = Media(**vars(replace(NONE, **{name: True})))
    media.before(tmp_path, RECORD, Loader())
    media.after(tmp_path, RECORD, LOGITS, LABELS, IMAGES.__getitem__)
    assert drawn(tmp_path) == {f"{name}.png"} | ({"mistakes.json"} if name == "mistakes" else set())
    (picture,) = pictures(tmp_path)
    assert (picture.name, picture.path) == (f"media/{name}", tmp_path / "media" / f"{name}.png")
    assert picture.caption.endswith(".")


def test_all_are_on_and_listed_in_order(tmp_path: Path) -> None:
    assert pictures(tmp_path) == []
    Media().after(tmp_path, RECORD, LOGITS, LABELS, IMAGES.__getitem__)
    Media().before(tmp_path, RECORD, Loader())
    names = [picture.name for picture in pictures(tmp_path)]
    assert names == ["media/augmented", "media/mistakes", "media/confusion", "media/reliability"]


def test_the_grid_is_drawn_once_a_run(tmp_path: Path) -> None:
    loader = Loader()
    for _ in range(2):
        Media().before(tmp_path, RECORD, loader)
    assert loader.asked == 1
    assert drawn(tmp_path) == {"augmented.png"}


def test_a_loader_without_a_preview_has_no_grid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Media().before(tmp_path, RECORD, object())
    assert drawn(tmp_path) == set()
    assert capsys.readouterr().err == ""


def test_pictures_can_be_drawn_again_from_predictions(tmp_path: Path) -> None:
    sharp = LOGITS.astype(np.float32) + 1e-4  # float16 rounds it
    Media().after(tmp_path / "run", RECORD, sharp, LABELS, IMAGES.__getitem__)
    draw_answers(tmp_path / "later", RECORD, sharp.astype(np.float16), LABELS, IMAGES)
    assert len(drawn(tmp_path / "run")) == 4
    for path in (tmp_path / "run" / "media").iterdir():
        assert path.read_bytes() == (tmp_path / "later" / "media" / path.name).read_bytes()
    assert np.array_equal(
        read_mistakes(tmp_path / "later")[0]["tile"], IMAGES[read_mistakes(tmp_path / "run")[0]["index"]]
    )


def test_without_images_there_are_no_mistakes(tmp_path: Path) -> None:
    draw_answers(tmp_path, RECORD, LOGITS, LABELS)
    assert drawn(tmp_path) == {"confusion.png", "reliability.png"}


def test_a_picture_that_cannot_be_drawn_is_skipped_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(drawing, "draw_confusion", broken)
    monkeypatch.setattr(drawing, "draw_grid", broken)
    Media().before(tmp_path, RECORD, Loader())
    Media().after(tmp_path, RECORD, LOGITS, LABELS, IMAGES.__getitem__)
    assert drawn(tmp_path) == {"mistakes.png", "mistakes.json", "reliability.png"}
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" was not drawn ")[0] for line in lines] == ["media/augmented.png", "media/confusion.png"]
    assert all("No space left on device" in line for line in lines)


def test_logits_that_are_not_finite_are_not_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logits = LOGITS.copy()
    logits[3, 1] = np.nan
    draw_answers(tmp_path, RECORD, logits, LABELS, IMAGES)
    assert drawn(tmp_path) == set()
    assert capsys.readouterr().err.count("the logits are not all finite") == 3

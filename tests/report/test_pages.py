import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from wrnexp.process.terminal import Terminal
from wrnexp.report.build import build, compare
from wrnexp.report.format import listed, p_value, seconds, times
from wrnexp.report.tables import PairRow, Report
from wrnexp.report.text.console import print_report
from wrnexp.report.text.summary_text import pair_sentence
from wrnexp.stats import Equivalence, Paired, Verdict

WriteRun = Callable[..., Path]

BASE = [0.7100, 0.7120, 0.7140, 0.7110, 0.7090]
LIGHT = [0.6990, 0.6997, 0.7021, 0.6986, 0.6967]


@pytest.fixture
def report(write_run: WriteRun, outputs: Path, tmp_path: Path) -> Report:
    for seed, (base, light) in enumerate(zip(BASE, LIGHT, strict=True)):
        write_run("base", seed, base, cost={"peak_memory_bytes": 2**33, "parameters": 36_536_884})
        write_run("light", seed, light, cost={"peak_memory_bytes": 2**32}, curve=[0.1, 0.5])
    write_run("light", 9, 0.5, status="failed", error="OutOfMemoryError: [CUDA] a|b")
    return build([outputs], tmp_path / "report")


def _page(report: Report) -> str:
    return (report.folder / "report.md").read_text()


@pytest.mark.parametrize(
    ("older", "words"),
    [
        ([], None),
        (["base"], "runs of base: their training seconds and seconds to an accuracy include start and compilation, "
         "those of the other runs do not: they do not compare."),
        (["base", "light"], "trained all runs: their training seconds and seconds to an accuracy include start and "
         "compilation."),
    ],
)  # fmt: skip
def test_times_of_older_records_are_marked(
    write_run: WriteRun, outputs: Path, tmp_path: Path, older: list[str], words: str | None
) -> None:
    for label in ("base", "light"):
        write_run(label, 0, 0.7, cost={"start_seconds": None} if label in older else {})
    page = _page(build([outputs], tmp_path / "report"))
    assert re.findall(r"^\| (\w+) \|.*\| 1,000† \|", page, re.MULTILINE) == older
    assert ("earlier version" in page) == bool(older)
    assert words is None or words in page


@pytest.mark.parametrize(
    ("test", "verdict", "needed", "expected"),
    [
        (
            Paired(5, -0.0120, (-0.0160, -0.0080), 0.001, 0.003),
            "worse",
            3,
            "light is 1.20 points worse than base, 95% interval 0.80 to 1.60, 5 seeds.",
        ),
        (
            Paired(5, 0.0120, (0.0080, 0.0160), 0.001, 0.003),
            "better",
            3,
            "light is 1.20 points better than base, 95% interval 0.80 to 1.60, 5 seeds.",
        ),
        (
            Paired(5, -0.0020, (-0.0055, 0.0015), 0.2, 0.0025),
            "unresolved",
            14,
            "light against base is unresolved: 0.20 points worse on average, 95% interval of the difference -0.55 to "
            "+0.15, 5 seeds; needs about 14 seeds an arm.",
        ),
        (
            Paired(3, 0.0, (-0.005, 0.005), 1.0, 0.002),
            "unresolved",
            None,
            "light against base is unresolved: 0.00 points, 95% interval of the difference -0.50 to +0.50, 3 seeds.",
        ),
        (
            Paired(1, 0.0100, None, None, None),
            "unresolved",
            None,
            "light against base is unresolved: 1.00 points better on average, from 1 seed, which gives no interval.",
        ),
        (
            Paired(4, 0.0100, None, None, 0.0),
            "unresolved",
            None,
            "light against base is unresolved: 1.00 points better on average, the same in all 4 seeds, which gives no "
            "interval: check that the seeds change the training.",
        ),
        (
            Paired(0, None, None, None, None),
            "unresolved",
            None,
            "light against base is unresolved: they have no seed in common.",
        ),
    ],
)
def test_pair_sentences(test: Paired, verdict: Verdict, needed: int | None, expected: str) -> None:
    apart = Equivalence(0.01, 0.3, (-0.02, 0.02), equivalent=False)
    assert pair_sentence(PairRow("base", "light", test, test.p, verdict, needed, apart)) == expected
    alike = Equivalence(0.01, 0.0321, (-0.002, 0.001), equivalent=True)
    said = pair_sentence(PairRow("base", "light", test, test.p, verdict, needed, alike))
    if test.difference is not None:
        assert said == f"{expected[:-1]}; within 1 point either way (equivalence, p 0.032)."


def test_the_page_opens_with_what_was_found(report: Report) -> None:
    assert _page(report).split("## Arms")[0] == (
        "# Report\n\n"
        "2 arms with 10 runs on cifar100; mean test accuracy: base 71.12% and light 69.92%.\n\n"
        "light is 1.20 points worse than base, 95% interval 1.13 to 1.27, 5 seeds.\n\n"
        "Of 9 claims: 6 not measured, 1 refuted, 1 supported and 1 underpowered.\n\n"
    )


def test_the_tables_of_the_page(report: Report) -> None:
    page = _page(report)
    assert "| base | 5 | 71.12 | 0.19 | 70.88 to 71.36 | 1.200 | 0.050 | 1,002 | - | 8,192 MiB | 36,536,884 |" in page
    assert "| light | base | 5 | -1.20 | -1.27 to -1.13 |" in page
    assert "| model.depth | 28 | 16 |" in page
    assert r"| run-light-9 | outputs/light/arm-light-9: status is failed (OutOfMemoryError: \[CUDA] a\|b) |" in page
    assert "| base, light | 10 | 28e0455 | no | NVIDIA H200 | 2.14.1 | 3.11.9 |" in page


def test_the_page_says_how_the_test_set_was_used(report: Report) -> None:
    page = _page(report)
    assert "that of the last epoch's weights" in page
    assert "Times that the test set was read in a run: base 101, light 101." in page


def test_the_page_shows_the_plots_that_lie_beside_it(report: Report) -> None:
    for name in ("accuracy.png", "learning_curves.png", "accuracy_time.png"):
        assert f"({name})" in _page(report)
        assert (report.folder / name).is_file()


def test_differing_looks_and_machines_are_said(write_run: WriteRun, outputs: Path, tmp_path: Path) -> None:
    write_run("base", 0, 0.7, test_looks=1, provenance={"git_dirty": True})
    write_run("base", 1, 0.7, test_looks=100, provenance={"device": "NVIDIA H100", "torch": "2.11.0"})
    write_run("old", 2, 0.7, arm_id="arm-base", provenance={"git_commit": None})
    page = _page(build([outputs], tmp_path / "report"))
    assert "base 1 to 101" in page
    assert "Warning: 1 run had uncommitted changes" in page
    assert "Warning: the runs were made on different devices (NVIDIA H200 and NVIDIA H100)" in page
    assert "Warning: the runs were made with different code or versions" in page
    assert "| base | 1 | unknown | no | NVIDIA H200 | 2.14.1 | 3.11.9 |" in page
    assert "Runs of base are labelled base and old." in page
    assert "## Pairs" not in page
    assert "No run was left out." in page


def test_many_arms_are_counted_not_told_one_by_one(write_run: WriteRun, outputs: Path, tmp_path: Path) -> None:
    for index, shift in enumerate((0.0, 0.03, -0.03, 0.0001, 0.0002)):
        for seed in range(5):
            write_run(f"lr={index}", seed, 0.7 + shift + 0.001 * ((7 * seed + 3 * index) % 5))
    page = _page(build([outputs], tmp_path / "report"))
    assert "the highest mean test accuracy is 73.20% (lr=1)." in page
    expected = "Of 4 arms against lr=0: 1 better (lr=1); 1 worse (lr=2); 2 unresolved (corrected for 4 comparisons)."
    assert expected in page


def test_arms_of_one_label_are_explained(write_run: WriteRun, outputs: Path, tmp_path: Path) -> None:
    for rate in (1, 2):
        write_run("base", 0, 0.7, arm_id=str(rate), config={"lr": rate})
    page = _page(build([outputs], tmp_path / "report"))
    assert "2 arms are labelled base by their records" in page
    assert "| lr | 1 | 2 |" in page


def test_the_terminal_shows_arms_sentences_claims_and_the_path(report: Report) -> None:
    out = io.StringIO()
    print_report(report, Terminal(file=out, width=100))
    shown = out.getvalue()
    assert "arm    n  accuracy %    95% interval  training s  images/s  peak memory" in shown
    assert "71.12  70.88 to 71.36" in shown
    assert "light is 1.20 points worse than base, 95% interval 1.13 to 1.27, 5 seeds." in shown
    assert "0.50 times (0.50 to 0.50), 5 seeds" in shown
    assert "1 run left out" in shown
    assert f"Report: {report.folder / 'report.md'}" in shown


def test_brackets_in_labels_are_not_markup(write_run: WriteRun, outputs: Path, tmp_path: Path) -> None:
    for label in ("[bold]x", "a|b", "$x^$"):
        write_run(label, 0, 0.7, folder=label.replace("|", "-"))
    out = io.StringIO()
    report = build([outputs], tmp_path / "report")
    print_report(report, Terminal(file=out, width=100))
    assert "[bold]x" in out.getvalue()
    assert r"| a\|b | 1 |" in _page(report)


def test_labels_fit_into_a_narrow_terminal(write_run: WriteRun, outputs: Path, tmp_path: Path) -> None:
    for label in ("demo_base", "demo_light"):
        for seed, accuracy in enumerate((0.799, 0.84)):
            write_run(label, seed, accuracy, cost={"images_per_second": 2000.0, "peak_memory_bytes": 2**33})
    out = io.StringIO()
    print_report(build([outputs], tmp_path / "report"), Terminal(file=out, width=80))
    row = next(line for line in out.getvalue().splitlines() if line.startswith("demo_light "))
    assert row.endswith("2       81.95  55.90 to 108.00       1,000     2,000    8,192 MiB")


def test_claims_elsewhere_are_marked_in_the_summary(write_run: WriteRun, outputs: Path, tmp_path: Path) -> None:
    for label in ("demo_base", "demo_light"):
        write_run(label, 0, 0.7, data={"name": "shapes"})
    page = _page(compare("demo_base", "demo_light", [outputs], tmp_path / "report"))
    assert "on what is not the setting of the claims (CIFAR-100 in full on a GPU)." in page.split("## Arms")[0]
    assert "Measured on: not the setting of the claims" in page


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (seconds(1234.5), "1,234"),
        (seconds(3.14159), "3.14"),
        (seconds(None), "-"),
        (times(0.755), "0.76"),
        (times(0.0123), "0.012"),
        (p_value(0.04321), "0.043"),
        (p_value(3e-6), "<0.0001"),
        (listed(["a"]), "a"),
        (listed(["a", "b", "c"]), "a, b and c"),
        (listed([]), ""),
    ],
)
def test_wording(shown: str, expected: str) -> None:
    assert shown == expected

"""Mode and API key are resolved without a prompt or request."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from wrnexp.tracking.wandb import account
from wrnexp.tracking.wandb.account import configure_sdk, resolve_mode


@pytest.mark.parametrize(
    ("mode", "environment", "settled"),
    [
        ("auto", {}, "offline"),
        ("auto", {"WANDB_API_KEY": "0" * 40}, "online"),
        ("auto", {"WANDB_MODE": "disabled"}, "disabled"),
        ("auto", {"WANDB_MODE": "offline", "WANDB_API_KEY": "0" * 40}, "offline"),
        ("auto", {"WANDB_MODE": "dryrun"}, "offline"),
        ("disabled", {"WANDB_MODE": "online"}, "disabled"),
        ("online", {}, "offline"),
        ("auto", {"WANDB_MODE": "online"}, "offline"),
        ("online", {"WANDB_API_KEY": "0" * 40}, "online"),
        ("auto", {"WANDB_MODE": "bogus", "WANDB_API_KEY": "0" * 40}, "offline"),
        ("auto", {"WANDB_MODE": "", "WANDB_API_KEY": "0" * 40}, "online"),
    ],
)
def test_the_mode_is_never_a_question(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: str, environment: dict[str, str], settled: str
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert resolve_mode(mode) == settled


@pytest.mark.parametrize("address", ["wandb.example", "wandb.example:8080"])
def test_a_key_in_netrc_is_a_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str) -> None:
    pytest.importorskip("wandb")
    path = tmp_path / "netrc"
    path.write_text(f"machine {address} login user password 0000\n")
    path.chmod(0o600)
    monkeypatch.setenv("NETRC", str(path))
    assert resolve_mode("auto") == "offline"
    monkeypatch.setenv("WANDB_BASE_URL", f"https://{address}")
    assert resolve_mode("auto") == "online"


def test_what_the_user_has_set_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(account, "_OURS", set())
    monkeypatch.setenv("WANDB_SILENT", "false")
    for name in ("WANDB_DATA_DIR", "WANDB_ERROR_REPORTING"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    configure_sdk(tmp_path / "one")
    configure_sdk(tmp_path / "two")  # the next run of a sweep
    assert os.environ["WANDB_SILENT"] == "false"
    assert os.environ["WANDB_ERROR_REPORTING"] == "false"
    assert os.environ["WANDB_DATA_DIR"] == str(tmp_path / "two")


def test_a_home_that_cannot_be_written_is_not_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(account, "_OURS", set())
    for name in ("WANDB_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    configure_sdk(tmp_path)
    assert "WANDB_CACHE_DIR" not in os.environ
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    configure_sdk(tmp_path)
    assert os.environ["WANDB_CACHE_DIR"] == str(tmp_path / "cache")


def test_a_run_without_wandb_does_not_import_its_sdk() -> None:
    code = "import sys, wrnexp.tracking.wandb; sys.exit('wandb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], timeout=240).returncode == 0

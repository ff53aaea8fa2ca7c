"""Where caches lie."""

from pathlib import Path

import pytest

from wrnexp.runs.cache import cache_folder


def test_the_cache_is_the_users_unless_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WRNEXP_CACHE", "~/somewhere")
    assert cache_folder() == Path.home() / "somewhere"
    monkeypatch.delenv("WRNEXP_CACHE")
    assert cache_folder().name == "wrnexp"

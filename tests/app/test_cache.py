"""The compilation cache holds machine code: only a folder that nobody else can write to is used."""

import os
from pathlib import Path

import jax
import pytest

from recurvature._errors import InputError
from recurvature.app import cache


def test_the_folder_follows_the_standard(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    assert cache.cache_folder() == tmp_path / "elsewhere/recurvature/xla"
    for ignored in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert cache.cache_folder() == tmp_path / ".cache/recurvature/xla"


def test_a_new_folder_is_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        folder = cache.private_folder(tmp_path / "a/xla")
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert cache.private_folder(folder) == folder


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_folder_that_others_can_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "xla"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(InputError, match="chmod 700"):
        cache.private_folder(folder)


def test_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "xla").symlink_to(tmp_path / "real")
    with pytest.raises(InputError, match="link"):
        cache.private_folder(tmp_path / "xla")


def test_a_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: mine + 1)
    with pytest.raises(InputError, match="another user"):
        cache.private_folder(tmp_path / "xla")


def test_without_a_safe_folder_the_work_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    before = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    assert cache.use_cache() is None
    assert jax.config.jax_compilation_cache_dir == before  # type: ignore[attr-defined]
    assert capsys.readouterr().err.startswith("warning: compilation cache")

"""An error of the operating system names the setting whose folder it is about."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from kpc.errors import ConfigError, KpcError, OutOfSpace, Transient
from kpc.file_errors import naming
from kpc.settings import ReconcileSettings, Settings, StagingSettings
from kpc.stages.setting_folders import explained_by_setting


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    staging = StagingSettings(root=f"{tmp_path}/kpc/staging", archive_root="kpc/archive", scratch=Path("kpc"))
    return Settings(staging=staging, reconcile=ReconcileSettings(docs_root=Path("kpc/docs")))


def error(number: int, path: Path | str | None = None) -> OSError:
    return OSError(number, os.strerror(number), None if path is None else str(path))


@pytest.mark.parametrize(
    ("path", "setting"),
    [
        ("kpc/staging/a/b.csv", "KPC__STAGING__ROOT"),
        ("kpc/archive", "KPC__STAGING__ARCHIVE_ROOT"),
        ("kpc/docs/gx/x.json", "KPC__RECONCILE__DOCS_ROOT"),
        ("kpc/other", "KPC__STAGING__SCRATCH"),
        ("/etc/elsewhere", "/etc/elsewhere"),
    ],
)
@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP])
def test_the_innermost_folder_counts(path: str, setting: str, number: int, settings: Settings) -> None:
    """Whether the path is relative or absolute."""
    for each in (path, Path(path).absolute()):
        explained = explained_by_setting(error(number, each), settings)
        assert isinstance(explained, ConfigError)
        assert setting in explained.what
        assert os.strerror(number) in explained.what


KINDS: dict[str, tuple[OSError, type[KpcError], str]] = {
    "full": (error(errno.ENOSPC, "kpc/docs/x"), OutOfSpace, "KPC__RECONCILE__DOCS_ROOT"),
    "full, as polars says it": (OSError("No space left on device (os error 28)"), OutOfSpace, "disk"),
    "over the quota": (error(errno.EDQUOT), OutOfSpace, "disk"),
    "a disk that fails": (error(errno.EIO, "kpc/staging/x"), Transient, "KPC__STAGING__ROOT"),
    "a file server that restarts": (error(errno.ESTALE, "kpc/staging/x"), Transient, "KPC__STAGING__ROOT"),
    "a connection": (ConnectionResetError(errno.ECONNRESET, "reset"), Transient, "connection"),
    "too many files": (error(errno.EMFILE, "kpc/staging/x"), ConfigError, "ulimit -n"),
    "no temporary folder": (FileNotFoundError(2, "No usable temporary directory found in []"), ConfigError, "TMPDIR"),
    "without number or path": (OSError("strange"), ConfigError, "OSError"),
}


@pytest.mark.parametrize(("found", "kind", "named"), KINDS.values(), ids=list(KINDS))
def test_the_kind_decides_whether_it_is_repeated(
    found: OSError, kind: type[KpcError], named: str, settings: Settings
) -> None:
    explained = explained_by_setting(found, settings)
    assert type(explained) is kind
    assert named in str(explained)


def test_an_option_is_named_only_for_its_own_file(tmp_path: Path) -> None:
    """An error of another file that the command reads meanwhile passes."""
    file = tmp_path / "out.csv"
    with pytest.raises(ConfigError, match="--export"), naming("--export", file):
        raise error(errno.EROFS, tmp_path / ".out.csv.1.part")
    with pytest.raises(OSError, match="staging"), naming("--export", file):
        raise error(errno.EROFS, "/srv/staging/x")

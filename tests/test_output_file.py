"""Files are written whole or not at all."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from fastlin.errors import OutputError
from fastlin.output_file import check_writable, replacing


def test_content_arrives_only_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "result.csv"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.suffix == ".csv"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError])
def test_an_interruption_leaves_the_old_content(tmp_path: Path, stop: type[BaseException]) -> None:
    path = tmp_path / "result.csv"
    path.write_text("old")

    def write_half() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise stop

    with pytest.raises(stop):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    with replacing(tmp_path / "link.csv") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text() == "new"


def test_the_new_file_has_ordinary_permissions(tmp_path: Path) -> None:
    (tmp_path / "ordinary").touch()
    with replacing(tmp_path / "result") as temporary:
        temporary.write_text("new")
    assert stat.S_IMODE((tmp_path / "result").stat().st_mode) == stat.S_IMODE(
        (tmp_path / "ordinary").stat().st_mode
    )


def test_checking_writes_nothing(tmp_path: Path) -> None:
    check_writable(tmp_path / "new.csv")
    assert not list(tmp_path.iterdir())
    (tmp_path / "old.csv").write_text("old")
    check_writable(tmp_path / "old.csv")
    assert (tmp_path / "old.csv").read_text() == "old"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("", "it is a folder"),
        ("none/result.csv", "there is no folder '.*none'; create it first"),
        ("/dev/null", "no regular file"),
        ("/proc/result.csv", "cannot write '/proc/result.csv'"),
    ],
)
def test_places_that_cannot_be_written(tmp_path: Path, path: str, said: str) -> None:
    with pytest.raises(OutputError, match=said):
        check_writable(tmp_path / path)
    with pytest.raises(OutputError, match=said), replacing(tmp_path / path) as temporary:
        temporary.write_text("new")

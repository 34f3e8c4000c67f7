"""Files are written whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from fastlin import LogisticRegression
from fastlin.errors import OutputError
from fastlin.results.output_file import check_writable, replacing


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


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("bits", [0o640, 0o600, 0o664, 0o444])
def test_a_file_that_is_replaced_keeps_its_mode(tmp_path: Path, bits: int) -> None:
    path = tmp_path / "result.csv"
    path.write_text("old")
    path.chmod(bits)
    with replacing(path) as temporary:
        assert mode(temporary) & ~mode(path) & 0o077 == 0, "nobody else reads it meanwhile"
        temporary.write_text("new")
    assert mode(path) == bits
    assert path.read_text() == "new"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_that_is_replaced_keeps_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "result.csv"
    path.write_text("old")
    os.chown(path, 12345, 54321)
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 54321)


@pytest.mark.parametrize("name", ["n" * 251 + ".csv", "n." + "s" * 253, "." * 2 + "n" * 253])
def test_the_longest_names(tmp_path: Path, name: str) -> None:
    assert len(name) == 255
    check_writable(tmp_path / name)
    with replacing(tmp_path / name) as temporary:
        temporary.write_text("new")
    assert (tmp_path / name).read_text() == "new"
    for write in (check_writable, lambda path: replacing(path).__enter__()):
        with pytest.raises(OutputError, match="too long"):
            write(tmp_path / (name + "n"))
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_each_has_a_temporary_file_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "result.csv"
    with replacing(path) as one, replacing(path) as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


def test_readers_of_what_many_write_find_it_whole(tmp_path: Path) -> None:
    path = tmp_path / "result.csv"
    texts = {f"{number}" * 20_000 for number in range(4)}
    wrong: list[str] = []
    start = threading.Barrier(len(texts))

    def write(text: str) -> None:
        start.wait(timeout=60)
        for _ in range(40):
            try:
                with replacing(path) as temporary, temporary.open("w") as file:
                    for first in range(0, len(text), 5_000):
                        file.write(text[first : first + 5_000])
                        file.flush()
                found = path.read_text()
                if found not in texts:
                    wrong.append(found[:20])
            except OSError as error:
                wrong.append(str(error))

    threads = [threading.Thread(target=write, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert not wrong
    assert list(tmp_path.iterdir()) == [path]


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
        ("/dev/null", "not a regular file"),
        ("/proc/result.csv", "cannot write '/proc/result.csv'"),
    ],
)
def test_places_that_cannot_be_written(tmp_path: Path, path: str, said: str) -> None:
    with pytest.raises(OutputError, match=said):
        check_writable(tmp_path / path)
    with pytest.raises(OutputError, match=said), replacing(tmp_path / path) as temporary:
        temporary.write_text("new")


@pytest.mark.parametrize("name", ["loop.csv", "one.csv", "loop.csv/x.csv", "a\0b", "x/" * 3000])
def test_names_that_lead_nowhere(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    (tmp_path / "one.csv").symlink_to("other.csv")
    (tmp_path / "other.csv").symlink_to("one.csv")
    for write in (check_writable, lambda path: replacing(path).__enter__()):
        with pytest.raises(OutputError, match="cannot write") as caught:
            write(f"{tmp_path}/{name}")
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize("place", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "/dev/stderr"])
def test_a_stream_is_not_replaced_by_a_file(tmp_path: Path, place: str) -> None:
    """Where it leads to a file, that would be replaced under whoever writes to it."""
    program = (
        f"from fastlin.results.output_file import check_writable, replacing\n"
        f"for write in (check_writable, lambda path: replacing(path).__enter__()):\n"
        f"    try: write({place!r})\n"
        f"    except OSError as error: print(error, flush=True)\n"
    )
    with (tmp_path / "log").open("w") as log:
        done = subprocess.run(
            [sys.executable, "-c", program], stdout=log, stderr=log, timeout=60, check=False
        )
    assert done.returncode == 0
    refusal = f"cannot write '{place}': it is not a regular file; a file name is needed\n"
    assert (tmp_path / "log").read_text() == 2 * refusal


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder of a read-only file system, which holds one file."""
    folder = tmp_path / "disk"
    folder.mkdir()
    script = f"mount -t tmpfs none '{folder}' && touch '{folder}/old.npz' && mount -o remount,ro "
    mounted = subprocess.run(["sh", "-c", f"{script}'{folder}'"], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("file systems cannot be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("name", ["old.npz", "new.npz"])
def test_a_read_only_file_system(read_only: Path, name: str) -> None:
    for write in (check_writable, lambda path: replacing(path).__enter__()):
        with pytest.raises(OutputError) as caught:
            write(read_only / name)
        assert str(caught.value) == f"cannot write '{read_only / name}': Read-only file system"


def test_a_disk_that_becomes_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    def write() -> None:
        with replacing(tmp_path / "result.csv") as temporary:
            temporary.write_text("new")
            monkeypatch.setattr(Path, "replace", refuse)
            monkeypatch.setattr(Path, "unlink", refuse)

    with pytest.raises(OutputError) as caught:
        write()
    said = f"cannot write '{tmp_path / 'result.csv'}': Read-only file system"
    assert str(caught.value) == said


WRITERS = {
    "model": lambda folder: LogisticRegression.load(folder / "m.npz").save(folder / "w.npz"),
    "figure": lambda folder: LogisticRegression.load(folder / "m.npz").history_.plot(
        folder / "w.png"
    ),
}


@pytest.mark.parametrize("what", WRITERS)
def test_each_writer_replaces_at_once_and_hides_its_temporary_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    rows = np.random.default_rng(0).normal(size=(40, 2))
    model = LogisticRegression(max_epochs=2, backend="numpy").fit(rows, rows[:, 0] > 0)
    model.save(tmp_path / "m.npz")
    WRITERS[what](tmp_path)
    (written,) = tmp_path.glob("w.*")
    written.chmod(0o640)
    WRITERS[what](tmp_path)
    assert mode(written) == 0o640
    before = written.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", ".fastlin-0123")

    monkeypatch.setattr("fastlin.results.model_file.write_arrays", full)
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", full)
    with pytest.raises(OutputError, match=r"cannot write '.*w.*': No space left on device$"):
        WRITERS[what](tmp_path)
    assert written.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["m.npz", written.name])


@pytest.mark.parametrize("work", [check_writable, lambda path: replacing(path).__enter__()])
def test_a_signal_right_after_the_temporary_file_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: Callable[[Path], object]
) -> None:
    def interrupted(descriptor: int) -> None:
        real(descriptor)
        raise KeyboardInterrupt

    real = os.close
    monkeypatch.setattr(os, "close", interrupted)
    with pytest.raises(KeyboardInterrupt):
        work(tmp_path / "file")
    monkeypatch.undo()
    assert not list(tmp_path.iterdir())

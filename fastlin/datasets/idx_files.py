"""Images and labels in pairs of idx files, found by their names."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from fastlin.datasets import idx
from fastlin.datasets.dataset import FILES, Part
from fastlin.errors import InputError

_TRAIN_IMAGES = "train-images-idx3-ubyte"
_TRAIN = re.compile(r"train(?=[-_.]?images)")


def read_folder(folder: Path) -> tuple[Part, Part | None]:
    """Read the idx files in a folder, or in folders inside it that have the files' names."""
    names = [folder / name for name in (_TRAIN_IMAGES, f"{_TRAIN_IMAGES}.gz")]
    train = next((path for path in names if path.is_file()), None)
    if train is None:
        inside = sorted(folder.iterdir())
        inside += [path / path.name for path in inside]
        found = [path for path in inside if _TRAIN.search(path.name) and path.is_file()]
        bare = {path.with_name(path.name.removesuffix(".gz")): path for path in found}
        if len(bare) > 1:
            raise InputError(
                f"is a folder with {len(bare)} files of training images; give the path of one, "
                f"such as {found[0]}"
            )
        train = next(iter(bare.values()), None)
    if train is None:
        raise InputError(
            f"is a folder without {_TRAIN_IMAGES} or {_TRAIN_IMAGES}.gz; expected {FILES}"
        )
    return read_pair(train)


def read_pair(path: Path) -> tuple[Part, Part | None]:
    """Return images with the labels beside them, and the validation pair beside them, if any."""
    rows = idx.read(path)
    if "images" not in path.name:
        raise InputError(
            "an idx file of images has 'images' in its name, so that its labels can be found "
            f"beside it; rename the pair to {_TRAIN_IMAGES} and train-labels-idx1-ubyte, say"
        )
    train = rows, idx.read(_idx_labels(path))
    if _TRAIN.search(path.name):
        for part in ("t10k", "test"):
            for val_path in _renamed(path, partial(_TRAIN.sub, part)):
                if val_path.is_file():
                    return train, (idx.read(val_path), idx.read(_idx_labels(val_path)))
    return train, None


def _idx_labels(images: Path) -> Path:
    """Return the file of labels that belongs to a file of images."""
    places = _renamed(images, lambda name: name.replace("images", "labels").replace("idx3", "idx1"))
    for place in places:
        if place.is_file():
            return place
    names = " or ".join(place.name for place in places[:2])
    raise InputError(f"no labels beside it; expected {names} in the same folder")


def _renamed(path: Path, change: Callable[[str], str]) -> list[Path]:
    """Return the paths that a renamed file may have, also in a folder renamed in the same way."""
    folders = [path.parent]
    if change(path.parent.name) != path.parent.name:
        folders.append(path.parent.with_name(change(path.parent.name)))
    names = _with_or_without_gz(change(path.name))
    return [folder / name for folder in folders for name in names]


def _with_or_without_gz(name: str) -> list[str]:
    return [name, name.removesuffix(".gz") if name.endswith(".gz") else f"{name}.gz"]

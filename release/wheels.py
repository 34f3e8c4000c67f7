"""Build wheels for several systems here, and check them: ``python release/wheels.py [FOLDER]``.

The C backend is compiled by Zig's C compiler, which comes as a Python package and knows the C
library of each system, so old ones of Linux too. One wheel serves every Python from 3.11 on. What
each library needs, and which symbols of Python it uses, is inspected by the ecosystem's own tools.

A system whose C library lacks POSIX threads (Windows) gets the wheel without the C backend, which
runs everywhere: Numba and NumPy are there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ZIG = f"{sys.executable} -m ziglang cc"


@dataclass(frozen=True)
class Target:
    """A system to build for.

    Attributes
    ----------
    zig : str
        What Zig calls it, the version of its C library included; empty: without the C backend.
    tag : str
        Platform in the wheel's name.
    magic : bytes
        First bytes of its libraries; for Linux ``auditwheel`` tells the machine.
    link : str
        Options that make a library of the objects.
    """

    zig: str
    tag: str
    magic: bytes = b""
    link: str = "-shared"


ELF = b"\x7fELF\x02\x01\x01"
MACH_O = {  # 64 bits, and the number of the processor's kind
    "x86_64": b"\xcf\xfa\xed\xfe\x07\x00\x00\x01",
    "arm64": b"\xcf\xfa\xed\xfe\x0c\x00\x00\x01",
}
LOOK_UP = "-dynamiclib -undefined dynamic_lookup"

TARGETS = (
    Target("x86_64-linux-gnu.2.17", "manylinux_2_17_x86_64", ELF),
    Target("aarch64-linux-gnu.2.17", "manylinux_2_17_aarch64", ELF),
    Target("x86_64-macos.11.0", "macosx_11_0_x86_64", MACH_O["x86_64"], LOOK_UP),
    Target("aarch64-macos.11.0", "macosx_11_0_arm64", MACH_O["arm64"], LOOK_UP),
    Target("", "any"),
)


def run(*command: object, folder: Path, **variables: str) -> str:
    """Run a command, and return what it printed; end with it if the command fails."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}")
    return done.stdout


def build(source: Path, target: Target, folder: Path) -> Path:
    """Build a wheel from an unpacked source distribution."""
    with tempfile.TemporaryDirectory(prefix="fastlin-wheel-") as temporary:
        copy, made = Path(temporary, "source"), Path(temporary, "made")
        shutil.copytree(source, copy)
        options = ["--no-isolation", "--wheel", "--outdir", made]
        variables = {"FASTLIN_SKIP_C": "1"}
        if target.zig:
            compiler = f"{ZIG} -target {target.zig}"
            variables = {
                "CC": compiler,
                "LDSHARED": f"{compiler} {target.link}",
                "FASTLIN_REQUIRE_C": "1",
                "FASTLIN_SKIP_C": "",
            }
            options.append(f"-C--build-option=--plat-name={target.tag}")
        run(sys.executable, "-m", "build", *options, copy, folder=copy, **variables)
        (wheel,) = made.iterdir()
        name = wheel.name
        if not target.zig:  # nothing in it is made for a system or a version of Python
            tags = ["wheel", "tags", "--remove", "--python-tag=py3", "--abi-tag=none"]
            tagged = run(sys.executable, "-m", *tags, "--platform-tag=any", wheel, folder=made)
            name = tagged.strip().splitlines()[-1]
        return Path(shutil.move(made / name, folder / name))


def inspect(wheel: Path, target: Target) -> list[str]:
    """Return what is wrong with a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        libraries = {
            name: archive.read(name)
            for name in archive.namelist()
            if name.endswith((".so", ".pyd"))
        }
    if not target.zig:
        return [f"{name} is in it" for name in libraries]
    if list(libraries) != ["fastlin/_native.abi3.so"]:
        return [f"its libraries are {list(libraries)}"]
    wrong = []
    (library,) = libraries.values()
    if not library.startswith(target.magic):
        wrong.append("its library is of another system")
    audit = run(sys.executable, "-m", "abi3audit", "--strict", "--report", wheel, folder=ROOT)
    if '"is_abi3_baseline_compatible": false' in audit.replace('":f', '": f'):
        wrong.append(f"it uses more of Python than its name says: {audit}")
    if target.magic == ELF:
        shown = run(sys.executable, "-m", "auditwheel", "show", wheel, folder=ROOT)
        text = " ".join(shown.split())
        found = re.search(r'constrains the platform tag to "(\w+)"', text)
        consistent = re.search(r'consistent with the following platform tag: "(\w+)"', text)
        tag = found or consistent
        if tag is None or not at_most(tag[1], target.tag):
            wrong.append(f"auditwheel: {text}")
        if "libgomp" in text:
            wrong.append("it needs OpenMP's runtime")
    return wrong


def at_most(tag: str, limit: str) -> bool:
    """Whether a platform tag asks for no newer C library than another."""
    versions = [re.match(r"manylinux_(\d+)_(\d+)_(\w+)", each) for each in (tag, limit)]
    if None in versions:
        return False
    (*a, system), (*b, other) = (match.groups() for match in versions if match)
    return system == other and [*map(int, a)] <= [*map(int, b)]


def main(arguments: Sequence[str]) -> None:
    """Build the source distribution and all wheels, and inspect them."""
    folder = Path(arguments[0] if arguments else ROOT / "dist").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for old in [*folder.glob("fastlin-*.whl"), *folder.glob("fastlin-*.tar.gz")]:
        old.unlink()
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="fastlin-source-") as temporary:
        run(sys.executable, "-m", "build", "-n", "--sdist", "--outdir", folder, ROOT, folder=ROOT)
        (archive,) = folder.glob("fastlin-*.tar.gz")
        with tarfile.open(archive) as packed:
            packed.extractall(temporary, filter="data")
        (source,) = Path(temporary).iterdir()
        missing = not_in(source)
        print(f"{archive.name}: {', '.join(missing) or 'whole'}")
        wrong += len(missing)
        for target in TARGETS:
            wheel = build(source, target, folder)
            found = inspect(wheel, target)
            print(f"{wheel.name}: {'; '.join(found) or 'right'}, {wheel.stat().st_size >> 10} kB")
            wrong += len(found)
    sys.exit(1 if wrong else 0)


def not_in(source: Path) -> list[str]:
    """Return what git knows of here and the source distribution lacks."""
    known = run("git", "ls-files", folder=ROOT).splitlines()
    return [f"{name} is missing" for name in known if not (source / name).exists()]


if __name__ == "__main__":
    main(sys.argv[1:])

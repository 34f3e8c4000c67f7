"""``fastlin info``: shows what runs here, with which versions, and why something does not."""

from __future__ import annotations

import platform
import sys
from typing import Any

import click

from fastlin import __version__
from fastlin.cli import options
from fastlin.cli.output import counted, print_facts, print_json

LIBRARIES = ("numpy", "scipy", "scikit-learn", "numba", "cffi", "matplotlib")


HELP = """\
Show versions, the processor, each backend (or why it is missing), and folders.
"""

EXAMPLES = """\b
Example:
  fastlin info --json
"""


@click.command("info", help=HELP, epilog=EXAMPLES)
@options.as_json
def command(as_json: bool) -> None:
    """Run ``fastlin info``; see HELP."""
    from fastlin.bench.machine import installed_version, processor_name
    from fastlin.bench.timing import available_cores
    from fastlin.datasets.mnist import data_folder
    from fastlin.kernels import backends
    from fastlin.kernels.jit.kernel_cache import base_folder

    kernel_folder = base_folder()
    facts = {
        "fastlin": __version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "executable": sys.executable,
        "system": platform.platform(),
        "processor": processor_name(),
        "cores": available_cores(),
        "libraries": {name: installed_version(name) for name in LIBRARIES},
        "backends": {name: _describe(backend) for name, backend in backends().items()},
        "auto": next((name for name, one in backends().items() if one.available), None),
        "data_folder": str(data_folder()),
        "kernel_folder": None if kernel_folder is None else str(kernel_folder),
    }
    if as_json:
        print_json(facts)
    else:
        _print(facts)


def _describe(backend: Any) -> dict[str, Any]:
    names = (
        "available",
        "version",
        "n_threads",
        "threading_layer",
        "instruction_set",
        "reason",
        "remedy",
    )
    return {name: getattr(backend, name) for name in names}


def _print(facts: dict[str, Any]) -> None:
    libraries = (
        f"{name} {version or 'not installed'}" for name, version in facts["libraries"].items()
    )
    print_facts(
        [
            ("fastlin", facts["fastlin"]),
            ("Python", f"{facts['python']} ({facts['executable']})"),
            ("libraries", ", ".join(libraries)),
            ("system", facts["system"]),
            ("processor", f"{facts['processor']}, {counted(facts['cores'], 'core')}"),
            ("data", facts["data_folder"]),
            ("kernels", facts["kernel_folder"] or "not kept: there is no home folder"),
        ]
    )
    click.echo("\nbackends (auto takes the first that is available)")
    for name, backend in facts["backends"].items():
        if backend["available"]:
            parts = [
                backend["version"],
                counted(backend["n_threads"], "thread"),
                backend["threading_layer"] and f"threading layer {backend['threading_layer']}",
                backend["instruction_set"],
            ]
            taken = " (auto)" if name == facts["auto"] else ""
            click.echo(f"  {name:<6} {', '.join(part for part in parts if part)}{taken}")
        else:
            click.echo(f"  {name:<6} missing: {backend['reason']}")
            click.echo(f"  {'':<6} remedy: {backend['remedy']}")

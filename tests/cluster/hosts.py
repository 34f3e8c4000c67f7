"""Two hosts on one machine: network namespaces, joined by a bridge whose links can be cut."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


class Hosts:
    """Names of two network namespaces, and the links to them."""

    def __init__(self) -> None:
        token = secrets.token_hex(2)
        self.names = (f"fl-{token}-a", f"fl-{token}-b")
        self._bridge, self._net = f"fl-{token}", f"10.{secrets.randbelow(200) + 20}.77"

    def make(self) -> None:
        """Make the namespaces and their links."""
        _ip("link", "add", self._bridge, "type", "bridge")
        _ip("address", "add", f"{self._net}.1/24", "dev", self._bridge)
        _ip("link", "set", self._bridge, "up")
        for number, name in enumerate(self.names):
            inside, outside = f"{self._bridge}-i", self.link(number)
            _ip("netns", "add", name)
            _ip("link", "add", outside, "type", "veth", "peer", "name", inside)
            _ip("link", "set", inside, "netns", name)
            _ip("link", "set", outside, "master", self._bridge)
            _ip("link", "set", outside, "up")
            for command in (
                ("link", "set", "lo", "up"),
                ("link", "set", inside, "up"),
                ("address", "add", f"{self._net}.{number + 2}/24", "dev", inside),
                ("route", "add", "default", "via", f"{self._net}.1"),
            ):
                _ip("-n", name, *command)

    def link(self, number: int) -> str:
        """Return the name of the link to a host."""
        return f"{self._bridge}-{number}"

    def cut(self, number: int) -> None:
        """Cut the link to a host; nobody is told."""
        _ip("link", "set", self.link(number), "down")

    def restore(self, number: int) -> None:
        """Restore the link to a host."""
        _ip("link", "set", self.link(number), "up")

    def remove(self) -> None:
        """Remove all of it, as far as it was made."""
        for command in (
            *(("netns", "del", name) for name in self.names),
            *(("link", "del", self.link(number)) for number in range(2)),
            ("link", "del", self._bridge),
        ):
            subprocess.run(["ip", *command], capture_output=True)


@contextmanager
def two_hosts() -> Iterator[Hosts]:
    """Give two hosts; skip the test where none can be made."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and the command ip (package iproute2)")
    hosts = Hosts()
    try:
        try:
            hosts.make()
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces can be made here: {error.stderr.decode()[:200]}")
        yield hosts
    finally:
        hosts.remove()


def _ip(*command: str) -> None:
    subprocess.run(["ip", *command], check=True, capture_output=True)

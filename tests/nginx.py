"""A real nginx for this test run, with the configuration that the README recommends."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.mail.servers import make_certificate
from tests.processes import end_group
from tests.servers import wait_for
from webapp.launcher.bootstrap import NGINX

HOST = "127.0.0.1"
UPSTREAM = "http://127.0.0.1:5000"
CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/other;
    uwsgi_temp_path {folder}/other;
    scgi_temp_path {folder}/other;
    server {{
        listen {host}:{port} ssl;
        ssl_certificate {folder}/{host}.pem;
        ssl_certificate_key {folder}/{host}.key;
        {server}
    }}
}}
"""


def of_the_readme(upstream: str, *, root: str = "/", strip: bool = False) -> str:
    """What the README has for a server, in front of an address; `strip` is its other way to serve below a path."""
    text = (Path(__file__).parent.parent / "README.md").read_text()
    at_the_root, below = re.findall(r"^```nginx\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    settings, location = at_the_root.split("\nlocation ")
    chosen = f"location {location}" if root == "/" else below.replace("/beat/", f"{root}/")
    assert chosen.count(f"{UPSTREAM};") == 1
    return f"{settings}\n{chosen}".replace(f"{UPSTREAM};", f"{upstream}/;" if strip else f"{upstream};")


@contextmanager
def nginx(folder: Path, port: int, server: str) -> Iterator[None]:
    """Serve by TLS, with a certificate that no browser trusts, until the block ends."""
    folder.mkdir()
    make_certificate(folder, HOST)
    file, log = folder / "nginx.conf", folder / "output.txt"
    file.write_text(CONFIGURATION.format(folder=folder, host=HOST, port=port, server=server))
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(NGINX), "-e", "stderr", "-p", str(folder), "-c", str(file)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

        def answers() -> bool:
            if process.poll() is not None:
                raise AssertionError(f"nginx ended: {log.read_text()[-2000:]}")
            with suppress(OSError), socket.create_connection((HOST, port), 1):
                return True
            return False

        try:
            wait_for(answers, message="nginx did not listen")
            yield
        finally:
            end_group(process)

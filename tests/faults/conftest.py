"""A real PostgreSQL, in a temporary folder, for as long as the tests run."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

PASSWORD = "b-eech7/w@ter"  # as people choose them: to be quoted in a URL


class PostgreSQL:
    """A server of its own: no other is touched.

    Args:
        binaries: The folder of `initdb` and `pg_ctl`.
        folder: Where its data go.
    """

    def __init__(self, binaries: Path, folder: Path) -> None:
        self._binaries = binaries
        self._folder = folder
        self._user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def create(self) -> None:
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        if self._user:
            shutil.chown(self._folder, "postgres")
            shutil.chown(secret, "postgres")
        self._run(
            "initdb",
            "--username=ann",
            f"--pwfile={secret}",
            "--auth=scram-sha-256",
            "--no-sync",
            "--locale=C",
            "--encoding=UTF8",
        )
        self.start()

    def start(self) -> None:
        options = f"-p {self.port} -k {self._folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self._run("pg_ctl", "--wait", "-l", str(self._folder / "log"), "-o", options, "start")

    def stop(self, mode: str) -> None:
        self._run("pg_ctl", "--wait", "--mode", mode, "stop")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server and to every process that serves a connection."""
        main = int((self._folder / "data" / "postmaster.pid").read_text().split()[0])
        children = subprocess.run(["pgrep", "-P", str(main)], capture_output=True, text=True).stdout.split()
        for pid in (main, *map(int, children)):
            os.kill(pid, number)

    def url(self, database: str = "postgres", *, driver: str = "postgresql") -> str:
        quoted = PASSWORD.replace("/", "%2F").replace("@", "%40")
        return f"{driver}://ann:{quoted}@127.0.0.1:{self.port}/{database}"

    def _run(self, program: str, *words: str) -> None:
        command = [*self._user, str(self._binaries / program), "-D", str(self._folder / "data"), *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/")


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgreSQL]:
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'moo-deploy[postgresql]'")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("needs PostgreSQL, such as Debian's package postgresql")
    if os.getuid() == 0 and shutil.which("runuser") is None:
        pytest.skip("PostgreSQL does not run as root, and there is no runuser")
    with tempfile.TemporaryDirectory(prefix="moo-pg-") as folder:  # a socket's path must be short
        server = PostgreSQL(found[-1].parent, Path(folder))
        server.create()
        yield server
        server.stop("immediate")


@pytest.fixture
def postgresql(postgresql_server) -> PostgreSQL:
    """The server, with no study in it."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(postgresql_server.url(driver="postgresql+psycopg"))
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("DROP SCHEMA public CASCADE"))
        connection.execute(sqlalchemy.text("CREATE SCHEMA public"))
    engine.dispose()
    return postgresql_server

"""What the README shows of several processes and machines is run as it is written."""

import shlex

import pytest

from tests.faults.conftest import PASSWORD, postgresql, postgresql_server  # noqa: F401  # fixtures
from tests.test_readme import blocks, run, with_task

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path):
    return with_task(tmp_path)


def block_with(option: str) -> list[list[str]]:
    (block,) = (block for block in blocks("sh") if option in block)
    return [shlex.split(line) for line in block.splitlines()]


def test_two_workers_of_one_machine(folder) -> None:
    (words,) = block_with("--study crew")
    done = run(words, folder)
    assert done.returncode == 0, done.stderr
    assert "Study crew: 6 trials, 6 complete" in done.stdout


def test_a_team_on_postgresql(folder, postgresql) -> None:  # noqa: F811
    import sqlalchemy

    engine = sqlalchemy.create_engine(
        postgresql.url(driver="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text("DROP DATABASE IF EXISTS moo"))
        connection.execute(sqlalchemy.text("CREATE DATABASE moo"))
    engine.dispose()
    (words,) = block_with("--study team")
    server = {"PGHOST": "127.0.0.1", "PGPORT": str(postgresql.port), "PGUSER": "ann", "PGPASSWORD": PASSWORD}
    done = run(words, folder, **server)
    assert done.returncode == 0, done.stderr
    assert "Study team: 4 trials, 4 complete" in done.stdout
    assert PASSWORD not in done.stdout + done.stderr


@pytest.mark.xdist_group("ray")  # `ray stop` ends every cluster there is
def test_a_ray_cluster_with_a_device(folder) -> None:
    pytest.importorskip("ray", reason="needs ray: pip install 'moo-deploy[ray]'")
    start, sweep, stop = block_with("--engine ray")
    try:
        done = run(start, folder)
        assert done.returncode == 0, done.stdout + done.stderr
        done = run(sweep, folder)
        assert done.returncode == 0, done.stderr
        assert "Study fleet: 4 trials, 4 complete" in done.stdout
        assert (folder / "moo-runs" / "fleet" / "trials" / "00000" / "model.onnx").is_file()
    finally:
        assert run(stop, folder).returncode == 0

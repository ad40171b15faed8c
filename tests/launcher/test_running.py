"""The environment that a start gives to processes, the data it keeps, and restarts of processes that end."""

import re
import signal
import smtplib
import stat
from email.message import EmailMessage
from urllib.parse import urlsplit

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.launcher.project import PROCFILE, Project, Running
from tests.servers import free_port, wait_for
from webapp.config import PREFIX, given_settings

pytestmark = pytest.mark.slow


def environment(project: Project) -> dict[str, str]:
    """The settings that the Procfile's processes are given, as `release` and `web` wrote them down."""
    lines = "".join((project.root / name).read_text() for name in ("environ.txt", "web.txt")).splitlines()
    return given_settings(dict(line.split("=", 1) for line in lines if "=" in line))


def mode(project: Project, name: str) -> int:
    return stat.S_IMODE((project.data / name).stat().st_mode)


def test_embedded_servers_serve_at_the_addresses_that_are_handed_out(project: Project) -> None:
    with project.running():
        given = environment(project)
        with redis.Redis.from_url(given["REDIS_URL"], decode_responses=True) as client:
            assert client.config_get("appendonly") == {"appendonly": "yes"}
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert given["CELERY_BROKER_URL"] == given["REDIS_URL"]
        assert given["CELERY_RESULT_BACKEND"] == given["REDIS_URL"].removesuffix("0") + "1"
        message = EmailMessage()
        message["Subject"], message["From"], message["To"] = "Hello", "a@example.com", "b@example.com"
        with smtplib.SMTP(given["MAIL_SERVER"], int(given["MAIL_PORT"])) as server:
            server.send_message(message)
        (kept,) = (project.data / "mailbox").glob("*.eml")
        assert "Subject: Hello" in kept.read_text()


def test_the_embedded_valkey_refuses_who_has_no_password(project: Project) -> None:
    with project.running():
        port = urlsplit(environment(project)["REDIS_URL"]).port
        with (
            redis.Redis(host="127.0.0.1", port=port or 0, retry=Retry(NoBackoff(), 0)) as client,
            pytest.raises(redis.AuthenticationError),
        ):
            client.ping()


def test_a_second_start_keeps_queue_secret_key_and_sign_in(project: Project) -> None:
    with project.running() as first:
        before = environment(project)
        with redis.Redis.from_url(before["REDIS_URL"]) as client:
            client.rpush("queue", "message")
        password = first.password
        first.stop()
    project.write(PROCFILE.replace("admin created", "The admin admin@example.com exists already."))
    with project.running() as second:
        after = environment(project)
        with redis.Redis.from_url(after["REDIS_URL"]) as client:
            assert client.lrange("queue", 0, -1) == [b"message"]
        assert after["SECRET_KEY"] == before["SECRET_KEY"]
        # It is printed once; it stays in its file, and is in no log.
        file = project.data / "admin_password"
        assert file.read_text().strip() == after["ADMIN_PASSWORD"] == password
        assert f"with the password of the first start (kept in {file}, " in second.ready_line
        logs = [log.read_text() for log in (project.data / "log").iterdir()]
        assert logs
        assert not any(password in text for text in [*logs, second.ready_line, second.err.read_text()])


@pytest.mark.parametrize(
    ("given", "pool"),
    [
        ({}, "solo"),
        ({"REDIS_URL": "the broker"}, "solo"),
        ({"TASK_MODULES": "json"}, None),
        ({"CELERY_WORKER_POOL": "threads"}, "threads"),
    ],
    ids=["their own workers", "on their Redis", "their tasks in ours", "chosen"],
)
def test_beside_a_project_the_worker_is_a_small_one(
    project: Project, valkey_url: str, given: dict[str, str], pool: str | None
) -> None:
    own = {"REDIS_URL": valkey_url} if "REDIS_URL" in given else {}
    with project.running(CELERY_BROKER_URL=valkey_url, **given | own):
        found = re.findall("^CELERY_WORKER_POOL=(.*)$", (project.root / "web.txt").read_text(), re.MULTILINE)
        assert found == ([pool] if pool else [])


def test_the_password_of_the_ready_line_is_what_the_release_was_given(project: Project) -> None:
    with project.running() as running:
        given = environment(project)
        assert f"sign in as {given['ADMIN_EMAIL']} with password {given['ADMIN_PASSWORD']}" in running.ready_line
        assert len(running.password) >= 12


def test_secrets_are_for_the_owner_alone(project: Project) -> None:
    with project.running():
        assert stat.S_IMODE(project.data.stat().st_mode) == 0o700
        for name in ("secret_key", "admin_password", "env.sh", "valkey/valkey.conf"):
            assert mode(project, name) == 0o600


def test_wider_rights_are_taken_away_with_a_line(project: Project) -> None:
    project.data.mkdir(mode=0o755)
    names = ("secret_key", "admin_password", "beatdesk.db", "beatdesk.db-wal")
    for name in names:
        (project.data / name).write_text("x" * 40)
        (project.data / name).chmod(0o664)
    with project.running() as running:
        (line,) = [line for line in running.err.read_text().splitlines() if "Restricted to their owner" in line]
        assert all(name in line for name in names)
        assert stat.S_IMODE(project.data.stat().st_mode) == 0o700
        assert {mode(project, name) for name in names} == {0o600}


def test_a_projects_own_variables_stay_as_they_were(project: Project) -> None:
    theirs = {"DATABASE_URL": "mysql://theirs/shop", "SECRET_KEY": "theirs"}
    ours = {"BEATDESK_DATABASE_URL": f"sqlite:///{project.data / 'x.db'}", "BEATDESK_SECRET_KEY": "0123456789abcdef"}
    with project.running(**theirs, **ours, BEATDESK_PROT="1") as running:
        text = (project.root / "web.txt").read_text()
        assert "Beatdesk has no setting BEATDESK_PROT. Did you mean BEATDESK_PORT?" in running.err.read_text()
    found = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    assert {name: found[name] for name in theirs} == theirs
    assert {name: found[name] for name in ours} == ours


def test_each_process_gets_the_secrets_that_it_needs(project: Project) -> None:
    names = ("web", "worker", "beat", "recorder", "other")
    lines = [f"{name}: env > {name}.txt; sleep 1000" for name in names if name != "web"]
    project.write("\n".join(["release: env > release.txt", "web: python web.py", *lines]))
    secrets = {"MAIL_PASSWORD": "m-secret", "MAIL_USERNAME": "m-user", "METRICS_TOKEN": "t" * 20, "API_KEY": "theirs"}
    with project.running(ADMIN_PASSWORD="correct horse battery", MAIL_SERVER="127.0.0.1", **secrets) as running:
        wait_for(lambda: all((project.root / f"{name}.txt").exists() for name in names))
        wait_for(lambda: all("SECRET_KEY=" in (project.root / f"{name}.txt").read_text() for name in names))
        (valkey,) = running.named("valkey-server")
        given = {name: set(names_in((project.root / f"{name}.txt").read_text())) for name in ("release", *names)}
        given["valkey"] = set(valkey.environ())
    ours = {"ADMIN_PASSWORD", "MAIL_USERNAME", "MAIL_PASSWORD", "METRICS_TOKEN", "SECRET_KEY"}
    ours |= {"DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "API_KEY"}
    all_have = {"SECRET_KEY", "DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "API_KEY"}
    assert {name: found & ours for name, found in given.items()} == {
        "release": {"ADMIN_PASSWORD", "SECRET_KEY", "DATABASE_URL", "API_KEY"},
        "web": all_have | {"METRICS_TOKEN"},
        "worker": all_have | {"MAIL_USERNAME", "MAIL_PASSWORD"},
        "beat": all_have,
        "recorder": all_have,
        # A process added to the Procfile may be a worker or a web process.
        "other": ours - {"ADMIN_PASSWORD"},
        "valkey": set(),
    }


def names_in(text: str) -> list[str]:
    """The settings by their plain names, and other variables."""
    return [line.partition("=")[0].removeprefix(PREFIX) for line in text.splitlines()]


def test_a_given_password_is_neither_printed_nor_kept(project: Project) -> None:
    with project.running(ADMIN_PASSWORD="correct horse battery", ADMIN_EMAIL="root@example.com") as running:
        assert "sign in as root@example.com with the password in ADMIN_PASSWORD" in running.ready_line
        assert "correct horse" not in running.ready_line + running.err.read_text()
        assert not (project.data / "admin_password").exists()


def test_an_admin_that_was_there_before_keeps_their_password(project: Project) -> None:
    project.write("release: echo The admin boss@example.com exists already.\nweb: python web.py\n")
    with project.running() as running:
        kept = (project.data / "admin_password").read_text().strip()
        assert "the password that was set when the account was created" in running.ready_line
        assert kept not in running.ready_line


@pytest.mark.parametrize(
    ("given", "embedded"),
    [
        ({"REDIS_URL": "redis://127.0.0.1:1/0"}, {"sink"}),
        ({"MAIL_SERVER": "127.0.0.1", "MAIL_PORT": "2525"}, {"valkey-server"}),
        ({"CELERY_BROKER_URL": "amqp://127.0.0.1:1//"}, {"valkey-server", "sink"}),
        ({"DATABASE_URL": "postgresql://127.0.0.1:1/x"}, {"valkey-server", "sink"}),
        ({"REDIS_URL": "redis://127.0.0.1:1/0", "MAIL_SERVER": "127.0.0.1"}, set()),
    ],
)
def test_a_server_that_was_given_is_not_started(project: Project, given: dict[str, str], embedded: set[str]) -> None:
    with project.running(**given) as running:
        assert {name for name in ("valkey-server", "sink") if running.named(name)} == embedded
        handed_out = environment(project)
    for name, value in given.items():
        assert handed_out[name] == value.replace("postgresql://", "postgresql+psycopg://")


def test_process_that_ends_later_is_restarted_and_reported(project: Project) -> None:
    with project.running() as running:
        (before,) = running.named("sleep 1000")
        before.kill()
        wait_for(lambda: _is_new(running, before.pid))
        assert "beat ended by SIGKILL and restarts in 1 s." in running.err.read_text()


def test_a_process_that_leaves_children_behind_is_noticed_and_they_are_ended(project: Project) -> None:
    with project.running() as running:
        (shell,) = running.named("sleep 1111 &")
        children = shell.children()
        assert len(children) == 2
        shell.kill()
        wait_for(lambda: any(process.pid != shell.pid for process in running.named("sleep 1111 &")))
        assert [child for child in children if child in running.processes()] == []
        assert len(running.named("sleep 2222")) == 2  # the new shell and its child


def test_a_killed_valkey_comes_back_with_its_data(project: Project) -> None:
    with project.running() as running:
        url = environment(project)["REDIS_URL"]
        (server,) = running.named("valkey-server")
        with redis.Redis.from_url(url) as client:
            client.set("kept", "yes")
        server.send_signal(signal.SIGKILL)
        wait_for(lambda: _is_new(running, server.pid, "valkey-server"))
        wait_for(lambda: _value(url) == b"yes")
        assert len(running.named("valkey-server")) == 1


def test_another_terminal_can_use_the_settings(project: Project) -> None:
    with project.running(TASK_MODULES="json"):
        given = environment(project)
        lines = (project.data / "env.sh").read_text().splitlines()
        assert f"export BEATDESK_SECRET_KEY={given['SECRET_KEY']}" in lines
        assert f"export BEATDESK_DATA={project.data}" in lines
        assert not any("ADMIN_PASSWORD" in line for line in lines)
        # For the commands that read the file, and not for what a shell that has read it starts next.
        assert "BEATDESK_TASK_MODULES=json" in lines


def test_only_warnings_reach_the_terminal_and_everything_the_log(project: Project) -> None:
    project.write("release: true\nweb: python web.py\nbeat: sh talk.sh\n")
    (project.root / "talk.sh").write_text(
        "echo INFO quiet; echo WARNING loud; echo '  its detail'; echo INFO end; exec sleep 99"
    )
    with project.running() as running:
        log = project.data / "log" / "beat.log"
        wait_for(lambda: "end" in log.read_text())
        assert log.read_text().splitlines() == ["INFO quiet", "WARNING loud", "  its detail", "INFO end"]
        lines = [line for line in running.err.read_text().splitlines() if line.startswith("beat")]
        assert lines == ["beat     | WARNING loud", "beat     |   its detail"]


def test_it_serves_on_the_port_that_was_asked_for(project: Project) -> None:
    port = free_port()
    with project.running(PORT=str(port)) as running:
        assert f"http://127.0.0.1:{port} " in running.ready_line


def _is_new(running: Running, pid: int, text: str = "sleep 1000") -> bool:
    return any(process.pid != pid for process in running.named(text))


def _value(url: str) -> object:
    try:
        with redis.Redis.from_url(url) as client:
            return client.get("kept")
    except redis.ConnectionError:
        return None

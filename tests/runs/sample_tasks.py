"""Tasks that tests give to real workers, by TASK_MODULES."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from celery import Task, chain, chord, group, shared_task
from celery.utils.log import get_task_logger

from beatdesk.execution.reporting import progress, write

logger = get_task_logger(__name__)


@shared_task(name="samples.note")
def note(path: str) -> None:
    """Add a line to a file: how often that happened can be counted."""
    with Path(path).open("a") as file:
        file.write("begun\n")


@shared_task(name="samples.wait")
def wait(path: str) -> str:
    """Note the beginning in PATH.begun, then wait until the file exists."""
    note(f"{path}.begun")
    while not Path(path).exists():
        time.sleep(0.02)
    return "seen"


@shared_task(name="samples.sleep")
def sleep(seconds: float) -> None:
    """Keep a slot busy."""
    time.sleep(seconds)


@shared_task(name="samples.fail")
def fail(text: str) -> None:
    """Raise ValueError."""
    raise ValueError(text)


@shared_task(name="samples.charge", bind=True, max_retries=1, secrets=("card",))
def charge(self: Any, card: str, password: str, path: str, fail: bool = False) -> dict[str, Any]:
    """Repeat both secrets in everything that a task can say; on the second attempt succeed, or fail."""
    said = f"charging {card} for {password!r}"
    note(path)
    logger.warning("%s", said)
    print(said, end="")  # noqa: T201  # what a task prints is logged by its worker, and kept when it ends
    write(said)
    progress(1, 2, said)
    if not self.request.retries:
        raise self.retry(exc=ValueError(said), countdown=0)
    if fail:
        raise ValueError(said)
    return {"said": said, "card": card, "access_token": "a-token-of-the-result"}


@shared_task(name="samples.spill")
def spill(*, fail: bool = False, **given: str) -> dict[str, Any]:
    """Say what it was given in every way, and give it back, with secrets that are no argument."""
    found = {name: value.replace("canary", "canary-of-the-task") for name, value in given.items()}
    for name, value in found.items():
        logger.warning("%s=%s and %s", name, value, {name: value})
        write(f"{name}: {value}")
    progress(1, 2, f"at {found['dsn']}")
    if fail:
        raise ValueError(f"spilt {found} and {given}")
    return {"given": list(given.values()), "found": found, "said": f"headers: {found}"}


@shared_task(name="samples.spill_all")
def spill_all(**given: str) -> None:
    """Have that done by a chain and by a chord."""
    chain(spill.si(**given), spill.si(**given)).delay()
    chord([spill.si(**given), spill.si(**given, fail=True)], spill.si(**given)).delay()
    chord([spill.si(**given), spill.si(**given)], spill.si(**given)).delay()


@shared_task(name="samples.steps")
def steps(count: int, path: str) -> int:
    """Report each of so many steps, with log lines; wait for the file before the last one."""
    write("<b>begun</b>", "warning")
    for step in range(1, count):
        progress(step, count, f"step {step}")
    logger.info("waiting for %s", Path(path).name)
    time.sleep(0.3)
    progress(count - 1, count, "nearly")
    while not Path(path).exists():
        time.sleep(0.02)
    progress(count, count, "done")
    return count


@shared_task(name="samples.give")
def give(number: int) -> int:
    """The number; below zero it raises."""
    if number < 0:
        raise ValueError("below zero")
    return number


@shared_task(name="samples.double")
def double(number: int) -> int:
    """Twice the number."""
    return number * 2


@shared_task(name="samples.total")
def total(numbers: list[int]) -> int:
    """The sum."""
    return sum(numbers)


@shared_task(name="samples.canvas")
def canvas() -> None:
    """Call, chain, group and chord in one, and a chord of chains that has a chain after it."""
    give.delay(1)
    chain(give.s(2), double.s(), double.s()).delay()
    group(give.s(number) for number in (3, 4)).delay()
    chord([chain(give.s(number), double.s()) for number in (5, 6)], chain(total.s(), double.s())).delay()


@shared_task(name="samples.replaced", bind=True)
def replaced(self: Task, *numbers: int) -> None:
    """Replace itself by a chord."""
    raise self.replace(chord([give.s(number) for number in numbers], total.s()))

"""Sizes in the cloud: built through the real SDK, once, with the log on the page."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from codecourier.models import User
from sandboxes.models import Build, Phase, Sandbox
from tests.conftest import signed_in
from tests.sandboxes.conftest import Cloud
from tests.stack import wait_for

Launch = Callable[..., Sandbox]
Look = Callable[[], None]
SIZE = {"cpu": 1, "memory_mb": 384}
NAME = "script-1c-384m"


def phase_of(sandbox: Sandbox) -> Phase:
    """The phase `template` as it stands."""
    return sandbox.phases.get(name="template")


def runs(sandbox: Sandbox, look: Look) -> Sandbox:
    """The sandbox once it runs."""

    def running() -> bool:
        look()
        sandbox.refresh_from_db()
        assert not sandbox.final, sandbox.detail
        return sandbox.status == "running"

    wait_for(running, "the sandbox to run")
    return sandbox


def test_two_sandboxes_of_a_new_size_have_it_built_once(cloud: Cloud, launch: Launch, look: Look, owner: User) -> None:
    first, second = launch(**SIZE), launch(**SIZE)
    look()
    look()
    asked = cloud.templates.builds["build-1"]
    assert (asked["name"], asked["cpuCount"], asked["memoryMB"]) == (NAME, 1, 384)
    assert asked["start"]["fromTemplate"] == "script"
    assert [phase_of(sandbox).status for sandbox in (first, second)] == ["running", "running"]
    cloud.templates.say("[builder] extracting base", "[builder] resizing")
    look()
    assert phase_of(first).log == phase_of(second).log == "[builder] extracting base\n[builder] resizing\n"
    page = signed_in(owner).get(f"/p/rocket/sandboxes/{first.pk}/?tab=timeline").content.decode()
    assert "[builder] resizing" in page
    cloud.templates.finish()
    look()
    for sandbox in (first, second):
        runs(sandbox, look)
        assert (phase_of(sandbox).status, phase_of(sandbox).detail) == ("succeeded", NAME)
        assert (sandbox.real_cpu, sandbox.real_memory_mb) == (1, 384)
    assert len(cloud.templates.builds) == 1


def test_a_size_that_was_built_is_used_again_without_a_question(cloud: Cloud, launch: Launch, look: Look) -> None:
    launch(**SIZE)
    look()
    cloud.templates.finish()
    look()
    cloud.faults.asked.clear()
    again = runs(launch(**SIZE), look)
    assert phase_of(again).status == "skipped"
    assert not [path for _, path in cloud.faults.asked if "templates" in path]


def test_a_template_that_the_account_has_is_not_built(cloud: Cloud, launch: Launch, look: Look) -> None:
    cloud.templates.ready.add(NAME)
    runs(launch(**SIZE), look)
    assert not cloud.templates.builds


def test_a_long_log_comes_whole_and_in_order(cloud: Cloud, launch: Launch, look: Look) -> None:
    sandbox = launch(**SIZE)
    look()
    cloud.templates.say(*(f"line {number}" for number in range(250)))
    cloud.templates.finish()
    runs(sandbox, look)
    assert phase_of(sandbox).log.split("\n") == [*(f"line {number}" for number in range(250)), ""]


def test_a_build_that_fails_says_why_and_the_next_sandbox_tries_anew(cloud: Cloud, launch: Launch, look: Look) -> None:
    sandbox = launch(**SIZE)
    look()
    cloud.templates.finish("error", "no space left on the builder")
    look()
    look()
    sandbox.refresh_from_db()
    assert (sandbox.status, sandbox.reason) == ("error", "setup_failed")
    assert sandbox.detail == f"E2B could not build the template {NAME}: no space left on the builder"
    later = launch(**SIZE)
    look()
    look()
    cloud.templates.finish()
    runs(later, look)
    assert len(cloud.templates.builds) == 2


def test_an_answer_that_was_lost_is_asked_for_again(cloud: Cloud, launch: Launch, look: Look) -> None:
    cloud.faults.add("POST", "/v3/templates", lose=True, times=1)
    sandbox = launch(**SIZE)
    look()
    look()
    cloud.templates.finish()
    runs(sandbox, look)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_fault_of_the_builder_is_ridden_out(status: int, cloud: Cloud, launch: Launch, look: Look) -> None:
    cloud.faults.add("POST", "/v3/templates", status=status, times=2)
    sandbox = launch(**SIZE)
    for _ in range(4):
        look()
    cloud.templates.finish()
    runs(sandbox, look)


@pytest.mark.parametrize(("status", "words"), [(400, "a bad day"), (401, "Check the E2B key")])
def test_a_refusal_ends_the_boot_with_its_words(
    status: int, words: str, cloud: Cloud, launch: Launch, look: Look
) -> None:
    cloud.faults.add("POST", "/v3/templates", status=status)
    sandbox = launch(**SIZE)
    look()
    look()
    sandbox.refresh_from_db()
    assert sandbox.status == "error"
    assert words in sandbox.detail


def test_a_build_without_end_is_given_up(cloud: Cloud, launch: Launch, look: Look) -> None:
    sandbox = launch(**SIZE)
    look()
    Build.objects.update(deadline_at=timezone.now() - timedelta(seconds=1))
    look()
    look()
    sandbox.refresh_from_db()
    assert sandbox.status == "error"
    assert "did not build the template" in sandbox.detail


def test_a_template_that_vanished_is_said_and_built_for_the_next(cloud: Cloud, launch: Launch, look: Look) -> None:
    cloud.templates.ready.add(NAME)
    runs(launch(**SIZE), look)
    cloud.templates.ready.clear()
    unlucky = launch(**SIZE)

    def over() -> bool:
        look()
        unlucky.refresh_from_db()
        return unlucky.final

    wait_for(over, "the boot to fail")
    assert f"has no template {NAME}" in unlucky.detail
    later = launch(**SIZE)
    look()
    cloud.templates.finish()
    runs(later, look)

"""Scripts and repositories that misbehave: each ends in a clear reason, the portal unharmed."""

from pathlib import Path

import pytest

from codecourier.models import Variable
from sandboxes import turns
from sandboxes.models import Output, Sandbox
from tests.endtoend.conftest import end, printed, saved, status_of, turn_of
from tests.stack import Stack, wait_for

EXACT = {
    "invalid UTF-8": (r"printf 'a\377\376b\n'", b"a\xff\xfeb\n"),
    "NUL": (r"printf 'a\000b\n'", b"a\x00b\n"),
    "colours and cursor": (r"printf '\033[31mred\033[0m\033[2A\r\n'", b"\x1b[31mred\x1b[0m\x1b[2A\r\n"),
    "no newline at the end": ("printf end", b"end"),
    "nothing at all": ("true", b""),
}  # fmt: skip


def test_output_is_stored_as_it_was_printed(stack: Stack) -> None:
    project, _ = stack.project()
    made = {name: stack.launch(project, script) for name, (script, _) in EXACT.items()}
    for name, sandbox in made.items():
        turn = turn_of(sandbox)
        assert turn.status == "succeeded", (name, turn.detail)
        assert printed(turn.job) == EXACT[name][1], name
        end(sandbox)


def test_a_hundred_megabytes_on_one_line_are_capped_with_a_marker(stack: Stack) -> None:
    project, _ = stack.project()
    sandbox = stack.launch(project, "head -c 100000000 /dev/zero | tr '\\0' x; echo; echo done >&2; exit 7")
    turn = turn_of(sandbox)
    assert (turn.status, turn.job and turn.job.exit_code) == ("failed", 7)
    stored = printed(turn.job, Output.Stream.STDOUT)
    cap = 64 * 1024 * 1024
    assert cap - 128 * 1024 <= len(stored) <= cap
    assert set(stored) == {ord("x")}
    assert b"64" in printed(turn.job, Output.Stream.NOTE)
    end(sandbox)


def test_a_failing_script_says_its_exit_status(stack: Stack) -> None:
    project, _ = stack.project()
    sandbox = stack.launch(project, "echo out; echo err >&2; exit 3")
    turn = turn_of(sandbox)
    assert (turn.status, turn.reason) == ("failed", "exit")
    assert "exit status 3" in turn.detail
    assert (printed(turn.job, 1), printed(turn.job, 2)) == (b"out\n", b"err\n")
    assert sandbox.status == "running", "a failed turn leaves the machine for the next one"
    end(sandbox)


def test_background_children_do_not_hold_the_turn(stack: Stack) -> None:
    project, _ = stack.project()
    sandbox = stack.launch(project, "sleep 3000 & echo started")
    turn = turn_of(sandbox)
    assert turn.status == "succeeded"
    assert printed(turn.job) == b"started\n"
    end(sandbox)


def test_a_fork_bomb_harms_only_its_sandbox(stack: Stack) -> None:
    project, _ = stack.project()
    bomb = stack.launch(project, ":(){ :|:& };: ; sleep 3; exit 5")
    neighbour = stack.launch(project, "echo fine")
    assert turn_of(neighbour).status == "succeeded"
    assert turn_of(bomb).final
    end(neighbour)
    end(bomb)


def test_a_memory_bomb_ends_its_sandbox_with_the_reason_memory(stack: Stack) -> None:
    project, _ = stack.project()
    script = "echo before; echo work > a.txt; python3 -c \"x = b'x' * (2 << 30)\"; sleep 3000"
    sandbox = stack.launch(project, script, memory_mb=256)
    status_of(sandbox, "killed", "error")
    assert (sandbox.status, sandbox.reason) == ("killed", "memory"), sandbox.detail
    assert "more memory" in sandbox.detail
    turn = turn_of(sandbox)
    assert (turn.status, turn.reason) == ("failed", "memory")
    assert printed(turn.job).startswith(b"before\n")
    assert saved(sandbox, "a.txt") == "work\n", "all up to the last second is there"


def test_a_full_disk_is_an_error_of_the_script_not_of_the_portal(stack: Stack) -> None:
    project, _ = stack.project()
    sandbox = stack.launch(project, "head -c 2G /dev/zero > big 2>err || { rm big; tail -c 60 err; exit 4; }")
    turn = turn_of(sandbox)
    assert turn.status == "failed"
    assert turn.reason in {"exit", "disk"}
    end(sandbox)


@pytest.mark.parametrize(
    ("url", "branch", "words"),
    [
        ("https://no-such-host.invalid/x.git", "", "could not be cloned"),
        ("https://127.0.0.1:9/x.git", "", "could not be cloned"),
    ],
)
def test_a_wrong_repository_ends_the_boot_with_the_cause(stack: Stack, url: str, branch: str, words: str) -> None:
    project, _ = stack.project()
    sandbox = status_of(stack.launch(project, "true", repository_url=url, branch=branch), "error")
    assert sandbox.reason == "clone_failed"
    assert words in sandbox.detail
    assert sandbox.phases.get(name="clone").status == "failed"


def test_a_missing_branch_is_named(stack: Stack, repository: Path) -> None:
    project, _ = stack.project()
    sandbox = status_of(stack.launch(project, "true", repository_url=str(repository), branch="nope"), "error")
    assert sandbox.reason == "clone_failed"
    assert "no such branch" in sandbox.detail


def test_a_branch_is_checked_out_and_its_history_is_there(stack: Stack, repository: Path) -> None:
    project, _ = stack.project()
    script = "cat README SIDE; git log --format=%s; git status --porcelain; git branch --show-current"
    sandbox = stack.launch(project, script, repository_url=str(repository), branch="side")
    turn = turn_of(sandbox)
    sandbox.refresh_from_db()
    assert printed(turn.job) == f"hello\nside\nSecond\nFirst\n{sandbox.work_branch}\n".encode()
    end(sandbox)


def test_a_setup_script_that_fails_ends_the_boot_and_keeps_its_output(stack: Stack) -> None:
    project, _ = stack.project()
    sandbox = status_of(stack.launch(project, "true", setup_script="echo preparing; exit 9"), "error")
    assert sandbox.reason == "setup_failed"
    assert "exit status 9" in sandbox.detail
    assert printed(sandbox.jobs.get(kind="setup-script")) == b"preparing\n"
    assert sandbox.turns.get().status == "interrupted"


def test_a_setup_script_that_hangs_is_stopped(stack: Stack) -> None:
    project, _ = stack.project()
    sandbox = stack.launch(project, "true", setup_script="echo waiting; sleep 3000", silence_seconds=1)
    status_of(sandbox, "error")
    assert sandbox.reason == "overdue"
    assert "silence" in sandbox.detail


def test_a_silent_turn_is_stopped_by_the_watchdog(stack: Stack) -> None:
    project, _ = stack.project()
    sandbox = stack.launch(project, "echo thinking; sleep 3000", silence_seconds=1)
    turn = turn_of(sandbox)
    assert (turn.status, turn.reason) == ("failed", "silence")
    end(sandbox)


def test_secrets_reach_the_script_and_no_stored_row(stack: Stack) -> None:
    project, _ = stack.project()
    Variable.objects.create(project=project, name="TOKEN", value="s3cr3t-canary-value", secret=True)
    Variable.objects.create(project=project, name="PLAIN", value="plain value")
    script = 'echo "$TOKEN $PLAIN"; printf %s "$TOKEN" | base64; cat .env; git status --porcelain; test ${#TOKEN} = 19'
    sandbox = stack.launch(project, script)
    turn = turn_of(sandbox)
    assert turn.status == "succeeded", turn.detail
    stored = printed(turn.job)
    assert b"canary" not in stored
    assert b"czNjcjN0" not in stored
    assert b"plain value" in stored
    assert b"[TOKEN redacted]" in stored
    end(sandbox)


def test_follow_ups_queue_and_run_in_the_same_machine(stack: Stack) -> None:
    project, _ = stack.project()
    sandbox = stack.launch(project, "echo one > file")
    second = turns.send(sandbox, None, "cat file; echo two")
    third = turns.send(sandbox, None, "exit 1")
    turns.withdraw(third)
    turn_of(sandbox)
    status_of(sandbox, "running")

    def over() -> bool:
        second.refresh_from_db()
        return second.final

    wait_for(over, "the second turn to end")
    assert printed(second.job) == b"one\ntwo\n"
    assert Sandbox.objects.get(pk=sandbox.pk).turns.count() == 2
    end(sandbox)

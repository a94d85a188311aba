"""What a session is sent of a transcript: what says most, in its order, never more than allowed."""

from codecourier.models import Project, User
from learnings.tokens import count
from learnings.transcript import compose
from sandboxes.models import Event, Sandbox, Template, Turn
from tests.sandboxes.pages import make
from tests.sandboxes.talking import Said, call, result, text, turn_of


def test_everything_of_a_short_one_is_in_it_with_its_place(worked: Sandbox) -> None:
    first, second = worked.turns.all()
    read = compose([worked], 10_000)
    assert read.left_out == 0
    lines = read.text.split("\n")
    assert lines[0].startswith(f"=== Sandbox {worked.pk}: Fix the discount.")
    assert lines[1] == f"[{first.pk}.0] message: Fix the discount."
    assert f"[{first.pk}.1] agent: I changed the sign." in lines
    assert f'[{first.pk}.3] failed (exit status 1): Bash: {{"command": "pytest"}}' in lines
    assert "1 failed: test_total" in lines
    assert f'[{first.pk}.4] Read: {{"path": "shop.py"}}' in lines
    said = "message of a person, who had seen what came before: You did not run the tests!"
    assert f"[{second.pk}.0] {said}" in lines
    assert f"[{second.pk}.0] the turn ended: failed. It failed." in lines
    assert read.tokens == count(read.text)


def test_a_verdict_is_in_it(project: Project, claude: Template) -> None:
    sandbox = make(project, claude, "killed", labels={"step": "check", "iteration": 2, "role": "checker"})
    turn_of(sandbox, "Check.", status="succeeded", answer={"verdict": "fail"})
    read = compose([sandbox], 10_000)
    assert "role checker, step check, iteration 2" in read.text
    assert 'answered: {"verdict": "fail"}' in read.text


def test_what_says_most_is_kept_and_gaps_are_marked(project: Project, claude: Template, owner: User) -> None:
    sandbox = make(project, claude, "killed")
    noise = [event for n in range(300) for event in (call(n, "Read", path=f"{n}.py"), result(n, "fine"))]
    turn_of(
        sandbox, "Begin.", *noise, call(900, "Bash", command="make"), result(900, "broken here", code=2),
        *noise, text("The last word."), by=owner, status="succeeded",
    )  # fmt: skip
    turn_of(sandbox, "No, the other way.", by=owner, status="interrupted", detail="Somebody interrupted it.")
    read = compose([sandbox], 600)
    for kept in ("Begin.", "No, the other way.", "interrupted", "broken here", "The last word."):
        assert kept in read.text
    assert "\n…\n" in read.text
    assert read.left_out > 500
    assert read.tokens <= 600


def test_ten_thousand_events_stay_within_the_number(project: Project, claude: Template, owner: User) -> None:
    sandbox = make(project, claude, "killed")
    events = [
        one
        for n in range(2_500)
        for one in (
            text(f"Step {n}: " + "I look at the röcket 🚀 and " * 20), call(n, "Bash", command=f"make {n} {900 * 'x'}"),
            result(n, "0123456789abcdef " * 200, code=n % 2), ("thinking", {"text": "hm " * 50}),
        )
    ]  # fmt: skip
    turn_of(sandbox, "word " * 20_000, *events, by=owner, status="failed")
    turn_of(sandbox, "日本語 " * 5_000, by=owner, status="succeeded")
    assert Event.objects.count() == 10_000
    for most in (500, 3_000, 20_000):
        read = compose([sandbox], most)
        assert most / 2 < read.tokens <= most
        assert read.tokens == count(read.text)
        assert (read.parts, read.left_out > 5_000) == (7_504, True)


def test_odd_events_are_no_harm(project: Project, claude: Template) -> None:
    sandbox = make(project, claude, "error", detail="It broke.")
    odd: list[Said] = [
        ("text", {}), ("text", {"text": None}), ("tool_call", {"input": "plain"}), ("tool_result", {"error": True}),
        ("tool_result", {"id": "x", "error": "yes", "exit": "no", "output": ["a"]}), ("error", {"text": 5}),
        ("raw", {"text": "left"}), ("usage", {"input": 1}),
    ]  # fmt: skip
    turn_of(sandbox, "Go.", *odd, status="failed")
    Turn.objects.create(sandbox=sandbox, prompt="Not begun.", status="queued", position=9)
    read = compose([sandbox], 5_000)
    assert "error. It broke." in read.text
    assert "Not begun." not in read.text

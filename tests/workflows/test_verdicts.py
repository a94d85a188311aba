"""Which iterations of runs were approved."""

from codecourier.models import Project
from tests.workflows.pages import run, workflow
from workflows import verdicts
from workflows.models import StepRun


def test_an_iteration_is_approved_when_all_that_judged_it_let_it_pass(project: Project):
    made, other = (run(workflow(project, name), status="completed") for name in ("Loop", "Other"))
    StepRun.objects.all().delete()
    for step, iteration, verdict in ((1, 1, "fail"), (1, 2, "pass"), (2, 2, "pass"), (1, 3, "pass"), (2, 3, "fail")):
        StepRun.objects.create(run=made, kind="step", step=step, iteration=iteration, status="succeeded",
                               answer={"verdict": verdict})  # fmt: skip
    StepRun.objects.create(run=made, kind="step", step=0, iteration=1, status="succeeded", answer={"score": 3})
    assert verdicts.of_runs([made.pk, other.pk]) == {(made.pk, 1): False, (made.pk, 2): True, (made.pk, 3): False}

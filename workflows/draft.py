"""A workflow while somebody builds it: the forms of its head, steps and blocks in their order, and how it is kept.

Nothing of it is stored before it is saved: every button but Save sends all that was typed and gets it back, arranged.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils.datastructures import MultiValueDict

from codecourier import audit
from codecourier.models import Project, User

from . import arranging
from .builder_forms import BlockForm, People, StepForm, WorkflowForm
from .models import Block, Step, Workflow
from .models.workflow import check

Data = Mapping[str, Any]


@dataclass(frozen=True)
class Item:
    """A step outside of every block, or a block with its steps; what its buttons name it by."""

    mark: str
    steps: list[StepForm]
    block: BlockForm | None = None

    @property
    def end(self) -> str:
        """The mark that the next item comes after."""
        return self.mark.replace("open", "close")


class Draft:
    """What the page shows; `checked` when it is to be saved, so that what is wrong is said."""

    def __init__(self, workflow: Workflow, data: Data, marks: list[str], *, checked: bool = False) -> None:
        self.workflow, self.data, self.checked = workflow, data, checked
        self.marks = arranging.well_formed(marks)
        self.error = ""

    @property
    def project(self) -> Project:
        """Where it belongs."""
        return self.workflow.project

    @cached_property
    def people(self) -> People:
        """The personas that can be chosen, and those that are archived but in use."""
        used = Step.objects.filter(workflow=self.workflow.pk or 0).values("persona")
        return People.of(self.project, used)

    @cached_property
    def head(self) -> WorkflowForm:
        """Name, what becomes of the work, what all steps inherit."""
        form: WorkflowForm = self._form(WorkflowForm, "head", self.people, instance=self.workflow)
        return form

    @cached_property
    def steps(self) -> dict[str, StepForm]:
        """By key, in their order."""
        return {key: self._form(StepForm, f"step-{key}", self.people) for key in arranging.keys(self.marks, "step")}

    @cached_property
    def blocks(self) -> dict[str, BlockForm]:
        """By key, in their order."""
        return {key: self._form(BlockForm, f"open-{key}") for key in arranging.keys(self.marks, "open")}

    def _form(self, form: type[Any], prefix: str, *args: Any, **kwargs: Any) -> Any:
        """Bound when it is to be checked; else what was typed is only where it begins."""
        if self.checked:
            return form(*args, self.data, prefix=prefix, **kwargs)
        made = form(*args, prefix=prefix, **kwargs)
        # What is not there is empty, as a box that somebody unticked.
        made.initial = {name: self.data.get(f"{prefix}-{name}", "") for name in made.fields}
        return made

    @property
    def items(self) -> Iterator[Item]:
        """What stands below one another: steps, and blocks with theirs."""
        for mark in self.marks:
            kind, key = arranging.parts(mark)
            if kind == "open":
                inside = [step for step in self.steps if arranging.block_of(self.marks, step) == key]
                yield Item(mark, [self.steps[step] for step in inside], self.blocks[key])
            elif kind == "step" and not arranging.block_of(self.marks, key):
                yield Item(mark, [self.steps[key]])

    def arranged(self, deed: str) -> "Draft":
        """The same after what a button asks for; what is new begins with a persona that suits its place."""
        marks = arranging.done(self.marks, deed)
        data = {name: self.data[name] for name in self.data}
        for mark in marks:
            if mark not in self.marks and mark.startswith("step"):
                data[f"{mark}-persona"] = self.people.suits(self.roles(marks[: marks.index(mark)]))
            if mark not in self.marks and mark.startswith("open"):
                data[f"{mark}-loop_max_iterations"] = 3
        return Draft(self.workflow, data, marks)

    def roles(self, marks: list[str]) -> list[str]:
        """The roles of the steps among these marks."""
        chosen = [self.people.find(self.data.get(f"{mark}-persona")) for mark in marks if mark.startswith("step")]
        return [persona.role for persona in chosen if persona]

    def valid(self) -> bool:
        """Whether it could run; what is wrong is said at its field, or in `error`."""
        forms = [self.head, *self.steps.values(), *self.blocks.values()]
        if [form for form in forms if not form.is_valid()]:
            wrong = [f"step {number}" for number, form in enumerate(self.steps.values(), 1) if form.errors]
            marked = f"Nothing was saved yet: see what is marked{' in ' + ', '.join(wrong) if wrong else ''}."
            self.error = " ".join(str(error) for form in forms for error in form.non_field_errors()) or marked
            return False
        try:
            check(self._numbered())
        except ValidationError as error:
            self.error = " ".join(error.messages)
        return not self.error

    def _numbered(self) -> list[Step]:
        """The steps in order, blocks told apart by numbers that no stored one has."""
        numbers = {key: -place for place, key in enumerate(self.blocks, 1)}
        found = [form.instance for form in self.steps.values()]
        for (key, step), position in zip(self.steps.items(), range(len(found)), strict=True):
            step.instance.position = position
            step.instance.block_id = numbers.get(arranging.block_of(self.marks, key))
        return found

    def save(self, user: User) -> Workflow | None:
        """Keep all of it or, with the reason said, nothing."""
        if not self.valid():
            return None
        try:
            with transaction.atomic():
                if self.head.current():
                    return self._store(user)
        except IntegrityError:
            # The name was free a moment ago.
            self.error = "There is a workflow of this name already."
        else:
            self.error = "Somebody saved this workflow meanwhile. Save again to put yours in its place."
        return None

    def _store(self, user: User) -> Workflow:
        fresh = self.workflow.pk is None
        self.workflow.created_by = user if fresh else self.workflow.created_by
        workflow: Workflow = self.head.save()
        workflow.steps.all().delete()
        workflow.blocks.all().delete()
        rows = dict[str, Block]()
        for key, form in self.blocks.items():
            form.instance.workflow = workflow
            rows[key] = form.save()
        for key, step in self.steps.items():
            step.instance.workflow = workflow
            step.instance.block = rows.get(arranging.block_of(self.marks, key))
            step.save()
        audit.note(user, "workflow.created" if fresh else "workflow.changed", workflow, steps=len(self.steps))
        return workflow


def sent(workflow: Workflow, data: MultiValueDict[str, Any], *, checked: bool) -> Draft:
    """As a form was sent."""
    return Draft(workflow, data, data.getlist("order"), checked=checked)


def stored(workflow: Workflow) -> Draft:
    """As it is stored."""
    data, marks, opened = WorkflowForm.told(workflow, "head-"), list[str](), 0
    for step in workflow.steps.select_related("persona", "block"):
        if step.block_id != opened:
            marks += [f"close-{opened}"] if opened else []
            marks += [f"open-{step.block_id}"] if step.block_id else []
            opened = step.block_id or 0
        if step.block:
            data[f"open-{step.block_id}-loop_max_iterations"] = step.block.loop_max_iterations
        marks.append(f"step-{step.pk}")
        data |= StepForm.told(step, f"step-{step.pk}-")
    return Draft(workflow, data, [*marks, *([f"close-{opened}"] if opened else [])])


def empty(workflow: Workflow) -> Draft:
    """A new one with its first step."""
    return Draft(workflow, WorkflowForm.told(workflow, "head-"), []).arranged("add:")

"""The forms that a workflow is built of: its head, each step, each block."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet

from codecourier.forms import Dressed
from codecourier.models import Project
from personas.models import Persona
from personas.roles import ROLES
from sandboxes import turns
from sandboxes.agents import AGENTS

from .forms import MINUTE_MS, Configuring
from .manifest import JUDGES
from .models import MOST_CANDIDATES, Block, Step, Workflow

TALL = {"data-grow": True, "class": "font-monospace"}
CANDIDATES = [f"candidate_{number}" for number in range(1, MOST_CANDIDATES + 1)]
SEEN = "%Y-%m-%dT%H:%M:%S.%f"


@dataclass(frozen=True)
class People:
    """The personas of a project, read once for all the forms of a page."""

    known: Mapping[str, Persona]

    @classmethod
    def of(cls, project: Project, used: QuerySet[Any] | Iterable[int]) -> "People":
        """Those that are kept, and archived ones in `used`."""
        rows = Persona.objects.filter(Q(archived_at=None) | Q(pk__in=used), project=project)
        return cls({str(persona.pk): persona for persona in rows})

    def find(self, number: Any) -> Persona | None:
        """By number, as a form has it."""
        return self.known.get(str(number))

    def choices(self, empty: str = "", roles: Sequence[str] = ()) -> list[tuple[str, str]]:
        """What a select offers, of some roles or of all."""
        found = [(key, named(persona)) for key, persona in self.known.items() if not roles or persona.role in roles]
        return [("", empty), *found] if empty else found

    def suits(self, before: Sequence[str]) -> str:
        """Who comes after steps of these roles: a designer first, then a checker, then an optimizer."""
        wanted = next((role for role in ("designer", "checker", "optimizer") if role not in before), "designer")
        return next((key for key, persona in self.known.items() if persona.role == wanted), next(iter(self.known), ""))


def named(persona: Persona) -> str:
    """Its name, with what that doesn't tell."""
    notes = [persona.kind.title] if persona.kind.title != persona.name else []
    notes += ["archived"] if persona.archived_at else []
    return f"{persona} ({', '.join(notes)})" if notes else str(persona)


def minutes(row: Any) -> int | str:
    """A time limit as the form asks for it."""
    return row.timeout_ms // MINUTE_MS if row.timeout_ms else ""


def open_effort(form: forms.BaseForm, words: str) -> None:
    """What it means to leave the effort open."""
    form.fields["effort"].choices = [("", words), *Persona.EFFORTS]  # type: ignore[attr-defined]


class WorkflowForm(Configuring, forms.ModelForm[Workflow]):
    """The head of a workflow; `seen` tells which state the person began from."""

    evaluator = forms.ChoiceField(required=False, help_text="The project's own is set in its settings.")
    timeout_minutes = forms.IntegerField(label="Timeout (minutes)", required=False)
    seen = forms.CharField(required=False, widget=forms.HiddenInput)

    class Meta:
        model = Workflow
        fields = ["name", "description", "publish", "keep_unapproved", "evaluate", "designer_model", "checker_model",
                  "effort", "cpu", "memory_mb"]  # fmt: skip
        labels = {"designer_model": "Model", "checker_model": "Checker's model", "effort": "Thinking effort",
                  "cpu": "CPUs", "memory_mb": "Memory (MB)"}  # fmt: skip
        widgets = {"description": forms.Textarea(attrs={"rows": 2, "data-grow": True})}
        error_messages = {"name": {"required": "Give it a name."}}

    def __init__(self, people: People, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.people = people
        open_effort(self, "The persona's own")
        self.fields["evaluator"].choices = people.choices("The project's own", ["evaluator"])  # type: ignore[attr-defined]
        self.fields["seen"].widget.attrs.clear()

    @staticmethod
    def told(workflow: Workflow, prefix: str) -> dict[str, Any]:
        """What a form of a stored one begins with."""
        values = {name: getattr(workflow, name) for name in WorkflowForm.Meta.fields}
        values |= {"evaluator": workflow.evaluator_id or "", "timeout_minutes": minutes(workflow)}
        values["seen"] = workflow.updated_at.strftime(SEEN) if workflow.pk else ""
        return {f"{prefix}{name}": value for name, value in values.items()}

    def clean(self) -> dict[str, Any]:
        """What the fields mean on the model."""
        found: dict[str, Any] = super().clean() or self.cleaned_data
        self.instance.evaluator = self.people.find(found.get("evaluator"))
        self.instance.timeout_ms = found.get("timeout_minutes")
        return found

    def current(self) -> bool:
        """Whether nobody saved it since; from then on it is locked. What is there now has been seen by then."""
        if self.instance.pk is None:
            return True
        there = Workflow.objects.select_for_update().get(pk=self.instance.pk).updated_at.strftime(SEEN)
        if self.cleaned_data["seen"] == there:
            return True
        self.data = {**{name: self.data[name] for name in self.data}, f"{self.prefix}-seen": there}
        return False

    def _get_validation_exclusions(self) -> set[str]:
        # The project is no field of the form, and yet a name is unique in it.
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]
        return excluded - {"project", "archived_at"}


class StepForm(Configuring, forms.ModelForm[Step]):
    """One step: who does it, what it is told besides, and what it does not inherit."""

    persona = forms.ChoiceField(error_messages={"invalid_choice": "Choose a persona of this project."})
    model = forms.CharField(required=False, max_length=120, help_text="Empty: the persona's, else the workflow's.")
    timeout_minutes = forms.IntegerField(label="Timeout (minutes)", required=False)
    judge = forms.ChoiceField(required=False, help_text="Chooses among the candidates.")

    class Meta:
        model = Step
        fields = ["name", "instructions", "effort", "cpu", "memory_mb", "test_script"]
        labels = {"effort": "Thinking effort", "cpu": "CPUs", "memory_mb": "Memory (MB)"}
        widgets = {
            "instructions": forms.Textarea(attrs={"rows": 3, **TALL}),
            "test_script": forms.Textarea(attrs={"rows": 2, **TALL}),
        }

    def __init__(self, people: People, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.people = people
        open_effort(self, "Inherited")
        self.fields["persona"].choices = people.choices()  # type: ignore[attr-defined]
        self.fields["judge"].choices = people.choices("The project's own", ["judge"])  # type: ignore[attr-defined]
        writers = [role.key for role in ROLES.values() if role.writes]
        for number, name in enumerate(CANDIDATES):
            field = forms.ChoiceField(
                required=False, label=f"Candidate {'ABCDE'[number]}", choices=people.choices("None", writers)
            )
            field.widget.attrs["class"] = "form-select"
            self.fields[name] = field

    @staticmethod
    def told(step: Step, prefix: str) -> dict[str, Any]:
        """What a form of a stored one begins with."""
        values = {name: getattr(step, name) for name in StepForm.Meta.fields}
        values |= {"persona": step.persona_id, "judge": step.judge_id or "", "timeout_minutes": minutes(step)}
        values["model"] = step.checker_model if step.persona.role in JUDGES else step.designer_model
        values |= dict(zip(CANDIDATES, step.candidates, strict=False))
        return {f"{prefix}{name}": "" if value is None else value for name, value in values.items()}

    @property
    def who(self) -> Persona | None:
        """The persona that is chosen just now."""
        return self.people.find(self["persona"].value())

    @property
    def candidates(self) -> list[forms.BoundField]:
        """The fields of the candidates."""
        return [self[name] for name in CANDIDATES]

    @property
    def several(self) -> int:
        """How many candidates are chosen just now."""
        return sum(bool(field.value()) for field in self.candidates)

    @property
    def differs(self) -> bool:
        """Whether anything but the persona is filled in, so that the page shows it."""
        names = [*self.Meta.fields, "model", "timeout_minutes", "judge", *CANDIDATES]
        return bool(self.is_bound and self.errors) or any(self[name].value() for name in names)

    def clean_instructions(self) -> str:
        """With line ends as a script needs them."""
        return str(self.cleaned_data["instructions"]).replace("\r\n", "\n")

    def clean_test_script(self) -> str:
        """The same."""
        return str(self.cleaned_data["test_script"]).replace("\r\n", "\n")

    def clean(self) -> dict[str, Any]:
        """What the fields mean on the model; model and effort suit the tool."""
        found: dict[str, Any] = super().clean() or self.cleaned_data
        persona = self.people.find(found.get("persona"))
        if persona is None:
            return found
        self.suit(persona, found.get("model", ""), found.get("effort", ""))
        judges = persona.role in JUDGES
        self.instance.persona = persona
        self.instance.checker_model = found.get("model", "") if judges else ""
        self.instance.designer_model = "" if judges else found.get("model", "")
        self.instance.timeout_ms = found.get("timeout_minutes")
        self.instance.judge = self.people.find(found.get("judge"))
        self.instance.candidates = [int(found[name]) for name in CANDIDATES if found.get(name)]
        return found

    def suit(self, persona: Persona, model: str, effort: str) -> None:
        """Refuse what its tool could not be given."""
        if not AGENTS[persona.tool].structured:
            return
        try:
            turns.check(persona.tool, model, effort)
        except ValidationError as error:
            for name, texts in error.message_dict.items():
                self.add_error("model" if name == "designer_model" else name, texts)


class BlockForm(Dressed, forms.ModelForm[Block]):
    """How often a block repeats at most."""

    class Meta:
        model = Block
        fields = ["loop_max_iterations"]

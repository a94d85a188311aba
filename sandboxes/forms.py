"""Forms of sandboxes: what a new one is made of, messages, the title."""

import hashlib
from collections.abc import Callable
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import IntegrityError

from codecourier.forms import Dressed
from codecourier.models import Project, User
from personas.briefing import brief
from personas.models import ModelChoice, Persona

from . import fleet, turns
from .agents import AGENTS
from .models import TIMEOUT_MS, Checkpoint, Kind, Sandbox, SessionConfig, Template
from .price import hourly

MINUTE_MS = 60_000
IDLE_MINUTES = (1, 1_440)


class SandboxForm(Dressed, forms.ModelForm[Sandbox]):
    """Every configuration field; times in minutes, the ranges those of the model."""

    prompt = forms.CharField(
        required=False,
        max_length=200_000,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 7, "data-grow": True, "class": "font-monospace", "autofocus": True}),
        help_text="The first message. Leave it empty to start the machine and write later.",
    )
    timeout_minutes = forms.IntegerField(label="Timeout", help_text="Minutes of running time after boot, 1 to 240.")
    idle_minutes = forms.IntegerField(
        label="Pause when idle", help_text="Minutes without work after which it sleeps; a message wakes it."
    )
    template = forms.ModelChoiceField(
        Template.objects.filter(active=True),
        empty_label=None,
        help_text="Decides the tool and what the machine starts with.",
    )
    persona = forms.ModelChoiceField(
        Persona.objects.none(), required=False, empty_label="None",
        help_text="What the agent is told and brings along; its model and effort where yours are left open.",
    )  # fmt: skip
    continues = forms.ModelChoiceField(Checkpoint.objects.none(), required=False, widget=forms.HiddenInput)
    request_key = forms.CharField(required=False, max_length=64, widget=forms.HiddenInput)

    class Meta:
        model = Sandbox
        fields = [
            *["template", "designer_model", "checker_model", "effort", "cpu", "memory_mb"],
            *["repository_url", "branch", "depth", "publish", "setup_script"],
        ]
        labels = {
            "repository_url": "Repository",
            "memory_mb": "Memory (MB)",
            "effort": "Thinking effort",
            "designer_model": "Model",
        }
        help_texts = {
            "designer_model": "Suggested by tool, free text allowed; the script tool uses none.",
            "checker_model": "Used when this machine has to give a verdict.",
            "effort": "How long the model may think, where it can be told.",
            "cpu": "1 to 8.",
            "memory_mb": "256 to 8,192.",
            "repository_url": "An https or ssh URL. Empty: an empty repository.",
            "branch": "Empty means the repository's default branch.",
            "depth": "Only so many commits of history; empty for all of it.",
            "setup_script": "Bash, in the clone, before the first message; when it fails, the boot fails.",
        }
        widgets = {
            "setup_script": forms.Textarea(attrs={"rows": 3, "data-grow": True, "class": "font-monospace"}),
            "designer_model": forms.TextInput(attrs={"list": "suggested-models", "autocomplete": "off"}),
            "checker_model": forms.TextInput(attrs={"list": "suggested-models", "autocomplete": "off"}),
        }

    def __init__(self, project: Project, *args: Any, **kwargs: Any) -> None:
        kwargs["initial"] = defaults(project) | (kwargs.get("initial") or {})
        super().__init__(*args, **kwargs)
        self.project = project
        for hidden in ("request_key", "continues"):
            self.fields[hidden].widget.attrs.clear()
        saved = Checkpoint.objects.stored().filter(sandbox__project=project).select_related("sandbox")
        self.fields["continues"].queryset = saved  # type: ignore[attr-defined]
        self.fields["persona"].queryset = Persona.objects.kept().filter(project=project)  # type: ignore[attr-defined]

    def clean_timeout_minutes(self) -> int:
        """Milliseconds; the refusal names the range."""
        low, high = TIMEOUT_MS
        value = int(self.cleaned_data["timeout_minutes"]) * MINUTE_MS
        if not low <= value <= high:
            text = f"Allowed is {low // MINUTE_MS} to {high // MINUTE_MS} minutes ({low:,} to {high:,} ms)."
            raise ValidationError(text)
        return value

    def clean_idle_minutes(self) -> int:
        """Seconds; the refusal names the range."""
        low, high = IDLE_MINUTES
        value = int(self.cleaned_data["idle_minutes"])
        if not low <= value <= high:
            raise ValidationError(f"Allowed is {low} to {high:,} minutes.")
        return value * 60

    def clean(self) -> dict[str, Any]:
        """A persona works with its own tool and fills in what was left open; model and effort suit the tool."""
        found: dict[str, Any] = super().clean() or self.cleaned_data
        persona, template = found.get("persona"), found.get("template")
        if persona and template and persona.tool != template.tool:
            text = f"{persona} works with {Template.Tool(persona.tool).label}: choose a template of that tool."
            self.add_error("template", text)
        if persona:
            found["designer_model"] = found.get("designer_model") or persona.model
            found["effort"] = found.get("effort") or persona.effort
        if template and AGENTS[template.tool].structured:
            turns.check(template.tool, found.get("designer_model", ""), found.get("effort", ""))
            turns.check(template.tool, found.get("checker_model", ""), "")
        return found

    def clean_prompt(self) -> str:
        """As it was written; line ends as a script needs them."""
        return str(self.cleaned_data["prompt"]).replace("\r\n", "\n").strip("\n")

    def clean_setup_script(self) -> str:
        """The same for the setup script."""
        return str(self.cleaned_data["setup_script"]).replace("\r\n", "\n")

    def launch(self, user: User) -> Sandbox | None:
        """The sandbox; None with the errors at their fields when it could not be made."""
        key = self.mark(user)
        try:
            return fleet.launch(
                self.project, user, prompt=self.cleaned_data["prompt"], request_key=key, **self.configuration()
            )
        except IntegrityError:
            # The other one of two at the same moment was first; without one, the fault is another.
            return Sandbox.objects.get(project=self.project, request_key=key)
        except ValidationError as error:
            for name, texts in error.message_dict.items():
                self.add_error(name if name in self.fields else None, texts)
            return None

    def configuration(self) -> dict[str, Any]:
        """The cleaned fields by the names of the model."""
        fields = {name: self.cleaned_data[name] for name in self.Meta.fields}
        times = {"timeout_ms": "timeout_minutes", "idle_seconds": "idle_minutes"}
        return (
            fields
            | {name: self.cleaned_data[field] for name, field in times.items()}
            | {name: self.cleaned_data[name] for name in ("persona", "continues")}
        )

    def mark(self, user: User) -> str | None:
        """The same form sent twice has the same mark; changed or sent by somebody else, another one."""
        if not self.cleaned_data["request_key"]:
            return None
        said = [f"{name}={self.data.get(name, '')}" for name in sorted(self.fields)]
        return hashlib.sha256("\0".join([str(user.pk), str(self.project.pk), *said]).encode()).hexdigest()


def defaults(project: Project) -> dict[str, Any]:
    """What a new sandbox of this project starts from."""
    config = SessionConfig.of(project, Kind.STANDALONE)
    template = config.template or Template.objects.filter(active=True).first()
    sizes = {"cpu": template.cpu, "memory_mb": template.memory_mb} if template else {}
    return {
        **sizes,
        "template": template.pk if template else None,
        "timeout_minutes": 60,
        "idle_minutes": 15,
        "repository_url": project.repository_url,
        "branch": project.default_branch,
        "setup_script": project.setup_script,
        "persona": config.persona_id,
        **configured(config),
    }


def configured(config: SessionConfig) -> dict[str, Any]:
    """What is set for the project, by the names of the form."""
    found = config.machine
    if "timeout_ms" in found:
        found["timeout_minutes"] = found.pop("timeout_ms") // MINUTE_MS
    return found


def like(project: Project, number: str) -> dict[str, Any]:
    """The configuration and the first message of an earlier sandbox; empty for an unknown one."""
    past = project.sandboxes.filter(pk=number).first() if number.isdecimal() and len(number) < 18 else None
    if past is None:
        return {}
    first = past.turns.first()
    fields = {name: getattr(past, name) for name in SandboxForm.Meta.fields if name != "template"}
    times = {"timeout_minutes": past.timeout_ms // MINUTE_MS, "idle_minutes": max(1, past.idle_seconds // 60)}
    return {**fields, **times, "template": past.template_id, "prompt": first.prompt if first else ""}


def continuing(project: Project, number: str) -> dict[str, Any]:
    """The work of a checkpoint, with the configuration of its sandbox; empty for an unknown one."""
    rows = Checkpoint.objects.stored().filter(sandbox__project=project)
    saved = rows.filter(pk=number).first() if number.isdecimal() and len(number) < 18 else None
    return {**like(project, str(saved.sandbox_id)), "prompt": "", "continues": saved.pk} if saved else {}


def with_persona(project: Project, number: str) -> dict[str, Any]:
    """A chosen persona, and a template of its tool; empty for an unknown one."""
    rows = Persona.objects.kept().filter(project=project)
    persona = rows.filter(pk=number).first() if number.isdecimal() and len(number) < 18 else None
    if persona is None:
        return {}
    template = Template.objects.filter(tool=persona.tool, active=True).first()
    sizes = {"template": template.pk, "cpu": template.cpu, "memory_mb": template.memory_mb} if template else {}
    return {"persona": persona.pk, **sizes}


def summary(form: SandboxForm) -> dict[str, Any]:
    """What a form, bound or not, would make, as far as it can be read: for the panel beside it."""
    read = _reader(form)
    template = Template.objects.filter(pk=read("template")).first() if read("template").isdecimal() else None
    cpu, memory = _number(read("cpu")), _number(read("memory_mb"))
    chosen = Persona.objects.kept().filter(project=form.project, pk=_number(read("persona")) or 0).first()
    return {
        "template": template,
        "agent": AGENTS[template.tool] if template else None,
        "models": ModelChoice.offered(template.tool) if template else [],
        "persona": chosen,
        "briefing": brief(form.project, chosen),
        "model": read("designer_model"),
        "effort": read("effort"),
        "cpu": cpu,
        "memory_mb": memory,
        "minutes": _number(read("timeout_minutes")),
        "repository": read("repository_url"),
        "continues": Checkpoint.objects.stored()
        .filter(sandbox__project=form.project, pk=_number(read("continues")) or 0)
        .first(),
        "branch": read("branch"),
        "setup": bool(read("setup_script").strip()),
        "tight": bool(template and memory and memory < template.needs_mb),
        "hourly": hourly(cpu, memory) if cpu and memory else None,
    }


def _reader(form: SandboxForm) -> Callable[[str], str]:
    source = form.data if form.is_bound else form.initial
    return lambda name: str(source.get(name) if source.get(name) is not None else "")


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 9 else None

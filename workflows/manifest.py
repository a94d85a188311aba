"""What a run pins at its launch, so that a later edit changes nothing that runs, and "run again" repeats it.

{"workflow": {"id", "name"}, "steps": [step, ...], "blocks": [{"steps": [0, 1], "most": 3}, ...],
 "evaluate": bool, "scorable": bool, "evaluator": step, "publish": "request" | "push" | "nothing",
 "keep_unapproved": bool, "estimate": see `estimates`}

step: {"name", "role", "tool", "contract", "writes", "instructions", "candidates": [agent, ...], "judge": step | null,
       "test_script", **agent}
agent: {"persona", "persona_id", "tool", "version", "template", "model", "effort", "cpu", "memory_mb", "timeout_ms",
        "briefing", "script"}
"""

from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import ValidationError

from codecourier.models import Project
from personas import briefing
from personas.models import Asset, Persona
from personas.roles import ROLES
from sandboxes.agents import AGENTS
from sandboxes.models import Kind, SessionConfig, Template

from .contracts import of_role
from .models import Evaluate, Step, Workflow
from .models.workflow import check

# Whose model is the checker's, where a configuration has two.
JUDGES = {"checker", "reviewer", "evaluator", "judge"}
Manifest = dict[str, Any]


def pin(workflow: Workflow, overrides: Mapping[str, Any] | None = None) -> Manifest:
    """The manifest of a run that is launched now; ValidationError when the workflow could not run."""
    steps = list(workflow.steps.select_related("persona", "judge", "block"))
    check(steps)
    given = dict(overrides or {})
    pinned = [_step(workflow, step, given) for step in steps]
    return {
        "workflow": {"id": workflow.pk, "name": workflow.name},
        "steps": pinned,
        "blocks": list(_blocks(steps)),
        "evaluate": workflow.evaluate == Evaluate.ALWAYS,
        "scorable": workflow.evaluate != Evaluate.NEVER,
        "evaluator": service(workflow.project, "evaluator", Kind.EVALUATOR, workflow.evaluator),
        "publish": workflow.publish,
        "keep_unapproved": workflow.keep_unapproved,
    }


def _blocks(steps: list[Step]) -> Iterable[dict[str, Any]]:
    for block in dict.fromkeys(step.block for step in steps if step.block):
        inside = [place for place, step in enumerate(steps) if step.block == block]
        yield {"steps": inside, "most": block.loop_max_iterations}


def _step(workflow: Workflow, step: Step, given: Mapping[str, Any]) -> dict[str, Any]:
    config = {**workflow.config, **given, **step.config}
    known = {persona.pk: persona for persona in Persona.objects.filter(pk__in=step.candidates)}
    missing = [pk for pk in step.candidates if pk not in known]
    if missing:
        raise ValidationError(f"Step {step.position + 1}, {step}: a candidate's persona is gone. Choose another.")
    several = [agent(known[pk], config, step.config, given) for pk in step.candidates]
    return {
        "name": str(step),
        "role": step.persona.role,
        "contract": of_role(step.persona.role),
        "writes": ROLES[step.persona.role].writes,
        "instructions": step.instructions,
        "candidates": several,
        "judge": service(workflow.project, "judge", Kind.JUDGE, step.judge) if several else None,
        "test_script": step.test_script,
        **agent(step.persona, config, step.config, given),
    }


def agent(
    persona: Persona,
    config: Mapping[str, Any],
    own: Mapping[str, Any],
    given: Mapping[str, Any],
    context: Asset | None = None,
) -> dict[str, Any]:
    """Who does it, on what machine. The step's or the run's model goes before the persona's, then the workflow's."""
    template = template_of(persona.tool)
    which = "checker_model" if persona.role in JUDGES else "designer_model"
    models = [own.get(which), given.get(which), persona.model, config.get(which)]
    efforts = [own.get("effort"), given.get("effort"), persona.effort, config.get("effort")]
    effort = next(filter(None, efforts), "")
    structured = AGENTS[persona.tool].structured
    package = AGENTS[persona.tool].package
    return {
        "persona": persona.name,
        "persona_id": persona.pk,
        "tool": persona.tool,
        "version": package.version if package else "",
        "template": template.pk,
        "model": next(filter(None, models), "") if structured else "",
        "effort": effort if effort in AGENTS[persona.tool].efforts else "",
        "cpu": config.get("cpu") or template.cpu,
        "memory_mb": config.get("memory_mb") or template.memory_mb,
        "timeout_ms": config.get("timeout_ms") or 3_600_000,
        "briefing": briefing.brief(persona.project, persona if persona.pk else None, context).to_json(),
        "script": "" if structured else persona.instructions,
    }


def service(project: Project, role: str, kind: str, persona: Persona | None) -> dict[str, Any]:
    """A judge or an evaluator: the persona chosen, else the setting of that kind of session, else the stock one."""
    config = SessionConfig.of(project, kind)
    stock = Persona.objects.kept().filter(project=project, role=role).first()
    who = persona or config.persona or stock
    if who is None:
        who = Persona(project=project, name=ROLES[role].title, role=role, tool=ROLES[role].tool)
    made = agent(who, config.machine, {}, {"checker_model": config.model, "effort": config.effort}, config.context)
    return {
        "name": ROLES[role].title, "role": role, "contract": of_role(role), "writes": False,
        "instructions": config.prompt, "candidates": [], "judge": None, "test_script": "", **made,
    }  # fmt: skip


def template_of(tool: str) -> Template:
    """The machine of a tool: an administrator's first active one; ValidationError without any."""
    found = Template.objects.filter(tool=tool, active=True).order_by("slug").first()
    found = Template.objects.filter(tool=tool, active=True, slug=tool).first() or found
    if found is None:
        raise ValidationError(f"There is no template for {AGENTS[tool].name}. An administrator can add one.")
    return found

"""Each tool's list of models: one table, which administrators edit, says what pages offer and what is the default."""

import pytest
from django.test import Client

from codecourier.models import Project, User
from personas.models import ModelChoice
from sandboxes import fleet, jobs, stock
from sandboxes.agents import AGENTS
from sandboxes.models import Job, Sandbox, Template


@pytest.fixture
def sandbox(project: Project, owner: User, template: Template) -> Sandbox:
    """One of Claude Code's, without a model of its own."""
    stock.models()
    template = Template.objects.create(slug="claude", name="Claude Code", tool="claude", image="claude")
    return fleet.launch(project, owner, template=template, prompt="Go on")


def asked(sandbox: Sandbox) -> str:
    """The model that its first turn is started with."""
    job, _ = Job.objects.get_or_create(sandbox=sandbox, kind=Job.Kind.TURN)
    sandbox.turns.update(job=job)
    return jobs.task(Job.objects.get(pk=job.pk)).model


def test_every_tool_starts_with_what_its_module_suggests(sandbox: Sandbox) -> None:
    for tool, agent in AGENTS.items():
        assert ModelChoice.offered(tool) == list(agent.models)
    assert asked(sandbox) == ""


def test_an_administrators_list_stays(sandbox: Sandbox) -> None:
    ModelChoice.objects.filter(tool="claude").exclude(position=0).delete()
    stock.models()
    assert len(ModelChoice.offered("claude")) == 1


def test_what_stands_first_is_the_default(sandbox: Sandbox) -> None:
    ModelChoice.objects.filter(tool="claude").update(position=5)
    ModelChoice.objects.create(tool="claude", name="house-model", position=1)
    assert asked(sandbox) == "house-model"
    Sandbox.objects.update(designer_model="its-own")
    sandbox.refresh_from_db()
    assert asked(sandbox) == "its-own"


def test_pages_offer_the_table(sandbox: Sandbox, member_client: Client) -> None:
    ModelChoice.objects.filter(tool="claude").update(active=False)
    ModelChoice.objects.create(tool="claude", name="house-model", position=1)
    page = member_client.get(f"/p/rocket/sandboxes/{sandbox.pk}/").content.decode()
    assert '<datalist id="models"><option value="house-model"></datalist>' in page
    new = member_client.get(f"/p/rocket/sandboxes/new/?template={sandbox.template_id}").content.decode()
    assert '<datalist id="suggested-models"><option value="house-model"></datalist>' in new

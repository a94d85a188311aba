"""The page of one run, live."""

import json

import pytest
from asgiref.sync import sync_to_async
from django.test import Client
from django.utils import timezone

from codecourier.models import Membership, Project, User
from sandboxes.models import Template
from tests.codecourier.test_live_pages import closed_with, opened, said
from tests.workflows import rows
from workflows.models import Run, StepRun

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def claude(db: None) -> Template:
    return Template.objects.create(slug="claude", name="Claude Code", tool="claude", image="claude")


@pytest.fixture
def run(project: Project, member: User) -> Run:
    return rows.make_run(project, member)


async def test_a_stranger_is_closed_out(run: Run, stranger_client: Client):
    async with opened(f"/ws/p/rocket/runs/{run.pk}/", stranger_client) as socket:
        assert await closed_with(socket) == 4404


async def test_who_leaves_the_project_sees_no_more_of_it(run: Run, member_client: Client):
    async with opened(f"/ws/p/rocket/runs/{run.pk}/", member_client) as socket:
        await said(socket, 'id="pipeline"')
        await sync_to_async(Membership.objects.filter(user__email="mia@example.com").delete)()
        await sync_to_async(run.nudge)()
        assert await closed_with(socket) == 4404


async def test_the_page_moves_to_the_step_at_work(run: Run, claude: Template, member_client: Client):
    first = await sync_to_async(rows.step)(run, claude, took=None)
    async with opened(f"/ws/p/rocket/runs/{run.pk}/", member_client) as socket:
        begun = await said(socket, 'id="pipeline"', 'id="axis"', f'data-step="{first.pk}"')
        assert begun.count('hx-swap-oob="morph"') == 14
        await sync_to_async(first.move)("succeeded", ended_at=timezone.now())
        second = await sync_to_async(rows.step)(run, claude, 1, took=None)
        await sync_to_async(second.nudge)()
        moved = await said(socket, f'id="card-{second.pk}"')
        assert 'data-state="succeeded"' in moved
        assert f'data-step="{second.pk}"' in moved


async def test_it_stays_at_a_step_that_somebody_looks_at(run: Run, claude: Template, member_client: Client):
    first = await sync_to_async(rows.step)(run, claude, took=None)
    async with opened(f"/ws/p/rocket/runs/{run.pk}/", member_client) as socket:
        await said(socket, f'data-step="{first.pk}"')
        for word in ("{", "[]", '{"step_run": "1"}', json.dumps({"step_run": first.pk})):
            await socket.send_to(word)
        await sync_to_async(first.move)("succeeded", ended_at=timezone.now())
        second = await sync_to_async(rows.step)(run, claude, 1, took=None)
        await sync_to_async(second.nudge)()
        moved = await said(socket, f'id="card-{second.pk}"')
        assert f'data-step="{second.pk}"' not in moved


async def test_a_verdict_appears_with_the_move(run: Run, claude: Template, member_client: Client):
    row: StepRun = await sync_to_async(rows.step)(run, claude, 1, took=None)
    async with opened(f"/ws/p/rocket/runs/{run.pk}/", member_client) as socket:
        await said(socket, f'id="card-{row.pk}"')
        answer = rows.verdict(False, rows.finding())
        await sync_to_async(row.move)("succeeded", ended_at=timezone.now(), answer=answer)
        assert "Sent back" in await said(socket, f'id="edge-{row.pk}"')

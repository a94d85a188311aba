"""The list of runs, live."""

import pytest
from asgiref.sync import sync_to_async
from django.test import Client

from codecourier.models import Project
from tests.codecourier.test_live_pages import closed_with, opened, said
from tests.workflows.pages import run, workflow
from workflows.models import Run

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def going(project: Project) -> Run:
    return run(workflow(project), "running")


async def test_a_stranger_is_closed_out(going: Run, stranger_client: Client):
    async with opened("/ws/p/rocket/runs/", stranger_client) as socket:
        assert await closed_with(socket) == 4404


async def test_rows_and_counts_follow_and_stay_narrowed(going: Run, member_client: Client):
    async with opened("/ws/p/rocket/runs/?status=running", member_client) as socket:
        begun = await said(socket, 'id="rows"', 'id="views"', 'id="count"')
        assert f'id="run-{going.pk}"' in begun
        await sync_to_async(going.move)("failed", detail="As it is.")
        ended = await said(socket, "No run matches")
        assert f'id="run-{going.pk}"' not in ended

"""The readings, live: on their own page and on that of the sandbox that is read."""

import pytest
from asgiref.sync import sync_to_async
from django.test import Client

from codecourier.models import Membership
from learnings import extraction
from sandboxes.models import Sandbox
from tests.codecourier.test_live_pages import closed_with, opened, said

pytestmark = pytest.mark.django_db(transaction=True)


async def test_a_reading_moves_on_its_page_and_on_its_sandboxs(worked: Sandbox, member_client: Client) -> None:
    begin, advance = sync_to_async(extraction.begin), sync_to_async(extraction.advance)
    async with opened("/ws/p/rocket/learnings/sessions/", member_client) as page:
        await said(page, "Nothing was read yet")
        async with opened(f"/ws/p/rocket/sandboxes/{worked.pk}/", member_client) as own:
            await said(own, "Not read")
            row = await begin(worked.project, [worked], labels={})
            assert f'id="extraction-{row.pk}"' in await said(page, 'data-state="waiting"')
            await said(own, "Waits to be read")
            await advance(row)
            await said(page, 'data-state="running"')
            await said(own, "Being read")


async def test_only_members_follow_them(worked: Sandbox, member_client: Client, stranger_client: Client) -> None:
    async with opened("/ws/p/rocket/learnings/sessions/", stranger_client) as socket:
        assert await closed_with(socket) == 4404
    async with opened("/ws/p/rocket/learnings/sessions/", member_client) as socket:
        await said(socket, "Nothing was read yet")
        await sync_to_async(Membership.objects.filter(user__email="mia@example.com").delete)()
        await sync_to_async(extraction.begin)(worked.project, [worked], labels={})
        assert await closed_with(socket) == 4404

"""The usage tab in a real browser: charts of what was kept, a cost that ticks, and no terminal drawn unseen."""

from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from codecourier.models import Project
from sandboxes import e2b, metrics
from sandboxes.models import Job, Sandbox, Template
from tests.browser.conftest import Web
from tests.sandboxes.pages import make
from usage import stock

PAINTED = """name => {
    const canvas = document.querySelector(`canvas[data-series=${name}]`);
    return canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some((value) => value > 0);
}"""


@pytest.fixture
def sandbox(web: Web, project: Project, template: Template) -> Sandbox:
    stock.rates()
    made = make(project, template, provider="e2b", real_cpu=8, real_memory_mb=8192)
    now = timezone.now().replace(microsecond=0)
    metrics.keep(
        made,
        [e2b.Usage(now - timedelta(seconds=15 * n), 10.0 * n, 2**28, 2**30, 2**20, 2**33) for n in range(4)],
    )
    Job.objects.create(sandbox=made, kind=Job.Kind.TURN, status=Job.Status.EXITED)
    return made


def test_the_tab_draws_what_was_kept_and_the_cost_grows_by_itself(page: Page, sandbox: Sandbox):
    page.goto(f"/p/rocket/sandboxes/{sandbox.pk}/?tab=usage")
    expect(page.locator("#usage-resources")).to_contain_text("30.0 %")
    for name in ("cpu", "memory", "disk"):
        expect(page.locator(f"canvas[data-series={name}]")).to_be_visible()
        page.wait_for_function(PAINTED, arg=name)
    cost = page.locator("#facts data[data-per-second]")
    before = cost.inner_text()
    expect(cost).not_to_have_text(before)
    assert float(cost.inner_text().strip("<$")) >= float(before.strip("<$"))


def test_a_terminal_is_drawn_only_once_it_is_seen(page: Page, sandbox: Sandbox):
    page.goto(f"/p/rocket/sandboxes/{sandbox.pk}/?tab=usage")
    expect(page.locator("html")).to_have_attribute("data-live", "yes")
    expect(page.locator("#tab-output .xterm")).to_have_count(0)
    page.get_by_role("link", name="Output").click()
    expect(page.locator("#tab-output .xterm-rows")).to_be_visible()

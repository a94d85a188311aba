"""`uv run python -m tests.pictures`: a real sandbox's every tab as a person sees it, into docs/screenshots.

Claude Code works in it against the scripted model server; Chromium takes each tab wide and narrow, light and dark.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import django

# The settings are read once, so the folder has to be there before.
HOME = tempfile.TemporaryDirectory(prefix="pictures-", ignore_cleanup_errors=True)
os.environ |= {
    "TEST_STATE": HOME.name,
    "DJANGO_SETTINGS_MODULE": "tests.settings",
    "DJANGO_ALLOW_ASYNC_UNSAFE": "true",
}
django.setup()

# The models of these are there only now.
from playwright.sync_api import Browser, Page, sync_playwright  # noqa: E402

from codecourier.models import User  # noqa: E402
from personas import library  # noqa: E402
from personas.models import Asset, Persona  # noqa: E402
from sandboxes import fleet  # noqa: E402
from sandboxes.models import Sandbox, Template  # noqa: E402
from sandboxes.record import TABS  # noqa: E402
from tests.agents.clis import CLAUDE  # noqa: E402
from tests.agents.harness import AgentStack, Conversation, project_for  # noqa: E402
from tests.conftest import signed_in  # noqa: E402
from tests.endtoend.conftest import git  # noqa: E402
from tests.modelserver import ModelServer  # noqa: E402
from tests.stack import ROOT, own_database  # noqa: E402
from usage import stock  # noqa: E402

FOLDER = ROOT / "docs" / "screenshots"
SIZES = {"": (1440, 900), "-phone": (390, 844)}
THEMES: dict[str, Literal["light", "dark"]] = {"": "light", "-dark": "dark"}
PROMPT = """The discount makes orders dearer instead of cheaper. Find out why, mend it and show that the tests pass.

[[think: Let me look at the shop before I change anything.]] [[note: I will **read the code** first.]]
[[shell: cat shop.py]]
[[shell: sed -i 's/1 + discount/1 - discount/' shop.py && git diff --stat]]
[[shell: PYTHONDONTWRITEBYTECODE=1 python3 -m unittest -v]]
[[shell: nohup python3 -m http.server 8000 >/dev/null 2>&1 &]]
[[say: The sign was wrong: a discount was *added*. Now it is taken off, and both tests pass.

| order | before | after |
|---|---|---|
| 100 less 20 % | 120 | 80 |

```diff
-    return sum(prices) * (1 + discount / 100)
+    return sum(prices) * (1 - discount / 100)
```
]]"""
CODE = "def total(prices, discount=0):\n    return sum(prices) * (1 + discount / 100)\n"
TEST = """import unittest

from shop import total


class Total(unittest.TestCase):
    def test_a_discount_makes_it_cheaper(self):
        self.assertEqual(total([100], 20), 80)

    def test_without_discount(self):
        self.assertEqual(total([10, 20]), 30)
"""
SKILL = (
    b"---\nname: house-style\ndescription: How code looks here.\n---\nShort names, no comments that repeat the code.\n"
)


class Pictured(AgentStack):
    """Agents' stack that opens its shop."""

    def shop(self, folder: Path) -> str:
        """A small repository with a wrong sign."""
        folder.mkdir()
        git(folder, "init", "-q")
        (folder / "shop.py").write_text(CODE)
        (folder / "test_shop.py").write_text(TEST)
        git(folder, "add", ".")
        git(folder, "commit", "-qm", "A shop")
        return str(folder)


@contextmanager
def working(state: Path) -> Iterator[tuple[Pictured, Sandbox, User]]:
    """The product with a sandbox whose first turn is over."""
    with ModelServer.running() as server, own_database(state) as url:
        # The product's own settings, which serve the style sheets.
        stack = Pictured(state, url, server, DJANGO_SETTINGS_MODULE="codecourier.settings", STATE=str(state))
        try:
            stack.start("host", "worker", "relay", "web")
            stock.rates()
            yield stack, *work(stack)
        finally:
            stack.stop()


def work(stack: Pictured) -> tuple[Sandbox, User]:
    """Launch it, wait for its turn."""
    project, user, scope = project_for(stack, CLAUDE)
    project.name = "Corner shop"
    project.save()
    persona = Persona.objects.create(
        project=project, name="Careful mender", tool="claude", instructions="Mend the cause, never the test."
    )
    skill = Asset.objects.create(project=project, kind="skill", name="house-style", description="How code looks here.")
    library.save(skill, user, {"SKILL.md": SKILL}, 0)
    library.publish(skill, user, "First")
    persona.assets.add(skill)
    template = Template.objects.get(slug="claude")
    sandbox = fleet.launch(
        project, user, template=template, prompt=PROMPT, persona=persona,
        designer_model=CLAUDE.model, effort=CLAUDE.effort, repository_url=stack.shop(stack.state / "shop"),
    )  # fmt: skip
    fleet.retitle(sandbox, "Discounts make orders dearer")
    talk = Conversation(stack, CLAUDE, scope, user, sandbox)
    turn = talk.over(sandbox.turns.get())
    assert turn.status == "succeeded", turn.detail
    talk.over(talk.send("Is there anything else that I should know?"))
    return sandbox, user


def window(browser: Browser, url: str, user: User, size: str, theme: str) -> Page:
    """A signed-in window."""
    width, height = SIZES[size]
    context = browser.new_context(
        base_url=url, viewport={"width": width, "height": height}, color_scheme=THEMES[theme], reduced_motion="reduce"
    )
    session = signed_in(user).cookies["sessionid"].value
    context.add_cookies([{"name": "sessionid", "value": session, "url": url}])
    return context.new_page()


def take(page: Page, path: str, tab: str, mark: str) -> None:
    """One picture, once what the tab waits for is there."""
    page.goto(f"{path}?tab={tab}")
    page.wait_for_selector("html[data-live=yes]")
    waits = {
        "terminal": "#tab-terminal .xterm-rows", "files": "#tab-files .files-table", "previews": "#tab-previews table",
        "changes": "#changes .line-come",
    }  # fmt: skip
    if tab in waits:
        page.wait_for_selector(waits[tab])
    if tab == "terminal":
        rows = page.locator("#tab-terminal .xterm-rows")
        rows.filter(has_text="$").wait_for()
        page.locator("#tab-terminal .xterm-helper-textarea").focus()
        page.keyboard.type("git status --short; ls\n")
        rows.filter(has_text="test_shop.py").wait_for()
    page.screenshot(path=FOLDER / f"{tab}{mark}.png")


def main() -> None:
    """All of them."""
    with working(Path(HOME.name)) as (stack, sandbox, user), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        path = f"/p/{sandbox.project.slug}/sandboxes/{sandbox.pk}/"
        for size in SIZES:
            for theme in THEMES:
                page = window(browser, stack.url, user, size, theme)
                for tab in TABS:
                    take(page, path, tab, size + theme)
                page.context.close()
        browser.close()


if __name__ == "__main__":
    main()

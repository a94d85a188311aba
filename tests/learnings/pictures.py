"""`uv run python -m tests.learnings.pictures`: the pages of learnings as a person sees them, into docs/screenshots.

Rows as a session would have written them; Chromium takes each page, two of them narrow and dark as well.
"""

import itertools
import os
import tempfile
from pathlib import Path

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
from playwright.sync_api import sync_playwright  # noqa: E402

from codecourier.models import Project  # noqa: E402
from tests.learnings.shop import fill  # noqa: E402
from tests.pictures import FOLDER, SIZES, THEMES, window  # noqa: E402
from tests.stack import Stack, own_database  # noqa: E402

# These are taken narrow and dark, too.
EVERY = {"inbox", "compile"}


def main() -> None:
    """All of them."""
    state = Path(HOME.name)
    with own_database(state) as url, sync_playwright() as playwright:
        stack = Stack(state, url, DJANGO_SETTINGS_MODULE="codecourier.settings", STATE=str(state))
        try:
            stack.start("web")
            project, user = stack.project()
            Project.objects.filter(pk=project.pk).update(name="Corner shop")
            lesson = fill(project, user)
            pages = {
                "inbox": "", "library": "library/", "lesson": f"{lesson.similar_to_id}/", "versions": "versions/",
                "compile": "versions/compile/", "version": "versions/1/?role=designer", "sessions": "sessions/",
            }  # fmt: skip
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
            for size, theme in itertools.product(SIZES, THEMES):
                page = window(browser, stack.url, user, size, theme)
                for name, path in pages.items():
                    if name in EVERY or not size + theme:
                        page.goto(f"/p/{project.slug}/learnings/{path}")
                        page.wait_for_selector("html[data-live=yes]")
                        page.screenshot(path=FOLDER / f"learnings-{name}{size}{theme}.png")
                page.context.close()
            browser.close()
        finally:
            stack.stop()


if __name__ == "__main__":
    main()

"""How soon a diff is seen: `uv run python -m tests.bench.changes [FILES]`, one line of JSON.

Chromium opens the changes tab of two sandboxes, one with five changed files and one with FILES (5,000) of them; the
milliseconds are those from the click on a link to the first file's lines, the middle of seven looks.
"""

import json
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import django

HOME = tempfile.TemporaryDirectory(prefix="bench-changes-", ignore_cleanup_errors=True)
os.environ |= {
    "TEST_STATE": HOME.name,
    "DJANGO_SETTINGS_MODULE": "tests.settings",
    "DJANGO_ALLOW_ASYNC_UNSAFE": "true",
}
django.setup()

from playwright.sync_api import Page, sync_playwright  # noqa: E402

from codecourier.models import Project, User  # noqa: E402
from sandboxes.checkpoints.store import Store, ref_of  # noqa: E402
from sandboxes.models import Checkpoint, Sandbox, Template  # noqa: E402
from tests.conftest import signed_in  # noqa: E402
from tests.sandboxes.pages import make as make_sandbox  # noqa: E402
from tests.sandboxes.repositories import commit, git, keep, make  # noqa: E402
from tests.stack import Stack, own_database  # noqa: E402

FILES, FEW, LOOKS = 5_000, 5, 7
SEEN = """async () => {
    while (!document.querySelector("#changes .line-come")) await new Promise(requestAnimationFrame);
    return performance.now();
}"""


def changed(project: Project, folder: Path, files: int) -> Sandbox:
    """A sandbox that is over, whose work changed so many files of forty lines."""
    clone = make(folder, a__txt="one\n")
    start = git(clone, "rev-parse", "HEAD")
    for number in range(files):
        place = clone / f"package{number % 50:02}"
        place.mkdir(exist_ok=True)
        lines = [f"def function_{number}_{line}(x):\n    return x + {line}\n" for line in range(20)]
        (place / f"module_{number:05}.py").write_text("".join(lines))
    commit(clone, "Many")
    template = Template.objects.get(slug="script")
    sandbox = make_sandbox(project, template, "killed", title=f"{files} files", start_commit=start)
    row = Checkpoint.objects.create(sandbox=sandbox, cause="turn", status=Checkpoint.Status.TAKING)
    row.move(Checkpoint.Status.STORED, commit=keep(Store.of(project), clone, ref_of(sandbox.pk, row.pk)))
    return sandbox


def looks(page: Page, sandbox: Sandbox) -> list[float]:
    """Milliseconds from the navigation's start to the first lines, each time."""
    took = []
    for _ in range(LOOKS):
        page.goto(f"/p/{sandbox.project.slug}/sandboxes/{sandbox.pk}/?tab=changes", wait_until="commit")
        took.append(float(page.evaluate(SEEN)))
    return took


def measured(stack: Stack, user: User, project: Project, files: int) -> dict[str, object]:
    """Both, in one browser."""
    few, many = (changed(project, stack.state / f"clone-{count}", count) for count in (FEW, files))
    found = shutil.which("chromium")
    if not found:
        raise SystemExit("There is no Chromium here: apt-get install chromium.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(base_url=stack.url, viewport={"width": 1440, "height": 900})
        session = signed_in(user).cookies["sessionid"].value
        context.add_cookies([{"name": "sessionid", "value": session, "url": stack.url}])
        page = context.new_page()
        page.goto("/")
        result = {
            str(count): {"median_ms": round(statistics.median(took)), "most_ms": round(max(took))}
            for count, took in ((FEW, looks(page, few)), (files, looks(page, many)))
        }
        browser.close()
    return {"first_lines_by_files": result, "looks": LOOKS}


def main() -> None:
    """Measure and print."""
    files = int(sys.argv[1]) if len(sys.argv) > 1 else FILES
    state = Path(HOME.name)
    with own_database(state) as url:
        stack = Stack(state, url, DJANGO_SETTINGS_MODULE="codecourier.settings", STATE=str(state))
        try:
            stack.start("web")
            project, user = stack.project()
            sys.stdout.write(json.dumps(measured(stack, user, project, files)) + "\n")
        finally:
            stack.stop()


if __name__ == "__main__":
    main()

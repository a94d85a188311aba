"""What the page of one chain shows, to its view and to its socket."""

from typing import Any

from django.template.loader import render_to_string

from sandboxes import spending
from sandboxes.models import PullRequest
from sandboxes.price import Cost

from . import listing
from .models import Chain, Link

PARTS = ("heading", "notice", "links", "facts")
OVER = (Link.Status.COMPLETED, Link.Status.SKIPPED)


def context(chain: Chain) -> dict[str, Any]:
    """Everything."""
    links = list(chain.links.select_related("run", "issue"))
    numbers = [link.run_id for link in links if link.run_id]
    costs = {run: spent.total for run, spent in spending.of_runs(numbers).items()}
    pulls = pulls_of(chain, links)
    for link in links:
        link.chain = chain
        link.cost = costs.get(link.run_id) if link.run_id else None  # type: ignore[attr-defined]
        link.pull = pulls.get(link.run.work_branch) if link.run else None  # type: ignore[attr-defined]
    done = sum(link.status in OVER for link in links)
    return {
        "project": chain.project,
        "chain": chain,
        "links": links,
        "done": done,
        "percent": round(100 * done / len(links)) if links else 0,
        "cost": sum(costs.values(), Cost()),
        "pull": pulls.get(chain.work_branch) if chain.one_request else None,
        "resumable": chain.status != Chain.Status.RUNNING,
        "tabs": listing.tabs(chain.project),
    }


def pulls_of(chain: Chain, links: list[Link]) -> dict[str, PullRequest]:
    """The newest pull request of each branch of the chain."""
    branches = {link.run.work_branch for link in links if link.run} | {chain.work_branch}
    rows = PullRequest.objects.filter(project=chain.project_id, branch__in=branches - {""}).order_by("pk")
    return {row.branch: row for row in rows}


def fragments(found: dict[str, Any]) -> dict[str, str]:
    """The live parts, by name."""
    shown = {**found, "live": True}
    return {name: render_to_string(f"issues/chain_detail.html#{name}", shown) for name in PARTS}

"""Where GitHub delivers: no session and no form, but a signature."""

from http import HTTPStatus

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from codecourier.models import Project
from sandboxes.publishing import hooks


@csrf_exempt
@login_not_required
@require_POST
def github(request: HttpRequest, slug: str) -> HttpResponse:
    """One delivery. An unknown project answers as one with another secret does."""
    project = Project.objects.filter(slug=slug).first()
    body = request.read(hooks.MOST_BYTES + 1)
    if len(body) > hooks.MOST_BYTES:
        return say("A delivery may have 25 MB at most.", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    try:
        if project is None:
            raise hooks.Refused("The signature is not that of the project's webhook secret.")
        found = hooks.take(
            project, body, signature=request.headers.get("X-Hub-Signature-256", ""),
            delivery=request.headers.get("X-GitHub-Delivery", ""), event=request.headers.get("X-GitHub-Event", ""),
        )  # fmt: skip
    except hooks.Refused as refusal:
        return say(str(refusal), HTTPStatus.FORBIDDEN)
    return say(f"{found} looked at.", HTTPStatus.ACCEPTED)


def say(sentence: str, status: HTTPStatus) -> HttpResponse:
    """GitHub shows it to whoever looks at the webhook."""
    return JsonResponse({"message": sentence}, status=status)

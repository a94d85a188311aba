"""The output as a file."""

from django.http import HttpRequest, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe

from codecourier.access import project_of
from sandboxes import output
from sandboxes.models import Job


@require_safe
def job_log(request: HttpRequest, slug: str, job: int) -> StreamingHttpResponse:
    """Everything that is stored of one command, a stretch at a time and never as a whole in memory."""
    found = get_object_or_404(Job, sandbox__project=project_of(request, slug), pk=job)
    headers = {"Content-Disposition": f'attachment; filename="job-{found.pk}.log"'}
    return StreamingHttpResponse(output.file(found.pk), content_type="application/octet-stream", headers=headers)

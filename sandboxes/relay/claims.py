"""Which jobs a relay follows: leases on rows, taken over within seconds of another relay's death."""

import logging
from collections.abc import Collection

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Q
from django.utils import timezone

from codecourier import crypto
from codecourier.lifecycle import OWNER
from codecourier.redact import Redactor
from sandboxes import e2b
from sandboxes.agents import AGENTS
from sandboxes.models import Job, Sandbox, Wanted
from sandboxes.reasons import Reason
from sandboxes.transcript import Transcript

from .fold import Cursor, Fold
from .follower import Claim

logger = logging.getLogger(__name__)

AT_ONCE = 50
FOLLOWED = (Sandbox.Status.CREATING, Sandbox.Status.RUNNING)
# Locked in the order in which everybody locks jobs, so that nobody waits for us while we wait for them.
RENEW = """
WITH mine AS (
    SELECT job.id FROM sandboxes_job AS job
    JOIN unnest(%s::bigint[], %s::bigint[]) AS ours(id, epoch) ON job.id = ours.id AND job.lease_epoch = ours.epoch
    WHERE job.status = 'running' ORDER BY job.id FOR NO KEY UPDATE OF job
)
UPDATE sandboxes_job AS job SET lease_until = %s FROM mine WHERE job.id = mine.id RETURNING job.id
"""


def take() -> list[tuple[Claim, Fold]]:
    """Lease running jobs that nobody follows; never those of a machine that sleeps or is to sleep."""
    now = timezone.now()
    free = Q(lease_until__isnull=True) | Q(lease_until__lt=now)
    with transaction.atomic():
        rows = Job.objects.select_for_update(skip_locked=True, of=("self",)).filter(
            free, status=Job.Status.RUNNING, sandbox__status__in=FOLLOWED
        )
        ids = list(rows.exclude(sandbox__wanted=Wanted.PAUSE).order_by("pk").values_list("pk", flat=True)[:AT_ONCE])
        Job.objects.filter(pk__in=ids).update(
            lease_owner=OWNER, lease_epoch=F("lease_epoch") + 1, lease_until=now + Job.LEASE
        )
    jobs = Job.objects.filter(pk__in=ids).select_related("sandbox__project")
    return [found for job in jobs if (found := open_job(job))]


def open_job(job: Job) -> tuple[Claim, Fold] | None:
    """A leased job with its place in the spool; None when its provider's key is gone."""
    try:
        provider = e2b.provider_of(job.sandbox.project)
    except e2b.Denied as error:
        logger.warning("Job %s can't be followed: %s", job.pk, error)
        return None
    claim = Claim(job.pk, job.lease_epoch, provider, job.sandbox.provider_id, job.sandbox_id)
    stored, state, fold = Cursor.load(crypto.decrypt(job.fold) if job.fold else "")
    cursor = Cursor(job.offset, job.spool_seq, job.seq, job.lines, job.bytes, stored, job.capped, state, fold)
    redactor = Redactor(job.sandbox.project.secrets())
    return claim, Fold(cursor, redactor, settings.OUTPUT_CAP_BYTES, transcript_of(job, redactor))


def transcript_of(job: Job, redactor: Redactor) -> Transcript | None:
    """For turns of tools that print events."""
    agent = AGENTS[job.sandbox.tool]
    if job.kind != Job.Kind.TURN or not agent.structured:
        return None
    return Transcript(agent, redactor, job.context, job.events)


def renew(claims: Collection[Claim]) -> set[int]:
    """Push the leases ahead; the ids of the jobs that are still ours and still run."""
    if not claims:
        return set()
    until = timezone.now() + Job.LEASE
    with connection.cursor() as cursor:
        cursor.execute(RENEW, [[claim.job for claim in claims], [claim.epoch for claim in claims], until])
        ours = {row[0] for row in cursor.fetchall()}
    return ours - asleep(ours)


def asleep(ids: Collection[int]) -> set[int]:
    """Jobs of machines that sleep or are about to."""
    rows = Job.objects.filter(pk__in=ids)
    return set(
        rows.filter(Q(sandbox__status=Sandbox.Status.PAUSED) | Q(sandbox__wanted=Wanted.PAUSE)).values_list(
            "pk", flat=True
        )
    )


def may_connect(claim: Claim) -> bool:
    """Connecting would resume a machine that was paused on purpose: ask the row at the last moment."""
    rows = Job.objects.filter(pk=claim.job, lease_epoch=claim.epoch, status=Job.Status.RUNNING)
    return rows.filter(sandbox__status__in=FOLLOWED).exclude(sandbox__wanted=Wanted.PAUSE).exists()


def lose(claim: Claim) -> None:
    """The machine is gone, so the job's end will never be told."""
    job = Job.objects.select_related("sandbox").get(pk=claim.job)
    if not job.final and job.lease_epoch == claim.epoch:
        job.move(Job.Status.LOST, reason=Reason.LOST, detail=Reason.sentence(Reason.LOST), ended_at=timezone.now())

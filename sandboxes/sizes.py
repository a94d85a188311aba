"""Sizes in the cloud: a template is built for each the first time that somebody wants it, and used by all after.

A sandbox asks (`wanted`) in its boot and is poked when its build moves; the build is brought forward by its own task.
Facts: cpu and memory are fixed when a template is built (https://e2b.dev/docs/template/quickstart).
"""

from typing import Any

from django.db import transaction
from django.db.models import Value
from django.db.models.functions import Concat, Right
from django.utils import timezone

from codecourier import registries
from codecourier.lifecycle import Later

from . import e2b
from .models import Build, Phase, Sandbox
from .models.build import LOG_CHARS
from .reasons import Reason

B = Build.Status


def wanted(sandbox: Sandbox, provider: e2b.Provider) -> Build:
    """The build of this sandbox's size, begun by whoever asks first, and anew after one that failed before."""
    phase = sandbox.phases.get(name=Phase.Name.TEMPLATE)
    with transaction.atomic():
        build, made = Build.objects.get_or_create(
            account=e2b.account(provider),
            name=e2b.template_name(sandbox),
            defaults={
                "project": sandbox.project,
                "image": sandbox.template.image,
                "cpu": sandbox.cpu,
                "memory_mb": sandbox.memory_mb,
                "status": B.BUILDING,
                "deadline_at": timezone.now() + Build.DEADLINES[B.BUILDING],
                "due_at": timezone.now(),
            },
        )
        if made:
            build.record("", build.status, build.status_at)
        again = build.status == B.FAILED and phase.started_at and build.status_at < phase.started_at
        if again:
            fresh: dict[str, Any] = {"asked_at": None, "template_id": "", "build_id": "", "log": "", "entries": 0}
            again = build.move(B.BUILDING, due_at=timezone.now(), project=sandbox.project, **fresh)
        if made or again:
            registries.sweepers[Build].enqueue(build.pk)
    return build


def known(sandbox: Sandbox, provider: e2b.Provider) -> bool:
    """Whether its size has been built, as far as we know."""
    name = e2b.template_name(sandbox)
    return Build.objects.filter(account=e2b.account(provider), name=name, status=B.READY).exists()


def forget(sandbox: Sandbox, provider: e2b.Provider) -> None:
    """The provider does not have it any more: the next one who wants it has it built."""
    Build.objects.filter(account=e2b.account(provider), name=e2b.template_name(sandbox), status=B.READY).delete()


def advance(build: Build) -> None:
    """Bring a build, leased to the caller, as far as it goes now."""
    if build.status != B.BUILDING:
        return
    if build.deadline_at and build.deadline_at < timezone.now():
        end(
            build,
            B.FAILED,
            f"E2B did not build the template {build} in time. Start the sandbox again to try once more.",
        )
        return
    try:
        _advance(build, e2b.provider_of(build.project))
    except e2b.Gone:
        end(build, B.FAILED, f"E2B does not know the template {build} any more. Start the sandbox again.")
    except e2b.ProviderError as error:
        if not error.final:
            raise Later(str(error)) from error
        end(build, B.FAILED, str(error))


def _advance(build: Build, provider: e2b.Provider) -> None:
    if e2b.account(provider) != build.account:
        end(build, B.FAILED, "The E2B key was changed meanwhile. Start the sandbox again.")
    elif not build.build_id:
        ask(build, provider)
    else:
        hear(build, provider)


def ask(build: Build, provider: e2b.Provider) -> None:
    """Have it built, unless somebody had it built before our time here."""
    if build.asked_at is None and e2b.has_template(provider, build.name):
        end(build, B.READY)
        return
    # A second asking after a lost answer builds the same name again, which harms nothing.
    Build.objects.filter(pk=build.pk).update(asked_at=timezone.now())
    ids = e2b.build_template(provider, build.image, build.name, build.cpu, build.memory_mb)
    Build.objects.filter(pk=build.pk).update(template_id=ids[0], build_id=ids[1])


def hear(build: Build, provider: e2b.Provider) -> None:
    """Take over what the provider says of it."""
    said = e2b.build_progress(provider, (build.template_id, build.build_id), build.entries)
    if said.lines:
        text = "".join(f"{line}\n" for line in said.lines)
        Build.objects.filter(pk=build.pk).update(
            log=Right(Concat("log", Value(text)), LOG_CHARS), entries=build.entries + len(said.lines)
        )
        poke(build)
    elif said.state == "ready":
        end(build, B.READY)
    elif said.state == "error":
        end(build, B.FAILED, f"E2B could not build the template {build}: {said.reason or 'it did not say why'}")


def end(build: Build, status: str, detail: str = "") -> None:
    """Ready or failed; those who wait are told."""
    with transaction.atomic():
        if build.move(status, reason=Reason.SETUP_FAILED if status == B.FAILED else "", detail=detail):
            poke(build)


def poke(build: Build) -> None:
    """Have every sandbox that may wait for it look."""
    waiting = Sandbox.objects.alive().filter(
        template__image=build.image, cpu=build.cpu, memory_mb=build.memory_mb,
        phases__name=Phase.Name.TEMPLATE, phases__status=Phase.Status.RUNNING,
    )  # fmt: skip
    for pk in waiting.values_list("pk", flat=True):
        Sandbox.poke(pk)

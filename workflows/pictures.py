"""Reference images of a run: kept below the portal's uploads, handed to each agent with its first message."""

import uuid
from collections.abc import Sequence

from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile

from sandboxes import attachments

from .models import Picture, Run

KINDS = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".pdf")


def check(files: Sequence[UploadedFile]) -> None:
    """Refuse what no agent could look at; ValidationError names the file."""
    attachments.check(files)
    for file in files:
        if not (file.name or "").lower().endswith(KINDS):
            raise ValidationError(
                f"{attachments.clean(file.name or '')} is no picture. Allowed are {', '.join(KINDS)}."
            )


def keep(run: Run, files: Sequence[UploadedFile]) -> None:
    """Store them; they go when the transaction doesn't come to its end."""
    check(files)
    names = attachments.distinct(attachments.clean(file.name or "") for file in files)
    kept = []
    try:
        for file, name in zip(files, names, strict=True):
            path = f"runs/{run.pk}/{uuid.uuid4().hex}"
            kept.append(attachments.place(path))
            attachments.write(kept[-1], file)
            Picture.objects.create(run=run, name=name, path=path, size=file.size or 0)
    except BaseException:
        attachments.remove(kept)
        raise


def files(run: Run) -> list[UploadedFile]:
    """The same, to be handed on."""
    return [
        UploadedFile(attachments.place(picture.path).open("rb"), picture.name, size=picture.size)
        for picture in run.pictures.all()
        if attachments.place(picture.path).is_file()
    ]

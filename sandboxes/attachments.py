"""Files that go with a message: kept below STATE/uploads, written into the machine when their turn starts."""

import shutil
import unicodedata
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile

from . import e2b
from .models import Attachment, Sandbox, Turn

MB = 1024 * 1024
FILE_BYTES, MESSAGE_BYTES, MOST_FILES = 20 * MB, 50 * MB, 20
NAME_CHARS = 120


def check(files: Sequence[UploadedFile]) -> None:
    """Refuse what is too much; ValidationError says what and how much is allowed."""
    for file in files:
        if (file.size or 0) > FILE_BYTES:
            raise ValidationError(
                f"{clean(file.name or '')} has {_mb(file.size or 0)} MB; a file may have {FILE_BYTES // MB} MB. "
                "Leave it out or make it smaller."
            )
    total = sum(file.size or 0 for file in files)
    if total > MESSAGE_BYTES:
        raise ValidationError(
            f"The files have {_mb(total)} MB together; a message may have {MESSAGE_BYTES // MB} MB. Send some of them "
            "with another message."
        )
    if len(files) > MOST_FILES:
        raise ValidationError(
            f"A message may have {MOST_FILES} files, these are {len(files)}. Send fewer, or an archive."
        )


def _mb(size: int) -> str:
    return f"{size / MB:.1f}"


def clean(name: str) -> str:
    """A file's own name, without folders and without what a shell or a terminal would take for something else."""
    last = name.replace("\\", "/").rpartition("/")[2]
    kept = "".join("_" if unicodedata.category(char).startswith(("C", "Z")) and char != " " else char for char in last)
    kept = kept.strip(" .-") or "file"
    stem, dot, suffix = kept.rpartition(".")
    return kept if len(kept) <= NAME_CHARS else f"{stem[: NAME_CHARS - len(suffix) - 1]}{dot}{suffix}"[:NAME_CHARS]


def distinct(names: Iterable[str]) -> list[str]:
    """The same names with numbers where one came twice."""
    found: list[str] = []
    for name in names:
        path, number, made = PurePosixPath(name), 1, name
        while made in found:
            number += 1
            made = f"{path.stem}-{number}{path.suffix}"
        found.append(made)
    return found


def keep(turn: Turn, files: Sequence[UploadedFile]) -> None:
    """Store the files of a message that was just queued; they go when its transaction doesn't come to its end."""
    names = distinct(clean(file.name or "") for file in files)
    kept: list[Path] = []
    try:
        for file, name in zip(files, names, strict=True):
            path = f"{turn.sandbox_id}/{uuid.uuid4().hex}"
            kept.append(place(path))
            write(kept[-1], file)
            Attachment.objects.create(sandbox=turn.sandbox, turn=turn, name=name, path=path, size=file.size or 0)
    except BaseException:
        remove(kept)
        raise


def write(path: Path, file: UploadedFile) -> None:
    """Store an uploaded file at a new place; its folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.open("xb") as kept:
        for chunk in file.chunks():
            kept.write(chunk)


def place(path: str) -> Path:
    """Where a stored file is."""
    return Path(settings.STATE) / "uploads" / path


def remove(paths: Iterable[Path]) -> None:
    """Delete stored files; one that is gone already is as good as deleted."""
    for path in paths:
        path.unlink(missing_ok=True)


def forget(sandbox_id: int) -> None:
    """Everything that was ever attached in a sandbox."""
    shutil.rmtree(place(str(sandbox_id)), ignore_errors=True)


def paths(turn: Turn) -> tuple[str, ...]:
    """Where the files of a turn are in the machine."""
    return tuple(f"{e2b.HOME}/attachments/{turn.pk}/{file.name}" for file in turn.attachments.all())


def hand_over(turn: Turn, machine: e2b.Machine) -> None:
    """Write the files of a turn into the machine; once more does no harm."""
    files = {
        path: place(file.path).read_bytes() for path, file in zip(paths(turn), turn.attachments.all(), strict=True)
    }
    if files:
        machine.write(files, "hand over the attached files")


def stored(sandbox: Sandbox, pk: int) -> Attachment | None:
    """One of a sandbox's files, if it is still there."""
    found = Attachment.objects.filter(sandbox=sandbox, pk=pk).first()
    return found if found and place(found.path).is_file() else None

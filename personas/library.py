"""Assets on their way: a draft is saved as it is typed, publishing makes an immutable version the active one.

save ──> draft (number counts up; a save that began from an older one is refused and gives both texts)
publish ──> version (nothing changed: the active one stays) ──> what later machines get
restore ──> an older version's files become the draft
"""

import difflib
import hashlib
import io
import re
import zipfile
from collections.abc import Iterable
from pathlib import PurePosixPath

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from codecourier import audit
from codecourier.models import User

from .models import Asset, AssetVersion
from .models.asset import Files, files_of, stored_of

MOST_FILES, MOST_BYTES, MOST_ALL = 200, 1024 * 1024, 5 * 1024 * 1024
DEEPEST = 8
FRONT = re.compile(r"\A---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)
FIELD = re.compile(r"^(name|description)\s*:\s*(.*)$", re.MULTILINE)


class Overtaken(Exception):
    """Somebody else saved meanwhile; the draft as it is now is in the asset."""


def save(asset: Asset, user: User | None, files: Files, number: int) -> None:
    """Store a draft that was begun from save `number`.

    Raises Overtaken when there is a newer save (which this one would wipe out), ValidationError for files that no
    machine could be given.
    """
    check(asset, files)
    changes = {"draft": stored_of(files), "draft_number": number + 1, "draft_at": timezone.now(), "draft_by": user}
    if not Asset.objects.filter(pk=asset.pk, draft_number=number).update(**changes):
        asset.refresh_from_db()
        if asset.draft == changes["draft"]:
            return
        raise Overtaken
    asset.refresh_from_db()


def publish(asset: Asset, user: User | None, note: str = "") -> AssetVersion:
    """Make the draft what later machines get. ValidationError when it is not complete."""
    with transaction.atomic():
        row = Asset.objects.select_for_update().get(pk=asset.pk)
        complete(row)
        if row.active and not row.unpublished:
            return row.active
        files = row.files
        latest = row.versions.first()
        version = AssetVersion.objects.create(
            asset=row, number=latest.number + 1 if latest else 1, files=row.draft, digest=digest(files),
            size=sum(map(len, files.values())), note=note.strip()[:200], published_by=user,
        )  # fmt: skip
        Asset.objects.filter(pk=row.pk).update(active=version)
        audit.note(user, "asset.published", row, version=version.number)
    asset.refresh_from_db()
    return version


def restore(asset: Asset, user: User | None, version: AssetVersion) -> None:
    """An older version's files become the draft; nothing is published."""
    save(asset, user, version.contents, asset.draft_number)


def archive(asset: Asset, user: User | None, archived: bool = True) -> None:
    """Out of the lists and of later machines, or back."""
    with transaction.atomic():
        Asset.objects.filter(pk=asset.pk).update(archived_at=timezone.now() if archived else None)
        audit.note(user, "asset.archived" if archived else "asset.restored", asset)


def digest(files: Files) -> str:
    """SHA-256 over paths and contents, in the order of the paths."""
    whole = hashlib.sha256()
    for path in sorted(files):
        whole.update(path.encode() + b"\0" + hashlib.sha256(files[path]).digest())
    return whole.hexdigest()


def check(asset: Asset, files: Files) -> None:
    """ValidationError unless these files may be stored."""
    if len(files) > MOST_FILES:
        raise ValidationError(f"At most {MOST_FILES} files fit into one {asset.get_kind_display().lower()}.")
    for path, data in files.items():
        check_path(path)
        if len(data) > MOST_BYTES:
            raise ValidationError(f"{path} is too large: at most {MOST_BYTES // 1024} KB a file.")
    if sum(map(len, files.values())) > MOST_ALL:
        raise ValidationError(f"Together the files are too large: at most {MOST_ALL // 1024 // 1024} MB.")
    if asset.kind != Asset.Kind.SKILL and set(files) - {asset.main}:
        raise ValidationError(f"A {asset.get_kind_display().lower()} is a single file.")


def check_path(path: str) -> None:
    """ValidationError for a path that could leave the folder or that a file system would not take."""
    parts = PurePosixPath(path).parts
    wrong = not parts or path.startswith("/") or "\\" in path or "\0" in path or len(path) > 200
    if wrong or len(parts) > DEEPEST or {".", ".."} & set(path.split("/")) or "" in path.split("/"):
        raise ValidationError(f"{path[:60]!r} is not a path inside the folder. Use names joined by single slashes.")


def complete(asset: Asset) -> None:
    """ValidationError unless the draft could be used as it is."""
    text = asset.text
    if not text.strip():
        raise ValidationError(f"Write {asset.main} first: it is empty.")
    if asset.kind == Asset.Kind.SKILL:
        check_front_matter(text)


def check_front_matter(text: str) -> None:
    """A skill says at its top what it is called and when it is of use: agents read only that at first."""
    fields = front_matter(text)
    missing = [name for name in ("name", "description") if not fields.get(name)]
    if missing:
        raise ValidationError(
            f"SKILL.md must begin with front matter that has {' and '.join(missing)}: three hyphens, "
            "`name: ...`, `description: ...`, three hyphens."
        )


def front_matter(text: str) -> dict[str, str]:
    """Name and description of a skill's front matter, empty when there is none."""
    found = FRONT.match(text.replace("\r\n", "\n"))
    return {name: value.strip().strip("\"'") for name, value in FIELD.findall(found[1])} if found else {}


def body(text: str) -> str:
    """A text without its front matter."""
    return FRONT.sub("", text, count=1)


def from_zip(data: bytes) -> Files:
    """The files of an uploaded archive, without a folder around all of them. ValidationError for a bad one."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir() and wanted(entry.filename)]
            if len(entries) > MOST_FILES or sum(entry.file_size for entry in entries) > MOST_ALL:
                raise ValidationError(f"The archive has more than {MOST_FILES} files or {MOST_ALL // 2**20} MB.")
            return unwrapped({entry.filename: bounded(archive, entry) for entry in entries})
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError) as error:
        raise ValidationError("This is not a zip archive that can be read.") from error


def bounded(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """One entry, whatever its header says of its size."""
    with archive.open(entry) as stream:
        data = stream.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ValidationError(f"{entry.filename} is too large: at most {MOST_BYTES // 1024} KB a file.")
    return data


def wanted(path: str) -> bool:
    """Without what file managers leave behind."""
    return not path.startswith("__MACOSX/") and PurePosixPath(path).name != ".DS_Store"


def unwrapped(files: Files) -> Files:
    """Without the one folder that stands around everything."""
    tops = {path.split("/", 1)[0] for path in files}
    if len(tops) == 1 and all("/" in path for path in files):
        return {path.split("/", 1)[1]: data for path, data in files.items()}
    return files


def to_zip(name: str, files: Files) -> bytes:
    """An archive with a folder of that name."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(files):
            archive.writestr(f"{name}/{path}", files[path])
    return whole.getvalue()


def changes(old: AssetVersion | None, new: AssetVersion | None, asset: Asset) -> Iterable[tuple[str, str, str]]:
    """(path, text before, text after) of every file that differs; None for `new` means the draft."""
    before = old.contents if old else {}
    after = new.contents if new else files_of(asset.draft)
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) != after.get(path):
            yield path, _text(before.get(path)), _text(after.get(path))


def _text(data: bytes | None) -> str:
    if data is None:
        return ""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return f"(binary, {len(data)} bytes)"


def difference(old: str, new: str) -> list[tuple[str, str]]:
    """(sign, line) of a unified difference; the signs are `+`, `-`, `@` and a space."""
    made = difflib.unified_diff(old.splitlines(), new.splitlines(), n=3, lineterm="")
    return [(line[0], line[1:] if line[0] != "@" else line) for line in list(made)[2:]]

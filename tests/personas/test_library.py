"""Drafts and versions: nothing reaches a machine before it is published, and what was published stays as it was."""

import io
import zipfile

import pytest
from django.core.exceptions import ValidationError
from django.db import DatabaseError, connection

from codecourier.models import AuditEntry, Project, User
from personas import library
from personas.models import Asset

GOOD = b"---\nname: review-style\ndescription: How we review.\n---\n# Review\n"


@pytest.fixture
def skill(project: Project) -> Asset:
    return Asset.objects.create(project=project, kind="skill", name="review-style")


def zipped(**files: bytes) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return whole.getvalue()


def test_publishing_makes_versions_of_what_was_saved(skill: Asset, member: User) -> None:
    library.save(skill, member, {"SKILL.md": GOOD, "scripts/run.py": b"\x00\xff"}, 0)
    assert skill.unpublished
    first = library.publish(skill, member, "The first")
    assert (first.number, first.contents, skill.active, skill.unpublished) == (
        1, {"SKILL.md": GOOD, "scripts/run.py": b"\x00\xff"}, first, False,
    )  # fmt: skip
    assert library.publish(skill, member).pk == first.pk
    library.save(skill, member, {"SKILL.md": GOOD + b"more"}, 1)
    second = library.publish(skill, member)
    assert (second.number, skill.active, first.digest == second.digest) == (2, second, False)
    assert list(AuditEntry.objects.values_list("action", "data")) == [
        ("asset.published", {"version": 2}), ("asset.published", {"version": 1}),
    ]  # fmt: skip


def test_two_people_on_one_draft_lose_no_text(skill: Asset, member: User, owner: User) -> None:
    library.save(skill, owner, {"SKILL.md": b"hers"}, 0)
    with pytest.raises(library.Overtaken):
        library.save(Asset.objects.get(pk=skill.pk), member, {"SKILL.md": b"his"}, 0)
    skill.refresh_from_db()
    assert (skill.text, skill.draft_by) == ("hers", owner)
    library.save(skill, member, {"SKILL.md": b"hers"}, 0)


@pytest.mark.django_db(transaction=True)
def test_the_database_keeps_what_was_published(skill: Asset, member: User) -> None:
    library.save(skill, member, {"SKILL.md": GOOD}, 0)
    version = library.publish(skill, member)
    Asset.objects.update(active=None)
    for statement in ("UPDATE personas_assetversion SET note = 'x'", "DELETE FROM personas_assetversion"):
        with pytest.raises(DatabaseError), connection.cursor() as cursor:
            cursor.execute(statement)
    member.delete()
    version.refresh_from_db()
    assert (version.published_by, version.note) == (None, "")
    skill.project.delete()
    assert not Asset.objects.exists()


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"../x": b""}, "not a path inside"),
        ({"/etc/passwd": b""}, "not a path inside"),
        ({"a//b": b""}, "not a path inside"),
        ({"": b""}, "not a path inside"),
        ({"/".join("abcdefghij"): b""}, "not a path inside"),
        ({"big": b"x" * (library.MOST_BYTES + 1)}, "too large"),
        ({f"{n}": b"x" * library.MOST_BYTES for n in range(6)}, "Together"),
        ({f"{n}": b"" for n in range(library.MOST_FILES + 1)}, "At most 200"),
    ],
)
def test_what_no_machine_could_be_given_is_refused(skill: Asset, files: dict[str, bytes], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        library.save(skill, None, files, 0)
    skill.refresh_from_db()
    assert skill.draft == {}


@pytest.mark.parametrize("text", [b"", b"# Review", b"---\nname: x\n---\n", b"---\ndescription: x\n", b"---\n---\n"])
def test_a_skill_that_agents_could_not_find_is_not_published(skill: Asset, text: bytes) -> None:
    library.save(skill, None, {"SKILL.md": text}, 0)
    with pytest.raises(ValidationError):
        library.publish(skill, None)
    assert not skill.versions.exists()


def test_others_are_single_files(project: Project) -> None:
    command = Asset.objects.create(project=project, kind="command", name="tidy")
    with pytest.raises(ValidationError, match="single file"):
        library.save(command, None, {"command.md": b"x", "more.md": b""}, 0)


def test_an_archive_comes_without_the_folder_around_it() -> None:
    packed = zipped(**{"style/SKILL.md": GOOD, "style/a/b.txt": b"x", "__MACOSX/y": b"", "style/.DS_Store": b""})
    assert library.from_zip(packed) == {"SKILL.md": GOOD, "a/b.txt": b"x"}
    assert library.from_zip(library.to_zip("style", {"SKILL.md": GOOD})) == {"SKILL.md": GOOD}


@pytest.mark.parametrize("data", [b"", b"no archive", zipped(bomb=b"\0" * (20 * 2**20)), zipped(a=b"x" * 2**21)[:-30]])
def test_bad_archives_are_refused_in_a_sentence(data: bytes) -> None:
    with pytest.raises(ValidationError):
        library.from_zip(data)

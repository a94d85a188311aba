"""Files of a real machine through the portal's pages: in the project folder only, bounded, and nothing of them runs."""

import io
import os
import zipfile
from typing import Any
from urllib.parse import quote

import pytest
from asgiref.sync import async_to_sync
from django.conf import LazySettings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from sandboxes import e2b, files
from sandboxes.models import Sandbox
from tests.sandboxes.workbench import local, machine, sandbox

__all__ = ["local", "machine", "sandbox"]

PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
PROJECT = f"{e2b.HOME}/project"
MARK = "0123456789abcdef" * 2


@pytest.fixture(autouse=True)
def empty_folder(machine: e2b.Machine) -> None:
    machine.run(f"rm -rf {PROJECT} && mkdir {PROJECT}", "begin anew")


def address(sandbox: Sandbox, view: str = "", path: str = "", **more: Any) -> str:
    words = "".join(f"&{name}={quote(str(value))}" for name, value in more.items())
    return f"/p/rocket/sandboxes/{sandbox.pk}/files/{view}?path={quote(path)}{words}"


def page(client: Client, sandbox: Sandbox, path: str = "", **more: Any) -> str:
    answer = client.get(address(sandbox, path=path, **more))
    assert answer.status_code == 200
    return answer.content.decode()


def body(answer: Any) -> bytes:
    """A stream's bytes; the answer is one that is never read into memory as a whole."""
    assert answer.is_async

    async def read() -> bytes:
        return b"".join([piece async for piece in answer.streaming_content])

    return async_to_sync(read)()


def write(machine: e2b.Machine, **contents: bytes) -> None:
    machine.write(
        {f"{PROJECT}/{name.replace('__', '/').replace('_', '.')}": data for name, data in contents.items()}, ""
    )


def test_a_folder_shows_folders_first_with_sizes_and_links(
    member_client: Client, sandbox: Sandbox, machine: e2b.Machine
):
    write(machine, zoo_txt=b"x" * 2048, app__main_py=b"print(1)\n", _hidden=b"")
    machine.run(f"ln -s zoo.txt {PROJECT}/near; ln -s /etc/passwd {PROJECT}/far", "link")
    html = page(member_client, sandbox)
    assert html.index(">app</a>") < html.index(">near</a>") < html.index(">zoo.txt</a>")
    assert "2.0\xa0KB" in html
    assert "→ zoo.txt" in html
    assert "→ /etc/passwd" in html
    assert ">.hidden</a>" not in html
    assert ">.hidden</a>" in page(member_client, sandbox, hidden="")


def test_the_tree_opens_one_folder_at_a_time(member_client: Client, sandbox: Sandbox, machine: e2b.Machine):
    write(machine, app__main_py=b"")
    top = page(member_client, sandbox, part="tree")
    assert "part=tree&amp;path=app" in top
    assert "main.py" not in top
    assert "main.py" in page(member_client, sandbox, "app", part="tree")


def test_a_text_is_shown_in_colours_and_escaped(member_client: Client, sandbox: Sandbox, machine: e2b.Machine):
    write(machine, main_py=b'def f():\n    return "<script>alert(1)</script>"\n')
    html = page(member_client, sandbox, "main.py")
    assert '<span class="k">def</span>' in html
    assert "&lt;script&gt;alert(1)" in html
    assert "<script>alert(1)" not in html


def test_a_long_text_is_cut_and_says_so(member_client: Client, sandbox: Sandbox, machine: e2b.Machine):
    machine.run(f"yes line | head -c 3000000 > {PROJECT}/long.txt", "write")
    html = page(member_client, sandbox, "long.txt")
    assert "Only the first 1.0\xa0MB are shown" in html
    assert len(html) < 3_000_000


def test_what_is_no_text_and_what_has_no_end_is_not_shown(
    member_client: Client, sandbox: Sandbox, machine: e2b.Machine
):
    write(machine, data_bin=b"\0\1\2")
    machine.run(f"mkfifo {PROJECT}/pipe", "make a pipe")
    assert "This is no text" in page(member_client, sandbox, "data.bin")
    assert "a pipe, a socket or a device" in page(member_client, sandbox, "pipe")
    answer = member_client.get(address(sandbox, "raw/", "pipe"))
    assert answer.status_code == 409
    assert "it has no end" in answer.content.decode()


def test_an_image_is_sent_as_one_that_can_run_nothing(member_client: Client, sandbox: Sandbox, machine: e2b.Machine):
    write(machine, pic_png=PNG, fake_png=b"<svg onload=alert(1)>", pic_svg=b"<svg onload=alert(1)>")
    assert "&amp;show" in page(member_client, sandbox, "pic.png")
    answer: Any = member_client.get(address(sandbox, "raw/", "pic.png", show=""))
    assert answer["Content-Type"] == "image/png"
    assert answer["Content-Security-Policy"].startswith("sandbox;")
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert body(answer) == PNG
    for name in ("fake.png", "pic.svg"):
        assert "<img" not in page(member_client, sandbox, name).split('id="files-view"')[1]
        answer = member_client.get(address(sandbox, "raw/", name, show=""))
        assert answer["Content-Disposition"].startswith("attachment")
        body(answer)


def test_a_download_has_every_byte_under_its_own_name(member_client: Client, sandbox: Sandbox, machine: e2b.Machine):
    data = os.urandom(3_000_000)
    name = 'na"me\u00e9.html'
    machine.write({f"{PROJECT}/{name}": data}, "write")
    answer = member_client.get(address(sandbox, "raw/", name))
    assert answer["Content-Disposition"] == "attachment; filename*=utf-8''na%22me%C3%A9.html"
    assert body(answer) == data


@pytest.mark.parametrize("path", ["..", "../../../etc", "a/../..", "far", "far/passwd"])
def test_nothing_outside_of_the_project_is_reached(
    path: str, member_client: Client, sandbox: Sandbox, machine: e2b.Machine
):
    machine.run(f"mkdir {PROJECT}/a; ln -s /etc {PROJECT}/far", "link")
    assert "leads out of the project folder" in page(member_client, sandbox, path)
    assert member_client.get(address(sandbox, "raw/", path)).status_code == 409
    assert member_client.get(address(sandbox, "zip/", path)).status_code == 409
    file = SimpleUploadedFile("x.txt", b"x")
    sent = member_client.post(address(sandbox, "upload/", path), {"files": [file]}, follow=True)
    assert "leads out of the project folder" in sent.content.decode()


def test_names_that_are_no_text_are_shown_and_harmless(member_client: Client, sandbox: Sandbox, machine: e2b.Machine):
    machine.run(f"cd {PROJECT}; touch $'bad\\xff' $'new\\nline' '<b>bold'", "write")
    html = page(member_client, sandbox)
    assert "bad\\xff" in html
    assert "new\\nline" in html
    assert "&lt;b&gt;bold" in html


def test_files_of_a_form_are_brought_but_replace_nothing(member_client: Client, sandbox: Sandbox, machine: e2b.Machine):
    machine.run(f"mkdir {PROJECT}/in; echo mine > {PROJECT}/in/there.txt", "write")
    sent = [SimpleUploadedFile(name, data) for name, data in (("a.txt", b"one"), ("empty", b""), ("there.txt", b"new"))]
    answer = member_client.post(address(sandbox, "upload/", "in"), {"files": sent}, follow=True)
    assert "There is a file there.txt already." in answer.content.decode()
    said = machine.run(f"cd {PROJECT}/in; cat a.txt; wc -c < empty; cat there.txt; ls -A ~/.courier/files", "look")
    assert said == "one0\nmine\n"


def send(client: Client, sandbox: Sandbox, data: bytes, **words: object) -> Any:
    url = address(sandbox, "upload/", str(words.pop("path", "")), **{"upload": MARK, **words})
    return client.post(url, data, content_type="application/octet-stream")


def test_slices_make_the_whole_file(member_client: Client, sandbox: Sandbox, machine: e2b.Machine):
    data = os.urandom(10_000)
    for start in range(0, 10_000, 4000):
        last = {"last": 1} if start == 8000 else {}
        sent = send(member_client, sandbox, data[start : start + 4000], name="whole.bin", offset=start, **last)
        assert sent.status_code == 204
    assert machine.read(f"{PROJECT}/whole.bin", "read") == data
    again = send(member_client, sandbox, b"new", name="whole.bin", offset=0, last=1)
    assert (again.status_code, again.content) == (200, b"Replace it?")
    assert send(member_client, sandbox, b"new", name="whole.bin", offset=0, last=1, replace=1).status_code == 204
    assert machine.read(f"{PROJECT}/whole.bin", "read") == b"new"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"name": "../up.txt", "offset": 0}, "no slash"),
        ({"name": "..", "offset": 0}, "no slash"),
        ({"name": "x" * 300, "offset": 0}, "1 to 255 bytes"),
        ({"name": "x", "offset": 7}, "interrupted"),
        ({"name": "x", "offset": "-1"}, "no proper place"),
        ({"name": "x", "offset": 0, "upload": "../../x"}, "no proper mark"),
        ({"name": "x", "offset": 0, "path": "gone"}, "There is no gone"),
    ],
)
def test_a_bad_slice_is_refused(
    words: dict[str, object], sentence: str, member_client: Client, sandbox: Sandbox, machine: e2b.Machine
):
    answer = send(member_client, sandbox, b"data", **words)
    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    assert (
        machine.run(f"ls -A {PROJECT} {e2b.HOME}/.courier/files 2>/dev/null | grep -v : || true", "look").strip() == ""
    )


def test_an_upload_has_a_largest_size(member_client: Client, sandbox: Sandbox, settings: LazySettings):
    settings.UPLOAD_BYTES = 1024 * 1024
    first = send(member_client, sandbox, bytes(1024 * 1024), name="big", offset=0)
    assert first.status_code == 204
    second = send(member_client, sandbox, b"x", name="big", offset=1024 * 1024, last=1)
    assert (second.status_code, "may have 1 MB" in second.content.decode()) == (422, True)


def test_a_zip_has_the_folder_without_links_and_is_not_left_behind(
    member_client: Client, sandbox: Sandbox, machine: e2b.Machine
):
    write(machine, app__main_py=b"print(1)\n", app__deep__x_txt=b"x", other_txt=b"no")
    machine.run(f"ln -s /etc {PROJECT}/app/far", "link")
    answer = member_client.get(address(sandbox, "zip/", "app"))
    assert answer["Content-Disposition"] == 'attachment; filename="app.zip"'
    with zipfile.ZipFile(io.BytesIO(body(answer))) as packed:
        assert sorted(packed.namelist()) == ["deep/x.txt", "main.py"]
        assert packed.read("main.py") == b"print(1)\n"
    assert machine.run("ls ~/.courier/files/*.zip 2>/dev/null || true", "look") == ""


def test_a_folder_that_is_too_large_is_not_packed(
    member_client: Client, sandbox: Sandbox, machine: e2b.Machine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(files, "PACK_FILES", 2)
    write(machine, a_txt=b"", b_txt=b"", c_txt=b"")
    answer = member_client.get(address(sandbox, "zip/"))
    assert (answer.status_code, "Pack a smaller one" in answer.content.decode()) == (409, True)
    assert machine.run("ls ~/.courier/files/*.zip 2>/dev/null || true", "look") == ""


def test_renaming_and_removing(member_client: Client, sandbox: Sandbox, machine: e2b.Machine):
    write(machine, app__old_txt=b"x", app__kept_txt=b"y", app__deep__z_txt=b"z")
    machine.run(
        f"mkdir {e2b.HOME}/outside -p; touch {e2b.HOME}/outside/safe; ln -s ../../outside {PROJECT}/app/out", ""
    )

    def do(verb: str, **words: str) -> str:
        return member_client.post(address(sandbox, f"{verb}/"), words, follow=True).content.decode()

    assert "new.txt" in do("rename", path="app/old.txt", name="new.txt")
    assert "There is a kept.txt already" in do("rename", path="app/new.txt", name="kept.txt")
    assert "no slash" in do("rename", path="app/new.txt", name="../x")
    do("remove", path="app/deep")
    do("remove", path="app/out")
    assert "Choose a file or a folder" in do("remove", path="")
    assert "leads out of" in do("remove", path="../outside/safe")
    assert machine.run(f"cd {PROJECT}; ls -A . app; ls {e2b.HOME}/outside", "look").split() == [
        ".:", "app", "app:", "kept.txt", "new.txt", "safe"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "sentence"), [("paused", "The sandbox sleeps"), ("killed", "gone"), ("creating", "being made")]
)
def test_without_a_running_machine_the_page_says_why(
    status: str, sentence: str, member_client: Client, sandbox: Sandbox
):
    Sandbox.objects.filter(pk=sandbox.pk).update(status=status, running_since=None)
    html = page(member_client, sandbox)
    assert sentence in html
    assert ("Wake</button>" in html) == (status == "paused")
    assert send(member_client, sandbox, b"x", name="x", offset=0, last=1).status_code == 422


def test_a_machine_that_its_provider_lost_is_said(member_client: Client, sandbox: Sandbox):
    Sandbox.objects.filter(pk=sandbox.pk).update(provider_id="nosuchmachine")
    assert "the machine is gone" in page(member_client, sandbox)


@pytest.mark.parametrize("view", ["", "raw/", "zip/"])
def test_others_find_nothing(view: str, stranger_client: Client, client: Client, sandbox: Sandbox):
    assert stranger_client.get(address(sandbox, view, "x")).status_code == 404
    assert client.get(address(sandbox, view, "x")).status_code == 302


@pytest.mark.parametrize("view", ["upload/", "rename/", "remove/"])
def test_others_change_nothing(view: str, stranger_client: Client, sandbox: Sandbox):
    assert stranger_client.post(address(sandbox, view, "x"), {"path": "x", "name": "y"}).status_code == 404
    forged = Client(enforce_csrf_checks=True)
    forged.force_login(sandbox.created_by)  # type: ignore[arg-type]
    assert forged.post(address(sandbox, view, "x"), {"path": "x", "name": "y"}).status_code == 403

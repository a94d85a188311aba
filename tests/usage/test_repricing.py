"""Old rows are priced anew only when asked, by further rows; price lists go out and in as files."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db.models import Sum
from django.test import Client

from codecourier.models import AuditEntry, Project, User
from tests.conftest import signed_in
from usage import ledger, pricelist, repricing, rollups, stock
from usage.models import Entry, Rate, Rollup

from .rows import entry

AT = datetime(2026, 11, 5, 12, tzinfo=UTC)


@pytest.fixture
def used(project: Project) -> Entry:
    """A thousand tokens without a price, and two thousand at a dollar a million."""
    rows = [entry(project, key="a", model="new", price=None, at=AT, sandbox_id=1),
            entry(project, key="b", model="old", quantity=Decimal(2000), at=AT, sandbox_id=1)]  # fmt: skip
    rollups.add(Entry.objects.bulk_create(rows))
    for model, price in (("new", "5"), ("old", "1")):
        Rate.objects.create(service="anthropic", model=model, metric="input", price=price, valid_from=AT)
    return rows[0]


def total() -> Decimal:
    found: Decimal = Entry.objects.aggregate(sum=Sum("cost"))["sum"]
    assert found == Rollup.objects.aggregate(sum=Sum("cost"))["sum"]
    return found


def test_the_difference_is_shown_before_anything_is_entered(used: Entry, capsys: pytest.CaptureFixture[str]):
    call_command("reprice")
    said = capsys.readouterr().out
    assert "anthropic new input: 1 rows, 1 of them had no price: 0 -> 0.005000000000000" in said
    assert "old" not in said
    assert "Nothing was changed" in said
    assert Entry.objects.count() == 2


def test_corrections_are_further_rows_and_every_sum_follows(used: Entry, capsys: pytest.CaptureFixture[str]):
    assert total() == Decimal("0.002")
    call_command("reprice", "--apply")
    assert "1 rows corrected." in capsys.readouterr().out
    assert total() == Decimal("0.007")
    back, anew = Entry.objects.filter(corrects=used).order_by("id")
    assert (back.quantity, back.cost, anew.quantity, anew.cost) == (
        Decimal(-1000), None, Decimal(1000), Decimal("0.005"),
    )  # fmt: skip
    assert (anew.at, anew.day, anew.fact) == (AT, AT.date(), "a")
    assert Rollup.objects.aggregate(sum=Sum("unpriced_tokens"))["sum"] == 0
    assert rollups.compare() == []
    assert ledger.recorded([1]) == {"a": Decimal("0.005"), "b": Decimal("0.002")}
    # Once more changes nothing, another price does.
    assert repricing.apply(repricing.standing()) == 0
    Rate.objects.filter(model="new").update(price=7)
    call_command("reprice", "--apply", "--model", "new", "--since", "2026-11-01", "--until", "2026-11-06")
    assert total() == Decimal("0.009")
    assert Entry.objects.count() == 6
    call_command("reprice", "--until", "2026-11-01")
    assert "Nothing costs anything else" in capsys.readouterr().out


def test_sums_are_compared_and_made_anew_by_command(used: Entry, capsys: pytest.CaptureFixture[str]):
    Rollup.objects.update(cost=3)
    call_command("usage_rollups")
    call_command("usage_rollups", "--rebuild", "--first", "2026-11-05", "--last", "2026-11-05")
    said = capsys.readouterr().out.splitlines()
    assert said == ["Rows and sums disagree on 2026-11-05.", "2 sums made anew.", "Rows and sums agree."]


@pytest.fixture
def root(db: None) -> Client:
    return signed_in(User.objects.create_superuser("root@example.com", "open sesame"))


def upload(client: Client, text: str) -> str:
    file = SimpleUploadedFile("rates.csv", text.encode(), "text/csv")
    return client.post("/admin/usage/rate/import/", {"file": file}, follow=True).content.decode()


def test_a_price_list_that_goes_out_changes_nothing_when_it_comes_in(root: Client):
    stock.rates()
    text = b"".join(root.get("/admin/usage/rate/export/").streaming_content).decode()  # type: ignore[attr-defined]
    was = [*Rate.objects.values()]
    assert "0 rates added, 0 changed, 0 ended" in upload(root, text)
    assert [*Rate.objects.values()] == was
    assert "Import CSV" in root.get("/admin/usage/rate/").content.decode()


def test_a_later_price_ends_the_one_before(root: Client):
    Rate.objects.create(service="anthropic", model="m", metric="input", price=3, valid_from=AT)
    text = (
        "service,model,metric,price,valid_from\nanthropic,m,input,2.5,2026-12-01\nopenai,g,output,1,2026-12-01T12:15\n"
    )
    assert "2 rates added, 0 changed, 1 ended" in upload(root, text)
    first, second = Rate.objects.filter(model="m").order_by("valid_from")
    assert first.valid_until == second.valid_from == datetime(2026, 12, 1, tzinfo=UTC)
    assert AuditEntry.objects.get().data == {"added": 2, "changed": 0, "ended": 1}
    assert "0 rates added, 1 changed" in upload(root, text.replace("2.5", "2.6"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("anthropic,m,input,dear,2026-12-01,,", "is no price"),
        ("anthropic,m,input,-1,2026-12-01,,", "greater than or equal to 0"),
        ("anthropic,m,input,1,soon,,", "is no day or moment"),
        ("anthropic,m,input,1,2026-12-01T10:07,,", "at :00, :15, :30 or :45"),
        ("nobody,m,input,1,2026-12-01,,", "is not a valid choice"),
        ("anthropic,m,input,1,2026-12-01,2026-11-01,", "ends before it begins"),
    ],
)
def test_a_file_with_one_wrong_line_changes_nothing(root: Client, line: str, said: str):
    good = "anthropic,fine,input,1,2026-12-01,,"
    answer = upload(root, "\n".join([",".join(pricelist.COLUMNS), good, line]))
    assert "Nothing was taken over." in answer
    assert "Line 3" in answer
    assert said in answer
    assert not Rate.objects.exists()


def test_what_is_no_price_list_is_refused_with_a_sentence(root: Client):
    assert "has to name the columns" in upload(root, "a,b\n1,2\n")
    assert "Choose a CSV file" in root.post("/admin/usage/rate/import/").content.decode()
    assert "This is no CSV file in UTF-8" in root.post(
        "/admin/usage/rate/import/", {"file": SimpleUploadedFile("x.csv", b"\xff\xfe\x00")}
    ).content.decode()  # fmt: skip


def test_only_administrators_see_rates_and_nobody_changes_the_ledger(
    root: Client, used: Entry, member: User, member_client: Client
):
    for page in ("export/", "import/", ""):
        assert member_client.get(f"/admin/usage/rate/{page}").status_code == 302
    page = root.get("/admin/usage/entry/").content.decode()
    assert "2 entries" in page
    assert root.post(f"/admin/usage/entry/{used.pk}/delete/", {"post": "yes"}).status_code in {403, 404}

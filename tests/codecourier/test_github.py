"""GitHub: every fault is a sentence, what may pass has a time, and no branch ever has two pull requests."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from django.utils import timezone

from codecourier import github
from codecourier.github import Account, GitHubError
from tests.githubserver.server import READ_ONLY, TOKEN, GitHub
from tests.sandboxes.repositories import commit, git, make, write

SHOP = "acme/shop"


@pytest.fixture
def account(hub: GitHub, tmp_path: Path) -> Account:
    """May write to acme/shop, which has a branch `work` with one commit more."""
    seed = make(tmp_path / "seed")
    git(seed, "checkout", "-q", "-b", "work")
    write(seed, a__txt="two\n")
    commit(seed, "Work")
    git(seed, "checkout", "-q", "main")
    hub.repository(SHOP, seed)
    return Account(TOKEN, hub.api)


def opened(account: Account, **other: object) -> github.Opened:
    fields = {"head": "work", "base": "main", "title": "Work", "body": "Done.", "draft": True} | other
    return github.open_pull_request(account, SHOP, **fields)  # type: ignore[arg-type]


def refused(account: Account, **other: object) -> GitHubError:
    with pytest.raises(GitHubError) as refusal:
        opened(account, **other)
    return refusal.value


def test_it_is_opened_with_labels_and_reviewers(account: Account, hub: GitHub):
    made = opened(account, labels=["agent"], reviewers=["ann"])
    (pull,) = hub.pulls
    assert (made.number, made.draft, made.warnings) == (1, True, ())
    assert made.url == f"{hub.url}/acme/shop/pull/1"
    assert (pull.title, pull.body, pull.labels, pull.reviewers) == ("Work", "Done.", ["agent"], ["ann"])


def test_one_that_is_open_already_is_found(account: Account, hub: GitHub):
    assert opened(account).number == opened(account).number == 1
    assert len(hub.pulls) == 1


@pytest.mark.parametrize("status", [0, 500, 502, 504])
def test_a_lost_answer_makes_no_second_one(account: Account, hub: GitHub, status: int):
    hub.fail("POST", r"/pulls$", status, after=True)
    assert opened(account).number == 1
    assert len(hub.pulls) == 1


def test_eight_at_once_make_one(account: Account, hub: GitHub):
    with ThreadPoolExecutor(8) as pool:
        numbers = {made.number for made in pool.map(lambda _: opened(account), range(8))}
    assert numbers == {1}
    assert len(hub.pulls) == 1


def test_what_can_not_be_added_is_a_warning(account: Account, hub: GitHub):
    made = opened(account, reviewers=["mallory"])
    assert made.warnings == (
        "The reviewers could not be asked (mallory): Reviews may only be requested from collaborators.",
    )


def test_without_drafts_it_is_opened_as_ready(account: Account, hub: GitHub):
    hub.drafts = False
    made = opened(account)
    assert not made.draft
    assert "no draft" in made.warnings[0]


def test_nothing_new_is_said(account: Account, hub: GitHub):
    git(hub.at(SHOP), "branch", "same", "main")
    assert (refused(account, head="same").reason, refused(account, head="same").retry_at) == ("no_commits", None)


def test_a_missing_base_is_said(account: Account):
    assert str(refused(account, base="nowhere")) == "GitHub refused it: base invalid."


@pytest.mark.parametrize(
    ("token", "reason"), [("ghp_wrong", "bad_key"), (READ_ONLY, "forbidden")], ids=["wrong", "read-only"]
)
def test_a_key_that_may_not_is_said(account: Account, hub: GitHub, token: str, reason: str):
    error = refused(Account(token, hub.api))
    assert (error.reason, error.retry_at) == (reason, None)
    assert token not in str(error)


def test_a_repository_that_is_not_there_is_said(account: Account):
    with pytest.raises(GitHubError, match="no such repository"):
        github.read(account, "acme/nothing", 1, {})


@pytest.mark.parametrize("status", [403, 429])
def test_a_limit_is_a_time_and_nobody_sleeps(account: Account, hub: GitHub, status: int):
    reset = timezone.now() + timedelta(minutes=20)
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(reset.timestamp()))}
    hub.fail("GET", r"/pulls$", status, headers=headers, answer={"message": "API rate limit exceeded"})
    error = refused(account)
    assert error.reason == "rate_limit"
    assert error.retry_at
    assert abs(error.retry_at - reset) < timedelta(seconds=2)
    assert f"{reset:%H:%M} UTC" in str(error)


def test_a_second_limit_names_its_seconds(account: Account, hub: GitHub):
    hub.fail("POST", r"/pulls$", 403, headers={"retry-after": "90"}, answer={"message": "secondary rate limit"})
    error = refused(account)
    assert error.retry_at
    assert timedelta(seconds=60) < error.retry_at - timezone.now() < timedelta(seconds=91)


@pytest.mark.parametrize("status", [0, 500, 503])
def test_a_fault_that_may_pass_has_a_time(account: Account, hub: GitHub, status: int):
    hub.fail("GET", r"/pulls$", status)
    error = refused(account)
    assert error.reason == "away"
    assert error.retry_at
    assert opened(account).number == 1


def test_a_server_that_is_not_there_may_come_back(account: Account):
    error = refused(Account(TOKEN, "http://127.0.0.1:9/api/v3"))
    assert error.reason == "away"
    assert error.retry_at


def test_an_answer_without_sense_is_told(account: Account, hub: GitHub):
    hub.fail("GET", r"/pulls/1$", 200, answer={"surprise": True})
    opened(account)
    with pytest.raises(GitHubError) as told:
        github.read(account, SHOP, 1, {})
    assert told.value.reason == "garbled"


def test_checks_reviews_and_comments_are_read(account: Account, hub: GitHub):
    opened(account)
    (pull,) = hub.pulls
    hub.check(pull, "tests", "failure", "2 of 9 failed")
    hub.check(pull, "lint", None)
    hub.review(pull, "ann", "CHANGES_REQUESTED", "Please use a set.")
    hub.say(pull, "bob", "Why this?", "a.txt", 1)
    hub.say(pull, "ann", "Nice.")
    found = github.read(account, SHOP, 1, {})
    assert (found.state, found.head, found.base) == ("draft", hub.head(SHOP, "work"), "main")
    assert found.checks
    assert [(one["name"], one["status"], one["conclusion"]) for one in found.checks] == [
        ("lint", "in_progress", ""), ("tests", "completed", "failure"),
    ]  # fmt: skip
    assert "2 of 9 failed" in found.checks[1]["summary"]
    assert found.reviews
    assert [(one["who"], one["state"]) for one in found.reviews] == [("ann", "changes_requested")]
    assert found.comments
    assert {(one["who"], one["path"], one["line"]) for one in found.comments} == {
        ("bob", "a.txt", "1"),
        ("ann", "", ""),
    }


def test_no_address_is_taken_over_that_is_none(account: Account, hub: GitHub):
    opened(account)
    (pull,) = hub.pulls
    hub.check(pull, "tests", "failure")
    hub.runs[hub.head(SHOP, "work")][0] |= {"details_url": "javascript:alert(1)"}
    found = github.read(account, SHOP, 1, {})
    assert found.checks
    assert found.checks[0]["url"] == ""


def test_what_did_not_change_is_not_read_again(account: Account, hub: GitHub):
    opened(account)
    (pull,) = hub.pulls
    first = github.read(account, SHOP, 1, {})
    second = github.read(account, SHOP, 1, first.etags)
    assert (second.state, second.checks, second.reviews, second.comments) == ("draft", None, None, None)
    hub.say(pull, "ann", "Nice.")
    third = github.read(account, SHOP, 1, second.etags)
    assert (third.checks, third.reviews) == (None, None)
    assert third.comments
    assert third.comments[0]["body"] == "Nice."
    assert third.etags != second.etags


def test_ready_draft_closed_and_open_again(account: Account, hub: GitHub):
    opened(account)
    (pull,) = hub.pulls
    for step, state in (
        (github.mark_ready, "open"), (github.mark_ready, "open"), (github.convert_to_draft, "draft"),
    ):  # fmt: skip
        step(account, SHOP, 1)
        assert github.read(account, SHOP, 1, {}).state == state
    github.edit(account, SHOP, 1, state="closed")
    assert github.read(account, SHOP, 1, {}).state == "closed"
    github.edit(account, SHOP, 1, state="open", body="Better.")
    assert (pull.state, pull.body) == ("open", "Better.")
    pull.state, pull.merged = "closed", True
    assert github.read(account, SHOP, 1, {}).state == "merged"


def test_a_signature_is_over_the_whole_body():
    assert github.signed("It's a Secret to Everybody", b"Hello, World!", PUBLISHED)
    assert not github.signed("It's a Secret to Everybody", b"Hello, World?", PUBLISHED)
    assert not github.signed("", b"Hello, World!", PUBLISHED)
    assert not github.signed("It's a Secret to Everybody", b"Hello, World!", "sha256=é")


# The values that GitHub documents for trying it out
# (https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries).
PUBLISHED = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"


@pytest.mark.parametrize(
    ("url", "slug"),
    [
        ("https://github.com/acme/shop", SHOP), ("https://github.com/acme/shop.git", SHOP),
        ("git@github.com:acme/shop.git", SHOP), ("ssh://git@github.com/acme/shop.git", SHOP),
        ("https://GitHub.com/acme/shop/", SHOP), ("https://github.com.evil.example/acme/shop", None),
        ("https://gitlab.com/acme/shop", None), ("https://github.com/acme", None), ("/srv/shop", None), ("", None),
    ],
)  # fmt: skip
def test_which_repositories_are_at_github(url: str, slug: str | None):
    assert github.slug_of(url) == slug


def test_an_enterprise_server_has_its_own():
    assert github.slug_of("https://git.corp.example/a/b.git", "https://git.corp.example") == "a/b"
    assert github.slug_of("https://github.com/a/b.git", "https://git.corp.example") is None


@pytest.fixture(scope="module")
def keys() -> tuple[str, str]:
    """(private, public) key of an app, in PEM."""
    key = rsa.generate_private_key(65537, 2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    return private.decode(), key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.mark.parametrize("paste", [str, lambda key: " ".join(key.split("\n"))], ids=["lines", "one line"])
def test_an_app_has_a_short_token_for_one_repository(
    account: Account, hub: GitHub, keys: tuple[str, str], paste: Callable[[str], str]
):
    hub.apps["42"] = keys[1]
    stored = f"42 {paste(keys[0])}"
    mine = github.account(stored, hub.api, SHOP)
    assert mine.token.startswith("ghs_")
    assert mine.token not in repr(mine)
    assert opened(mine).number == 1
    asked = hub.count("POST", "access_tokens")
    assert github.account(stored, hub.api, SHOP) == mine
    assert hub.count("POST", "access_tokens") == asked == 1


def test_an_app_that_was_granted_less_does_with_less(account: Account, hub: GitHub, keys: tuple[str, str]):
    hub.apps["42"], hub.granted = keys[1], {"contents"}
    assert github.account(f"42 {keys[0]}", hub.api, SHOP).token.startswith("ghs_")


@pytest.mark.parametrize(("number", "told"), [("43", "refused the project's key"), ("42", "can't be read")])
def test_an_app_that_github_does_not_know_is_told(
    account: Account, hub: GitHub, keys: tuple[str, str], number: str, told: str
):
    hub.apps["42"] = keys[1]
    key = keys[0] if number == "43" else "-----BEGIN RSA PRIVATE KEY----- bm9uc2Vuc2U= -----END RSA PRIVATE KEY-----"
    with pytest.raises(GitHubError, match=told):
        github.account(f"{number} {key}", hub.api, SHOP)

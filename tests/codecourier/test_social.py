"""Signing in with GitHub and Google: the real client, against a server that answers as they document it.

GitHub: https://docs.github.com/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps; Google:
https://developers.google.com/identity/openid-connect/openid-connect.
"""

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from allauth.socialaccount.providers.github.views import GitHubOAuth2Adapter
from allauth.socialaccount.providers.google.views import GoogleOAuth2Adapter
from django.test import Client
from django.urls import reverse

from codecourier.models import User
from tests.serving import Quiet, serving

APPS = {
    name: {"APPS": [{"client_id": f"{name}-app", "secret": f"{name}-secret"}], "SCOPE": ["email"]}
    for name in ("github", "google")
}


class Accounts:
    """Who comes, as the provider knows them, and what it was asked."""

    def __init__(self) -> None:
        self.email, self.verified = "mia@example.com", True
        self.asked: list[dict[str, list[str]]] = []

    def token(self, form: dict[str, list[str]]) -> dict[str, Any]:
        """The answer to a code."""
        self.asked.append(form)
        if form["code"] != ["good"]:
            return {"error": "bad_verification_code", "error_description": "The code passed is incorrect or expired."}
        now = int(time.time())
        claims = {"iss": "https://accounts.google.com", "aud": "google-app", "sub": "7", "iat": now, "exp": now + 600,
                  "email": self.email, "email_verified": self.verified, "name": "Mia"}  # fmt: skip
        identity = jwt.encode(claims, "of no use: it comes from Google itself", "HS256")
        return {"access_token": "token", "token_type": "bearer", "scope": "user:email", "id_token": identity}

    def answer(self, path: str) -> Any:
        """GitHub's API, of the person whose token it is."""
        emails = [{"email": self.email, "verified": self.verified, "primary": True, "visibility": None}]
        return emails if path == "/user/emails" else {"id": 7, "login": "mia", "name": "Mia", "email": None}


@pytest.fixture
def accounts(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Accounts]:
    """Both providers, configured as by environment, at a server of our own."""
    known = Accounts()

    class Handler(Quiet):
        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self.send_json(known.token(parse_qs(sent)))

        def do_GET(self) -> None:
            assert self.headers["Authorization"] == "token token"
            self.send_json(known.answer(self.path))

    with serving(Handler) as url:
        settings.SOCIALACCOUNT_PROVIDERS = APPS
        for adapter in (GitHubOAuth2Adapter, GoogleOAuth2Adapter):
            monkeypatch.setattr(adapter, "access_token_url", f"{url}/token")
        monkeypatch.setattr(GitHubOAuth2Adapter, "profile_url", f"{url}/user")
        monkeypatch.setattr(GitHubOAuth2Adapter, "emails_url", f"{url}/user/emails")
        yield known


def come_back(client: Client, provider: str, code: str = "good") -> str:
    """To the provider and back: where that ends."""
    assert f'href="/account/{provider}/login/' in client.get("/sign-in/").content.decode()
    away = client.post(reverse(f"{provider}_login"))
    asked = parse_qs(urlsplit(away["Location"]).query)
    assert asked["client_id"] == [f"{provider}-app"]
    answer = client.get(reverse(f"{provider}_callback"), {"code": code, "state": asked["state"][0]}, follow=True)
    return answer.content.decode()


@pytest.mark.parametrize("provider", ["github", "google"])
def test_an_account_with_that_address_is_let_in(client: Client, member: User, accounts: Accounts, provider: str):
    come_back(client, provider)
    assert client.session["_auth_user_id"] == str(member.pk)
    assert accounts.asked[0]["client_secret"] == [f"{provider}-secret"]


@pytest.mark.parametrize("provider", ["github", "google"])
def test_nobody_becomes_a_user_by_it(client: Client, member: User, accounts: Accounts, provider: str):
    accounts.email = "sam@example.com"
    page = come_back(client, provider)
    assert "_auth_user_id" not in client.session
    assert User.objects.count() == 2
    assert "No account for that address" in page


@pytest.mark.parametrize("provider", ["github", "google"])
def test_an_address_that_is_not_verified_is_nobody(client: Client, member: User, accounts: Accounts, provider: str):
    accounts.verified = False
    come_back(client, provider)
    assert "_auth_user_id" not in client.session


@pytest.mark.parametrize("provider", ["github", "google"])
def test_a_code_that_is_refused_lets_nobody_in(client: Client, member: User, accounts: Accounts, provider: str):
    page = come_back(client, provider, code="bad")
    assert "_auth_user_id" not in client.session
    assert "did not confirm who you are" in page


def test_another_pages_state_lets_nobody_in(client: Client, member: User, accounts: Accounts):
    client.get(reverse("github_callback"), {"code": "good", "state": "forged"})
    assert "_auth_user_id" not in client.session
    assert accounts.asked == []

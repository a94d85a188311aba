"""How allauth is bent to our rules: accounts come by invitation, and second factors are encrypted at rest."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from django.http import HttpRequest

from . import crypto


class AccountAdapter(DefaultAccountAdapter):
    """Nobody signs up by themselves."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Invitations make accounts, and administrators."""
        return False


class SocialAdapter(DefaultSocialAccountAdapter):
    """GitHub and Google let people in who have an account with that address already."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        """As by e-mail."""
        return False


class SecondFactorAdapter(DefaultMFAAdapter):
    """The secrets of authenticator apps and recovery codes are kept as provider keys are."""

    def encrypt(self, text: str) -> str:
        """For the database."""
        return crypto.encrypt(text)

    def decrypt(self, encrypted_text: str) -> str:
        """From the database."""
        return crypto.decrypt(encrypted_text)

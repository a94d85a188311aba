"""A GitHub-shaped server on loopback: real git over smart HTTP beside an API whose every answer obeys GitHub's own."""

"""The demo's material: a small real repository with a failing test, and the script that mends it."""

import subprocess
from pathlib import Path

from codecourier.models import Project

CODE = '''"""Prices of a small shop."""


def total(prices, discount=0):
    """The sum of the prices, less a discount in percent."""
    return sum(prices) * (1 + discount / 100)
'''
TEST = """import unittest

from shop import total


class Total(unittest.TestCase):
    def test_without_discount(self):
        self.assertEqual(total([10, 20]), 30)

    def test_a_discount_makes_it_cheaper(self):
        self.assertEqual(total([100], discount=20), 80)


if __name__ == "__main__":
    unittest.main()
"""
SCRIPT = """#!/bin/bash
# Mend the failing test of the shop
# The change keeps the file's size, and may keep its second: Python would take the compiled file for the new source.
export PYTHONDONTWRITEBYTECODE=1
echo "== before"
python3 -m unittest -q 2>&1 && { echo "the test was expected to fail"; exit 1; }
sed -i 's|(1 + discount / 100)|(1 - discount / 100)|' shop.py
echo "== the change"
git --no-pager diff --stat
echo "== after"
python3 -m unittest -v 2>&1 || exit 1
git commit -qam "Subtract the discount" && git --no-pager log --oneline
"""
# What the stored output must hold for the demo to count, in this order.
PROOF = ("FAILED (failures=1)", "shop.py | 2 +-", "OK", "Subtract the discount")


def make_repository(folder: Path) -> Path:
    """The repository at `folder`, made if it isn't there."""
    if (folder / ".git").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "shop.py").write_text(CODE)
    (folder / "test_shop.py").write_text(TEST)
    identity = ["-c", "user.name=Demo", "-c", "user.email=demo@codecourier.invalid"]
    for words in (
        ["init", "-q", "-b", "main"],
        ["add", "."],
        [*identity, "commit", "-qm", "A shop with a wrong discount"],
    ):
        subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True)
    return folder


def make_project(repository: Path) -> Project:
    """The demo project, on that repository."""
    project, _ = Project.objects.update_or_create(
        slug="demo", defaults={"name": "Demo", "repository_url": str(repository), "default_branch": "main"}
    )
    return project


def missing(output: str) -> str | None:
    """The first proof that the output does not hold in order, or None when all is there."""
    place = 0
    for words in PROOF:
        place = output.find(words, place)
        if place < 0:
            return words
    return None

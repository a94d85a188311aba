"""Lessons, where they come from, and what later machines are told of them."""

from .extraction import Extraction
from .lesson import Evidence, Lesson
from .version import LearningSettings, Version

__all__ = ["Evidence", "Extraction", "LearningSettings", "Lesson", "Version"]

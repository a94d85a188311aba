"""Workflows as people edit them, and runs, which never look at them again."""

from .run import Picture, Run, Source
from .schedule import Firing, Schedule
from .step_run import StepRun
from .workflow import MOST_CANDIDATES, Block, Evaluate, Step, Workflow

__all__ = [
    "MOST_CANDIDATES",
    "Block",
    "Evaluate",
    "Firing",
    "Picture",
    "Run",
    "Schedule",
    "Source",
    "Step",
    "StepRun",
    "Workflow",
]

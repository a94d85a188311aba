"""Workflows as people edit them, and runs, which never look at them again."""

from .run import Picture, Run, Source
from .step_run import StepRun
from .workflow import MOST_CANDIDATES, Block, Evaluate, Step, Workflow

__all__ = ["MOST_CANDIDATES", "Block", "Evaluate", "Picture", "Run", "Source", "Step", "StepRun", "Workflow"]

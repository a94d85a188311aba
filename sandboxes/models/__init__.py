"""One agent in one machine: the rows, their graphs and the verbs of one row."""

from .build import Build
from .checkpoint import Checkpoint
from .config import SessionConfig
from .job import Event, Job, Output
from .orphan import Orphan
from .phase import Phase
from .pull import Delivery, PublishingSettings, PullRequest
from .sample import Sample
from .sandbox import Kind, Sandbox, Wanted
from .template import CPU, MEMORY_MB, TIMEOUT_MS, Template
from .turn import Attachment, Turn

__all__ = [
    "CPU",
    "MEMORY_MB",
    "TIMEOUT_MS",
    "Attachment",
    "Build",
    "Checkpoint",
    "Delivery",
    "Event",
    "Job",
    "Kind",
    "Orphan",
    "Output",
    "Phase",
    "PublishingSettings",
    "PullRequest",
    "Sample",
    "Sandbox",
    "SessionConfig",
    "Template",
    "Turn",
    "Wanted",
]

"""Why a sandbox, a turn or a job is where it is, each with a sentence that a person can act on."""

from django.db import models


class Reason(models.TextChoices):
    """Stored beside the status; the label is the default sentence."""

    USER = "user", "Somebody asked for it."
    FINISHED = "finished", "The work is done."
    TIMEOUT = "timeout", "Its running time is used up. Start a new sandbox with a longer timeout to go on."
    MEMORY = "memory", "It used more memory than it has. Start a new sandbox with more memory."
    DISK = "disk", "Its disk is full. Have the agent write less, or clean up between turns."
    BUDGET = "budget", "The budget is used up. Its work is saved; whoever may raise the budget can have it go on."
    IDLE = "idle", "Nothing happened for a while, so it sleeps; a message wakes it."
    SILENCE = "silence", "The agent printed nothing for too long and was stopped."
    SETUP_FAILED = "setup_failed", "The boot did not get through; the log of the failed phase says why."
    CLONE_FAILED = "clone_failed", "The repository could not be cloned; the log of the phase says why."
    PROVIDER_ERROR = "provider_error", "The sandbox provider did not do what it was asked."
    BUSY = "busy", "The provider has no room for another machine just now. Try again in a minute."
    LOST = "lost", "The machine is gone and nobody said why. What it printed until then is kept."
    MISSING_KEY = "missing_key", "The provider's key is missing or refused. Set it in the project's keys."
    KEY_REFUSED = "key_refused", "The model provider refused the key. Check it in the project's keys."
    OVERLOADED = "overloaded", "The model provider was overloaded and did not recover. Send the message again later."
    UNKNOWN_MODEL = "unknown_model", "The model provider does not know this model. Choose another."
    MODEL_ERROR = "model_error", "The model provider did not answer as it should."
    UNFINISHED = "unfinished", "The agent ended without saying that it was done."
    OVERDUE = "overdue", "A phase took longer than it may."
    CONTRACT = "contract", "What the agent answered does not have the form that was asked for."
    EXIT = "exit", "The script ended with an error."
    KILLED = "killed", "The machine was stopped before the turn was over."
    INTERNAL = "internal", "CodeCourier itself failed here; the administrator finds it in the log."
    INTERRUPTED = "interrupted", "Somebody interrupted it."
    STOPPED = "stopped", "CodeCourier was stopped, and the local machines with it. Start a new sandbox to go on."

    @classmethod
    def sentence(cls, reason: str) -> str:
        """The default sentence of a reason, empty for an unknown one."""
        return str(cls(reason).label) if reason in cls.values else ""

"""django.tasks on django-q2: enqueueing is one row in the caller's transaction.

Delivery is only a hint (a dead worker's task comes back only after `retry`), so every task claims the row
it works on and the sweep enqueues again whatever is due.
"""

from typing import Any

from django.tasks.backends.base import BaseTaskBackend
from django.tasks.base import Task, TaskResult, TaskResultStatus
from django.utils import timezone
from django.utils.json import normalize_json
from django.utils.module_loading import import_string
from django_q.models import OrmQ
from django_q.tasks import async_task

# Tasks that wait, from which on the sweep adds none.
LONG = 200


class DjangoQBackend(BaseTaskBackend):
    """Hands a task to the cluster by its dotted path; arguments are JSON values."""

    def enqueue(self, task: Task, args: Any, kwargs: Any) -> TaskResult:
        """Write the task's row; it is there when, and only when, the caller's transaction commits."""
        self.validate_task(task)
        args, kwargs = normalize_json(args), normalize_json(kwargs)
        key = async_task("codecourier.queue.perform", task.module_path, args, kwargs)
        return TaskResult(
            task=task,
            id=key,
            status=TaskResultStatus.READY,
            enqueued_at=timezone.now(),
            started_at=None,
            finished_at=None,
            last_attempted_at=None,
            args=args,
            kwargs=kwargs,
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )


def is_long() -> bool:
    """Whether more waits than the workers have got to."""
    waiting: int = OrmQ.objects.filter(lock__lte=timezone.now())[:LONG].count()
    return waiting >= LONG


def perform(path: str, args: list[Any], kwargs: dict[str, Any]) -> None:
    """Run one task in a worker."""
    task: Task = import_string(path)
    task.call(*args, **kwargs)

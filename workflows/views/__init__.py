"""Pages of workflows, runs and schedules."""

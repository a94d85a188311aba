"""PostgreSQL, emptied between tests in a way that a live web process doesn't disturb."""

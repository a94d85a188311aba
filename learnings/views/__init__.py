"""Pages of lessons, of compiled versions and of the sessions that propose lessons."""

"""The work leaves the machine: `taking` brings it out, `store` keeps it."""

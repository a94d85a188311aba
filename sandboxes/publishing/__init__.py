"""Work goes to the remote: `scan` looks for secrets in it, `push` brings the branch there, `pulls` opens requests."""

"""What a sandbox changed, read from the portal's own repository: `reading` asks git, `rendering` makes rows of it."""

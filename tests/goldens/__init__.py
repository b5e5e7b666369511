"""Golden vectors of this package's own making, small enough for the repository."""

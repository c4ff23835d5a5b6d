"""Running atoms: workers, rounds, when to stop, and what a signal does."""

"""The commands of the command line, and what they read from it."""

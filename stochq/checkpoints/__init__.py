"""Folders from which a run goes on where it was."""

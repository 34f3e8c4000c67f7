"""What a run leaves: history, curves, files."""

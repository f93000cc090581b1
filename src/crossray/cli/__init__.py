"""One thin file per command; only typer is imported at the top."""

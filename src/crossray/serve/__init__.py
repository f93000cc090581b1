"""The viewer: a run in the browser and over HTTP, on the user's own machine. Research only, not for diagnosis."""

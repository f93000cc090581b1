"""JoImTeRNet: read :mod:`crossray.methods.joimternet.method` first."""

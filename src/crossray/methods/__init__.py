"""One file reads like one paper: modules, the losses it composes, the keys it needs."""

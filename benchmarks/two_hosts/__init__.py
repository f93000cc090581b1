"""One pretraining on two hosts, made of network namespaces: see ``__main__``."""

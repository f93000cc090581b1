"""LoVT: the method, its configuration, its heads and its alignment attention."""

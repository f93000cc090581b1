"""MGCA: films and reports aligned as wholes, by words and patches, and through shared prototypes."""

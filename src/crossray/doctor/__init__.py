"""What is wrong with an installation, a store, a run, an index or results, and how to mend it. Nothing is changed."""

"""The phantom: procedural chest films with findings drawn into them, and reports whose every phrase has a region.

Nothing is learned or copied from real films: anatomy, findings and reports are sampled from the tables and
ranges in this package, deterministically by ``(seed, index)``. Reading order: ``presets`` (what difficulty
sets), ``case`` (what a patient has), ``render`` (how it looks), ``reports`` (what is said of it), ``build``
(a :class:`~crossray.data.study.Study` of it all).
"""

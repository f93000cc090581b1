"""Search: films and reports of a store in the joint space of a run, found by words or by a film.

Begin with ``index.py`` (what an index is, and looking things up in it), then ``build.py`` (how it is made).
"""

"""The mathematics of alignment: pure functions of tensors and masks, no state, no I/O.

Shapes by letter, everywhere in CrossRay:

- ``B`` pairs (a film and its report) in a batch
- ``N`` films, ``M`` reports, where the two counts differ
- ``R`` regions of a film (``R = H * W`` of the trunk's grid)
- ``W`` words of a report
- ``S`` sentences of a report
- ``L`` tokens (word-pieces) of a report
- ``D`` width of the joint space, ``C`` width of a trunk's features
- ``H`` rows and ``W`` columns, only ever together as ``H×W``

Masks are boolean, ``True`` = real. Padding never changes a result.
"""

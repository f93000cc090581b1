"""CrossRay learns image and text representations together from chest X-rays and their reports.

Importing this package imports nothing heavy and does nothing: every name is found in its room
(``crossray.data``, ``crossray.alignment``, ``crossray.methods``, ...).
"""

__version__ = "0.1.0"

"""Why a film cannot be read, as rules: the funnel counts by them, and a rule is told where a reason may not be."""

from __future__ import annotations

from crossray.errors import StudyError


class DamagedFilmError(StudyError):
    """The file is empty, cut short, or does not decode."""

    rule = "damaged_film"


class FilmFormatError(StudyError):
    """The file is of no format, or no transfer syntax, that is read."""

    rule = "film_format"


class NoPixelsError(StudyError):
    """A DICOM file without an image."""

    rule = "no_pixels"


class SeveralFramesError(StudyError):
    """A DICOM file with several frames."""

    rule = "several_frames"


class ColourFilmError(StudyError):
    """A picture whose colours say something."""

    rule = "in_colour"


class FilmSizeError(StudyError):
    """A film that claims no pixels, or too many."""

    rule = "film_size"

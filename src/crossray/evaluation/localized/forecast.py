"""What a call of ``crossray localized`` would train, what of it is done, and how long the rest is expected to take."""

from __future__ import annotations

from crossray.evaluation.forecast import Forecast, Piece
from crossray.evaluation.localized.calibration import Calibration
from crossray.evaluation.localized.pixels import HALF
from crossray.evaluation.localized.plan import LocalizedRequest, Planned, plan_localized
from crossray.evaluation.localized.session import Session

NOT_COUNTED = "masks, mean and std of films, intervals and the report"


def forecast_localized(request: LocalizedRequest) -> list[Forecast]:
    """A forecast for each protocol of the plan. The trunk is opened and timed on a few films; nothing is written.

    Raises:
        ConfigError, CheckpointError, DataError, StoreError: as :func:`run_localized`, before anything is trained.
    """
    plan = plan_localized(request)
    session, calibration = Session(request, plan, lambda _: None), Calibration()
    return [
        *(_forecast(task, session, calibration) for task in plan.tasks),
        *(Forecast(f"{name}: not run, {reason}", ()) for name, reason in plan.skipped.items()),
    ]


def _forecast(task: Planned, session: Session, calibration: Calibration) -> Forecast:
    known = session.known_normalisation(task)
    run = session.task_run(task, known or HALF)
    pieces = run.pieces()
    if known is None:  # trainings depend on it: none can be done
        pieces = tuple(Piece(piece.name, done=False) for piece in pieces)
    expected = calibration.expected(run, pieces) if any(not piece.done for piece in pieces) else None
    return Forecast(task.line, pieces, expected)

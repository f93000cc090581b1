"""What is tried on the two hosts, and what is measured."""

from __future__ import annotations

import itertools
import os
import signal
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.two_hosts.hosts import TwoHosts
from benchmarks.two_hosts.launch import LOST, Training


@dataclass(frozen=True)
class Plan:
    """Sizes of an experiment: training steps in all follow from studies, batch and epochs."""

    studies: int
    batch: int
    epochs: int
    fault_at_step: int

    def settings(self, batch: int | None = None) -> list[str]:
        """As overrides of the recipe."""
        return [f"training.batch_size={batch or self.batch}", f"training.epochs={self.epochs}"]


@dataclass(frozen=True)
class Recovery:
    """A fault, and how the run came over it; seconds count from the fault (or, for a cable, from its mending).

    ``loss_difference`` is the largest relative difference of a step's loss to that of one process.
    """

    fault: str
    told: str
    seconds_until_told: float
    seconds_until_next_step: float
    at_step: int
    saved_step: int
    steps_lost: int
    commands_given_again: int
    loss_difference: float


@dataclass(frozen=True)
class Speed:
    """A training at work: medians over its steps."""

    processes: int
    pairs_per_step: int
    seconds_per_step: float
    processor_seconds_per_pair: float
    bytes_sent_per_process_and_step: float


def one_process(hosts: TwoHosts, folder: Path, plan: Plan, out: str, batch: int) -> tuple[list[float], Speed]:
    """The run on one host."""
    with Training(hosts, folder, out, ("a",), plan.settings(batch)) as training:
        training.finish()
        return training.losses(), speed_of(training, batch)


def two_processes(hosts: TwoHosts, folder: Path, plan: Plan) -> tuple[list[float], Speed]:
    """The same on two hosts."""
    with Training(hosts, folder, "two", settings=plan.settings()) as training:
        training.finish()
        return training.losses(), speed_of(training, plan.batch)


def killed_process(hosts: TwoHosts, folder: Path, plan: Plan, expected: list[float]) -> tuple[list[float], Recovery]:
    """kill -9 the process of the second host; torchrun starts both again."""
    with Training(hosts, folder, "killed", settings=plan.settings()) as training:
        training.until(lambda: training.steps() >= plan.fault_at_step, "the step of the fault")
        old = training.worker("b")
        assert old is not None
        os.kill(old, signal.SIGKILL)
        told = training.until(lambda: LOST in training.log("a").read_text(), "a message of the other process")
        at_step, saved = training.steps(), training.saved_step()
        again = told + training.until(lambda: training.steps() > at_step, "the next step")
        training.finish()
        return training.losses(), _recovery(
            "kill -9 of one process", training, (told, again), (at_step, saved), 0, expected
        )


def cut_cable(hosts: TwoHosts, folder: Path, plan: Plan, expected: list[float]) -> tuple[list[float], Recovery]:
    """Pull the cable, wait until both processes have said so, put it back; give commands again that have ended."""
    with Training(hosts, folder, "cut", settings=plan.settings()) as training:
        training.until(lambda: training.steps() >= plan.fault_at_step, "the step of the fault")
        hosts.cut()
        logs = [training.log(host) for host in training.where]
        told = training.until(lambda: all(LOST in log.read_text() for log in logs), "messages of both processes")
        at_step, saved = training.steps(), training.saved_step()
        hosts.mend()
        given = 0

        def goes_on() -> bool:
            nonlocal given
            for host, agent in list(training.agents.items()):
                if agent.poll():  # torchrun itself gives up if it cannot reach the other one: as a user, start it again
                    training.start(host)
                    given += 1
            return training.steps() > at_step

        again = training.until(goes_on, "the next step")
        training.finish()
        return training.losses(), _recovery("cable pulled", training, (told, again), (at_step, saved), given, expected)


def loss_difference(losses: list[float], expected: list[float]) -> float:
    """The largest relative difference of a step's loss."""
    if len(losses) != len(expected):
        raise ValueError(f"{len(losses)} steps were logged, {len(expected)} expected.")
    return max(abs(one / other - 1.0) for one, other in zip(losses, expected, strict=True))


def speed_of(training: Training, pairs: int) -> Speed:
    """Medians over the steps, but for the first two; a step after which a checkpoint or validation came counts too."""
    readings, processes = training.readings[2:], len(training.where)
    spans = [(one, two, two.steps - one.steps) for one, two in itertools.pairwise(readings)]
    spans = [span for span in spans if span[1].processor_seconds > span[0].processor_seconds]
    return Speed(
        processes=processes,
        pairs_per_step=pairs,
        seconds_per_step=statistics.median((two.seconds - one.seconds) / steps for one, two, steps in spans),
        processor_seconds_per_pair=statistics.median(
            (two.processor_seconds - one.processor_seconds) / steps / pairs for one, two, steps in spans
        ),
        bytes_sent_per_process_and_step=statistics.median(
            (two.sent - one.sent) / steps / processes for one, two, steps in spans
        ),
    )


def as_json(measured: Recovery | Speed) -> dict[str, object]:
    """As JSON values, times and sizes rounded to what can be read from the clocks."""
    exact = ("loss_difference",)
    return {
        name: round(value, 6) if isinstance(value, float) and name not in exact else value
        for name, value in asdict(measured).items()
    }


def _recovery(
    fault: str,
    training: Training,
    seconds: tuple[float, float],
    steps: tuple[int, int],
    given: int,
    expected: list[float],
) -> Recovery:
    said = next(line for line in training.log("a").read_text().splitlines() if LOST in line)
    return Recovery(
        fault=fault,
        told=said,
        seconds_until_told=seconds[0],
        seconds_until_next_step=seconds[1],
        at_step=steps[0],
        saved_step=steps[1],
        steps_lost=steps[0] - steps[1],
        commands_given_again=given,
        loss_difference=loss_difference(training.losses(), expected),
    )

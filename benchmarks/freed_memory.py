"""What keeping freed memory saves of a training step: ``python benchmarks/freed_memory.py``.

Steps of the trunk that the recipes for a CPU use, in processes of their own, in turn with and without. Processor time,
so that other work on the machine does not count.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

STEPS, ROUNDS = 12, 5


def one_process(keep: bool) -> None:
    import os

    import torch

    from crossray.encoders.image import ImageEncoder, ImageEncoderConfig
    from crossray.freed_memory import keep_freed_memory

    done = keep and keep_freed_memory()
    torch.set_num_threads(1)
    encoder = ImageEncoder(ImageEncoderConfig(frozen_stages=3)).train()
    films = torch.randn(32, 1, 112, 112, generator=torch.Generator().manual_seed(0))
    for step in range(STEPS + 6):
        if step == 6:
            before = os.times()
        features = encoder(films)
        (features.pooled.mean() + features.regions.mean()).backward()
    after = os.times()
    per_step = [1000 * (getattr(after, kind) - getattr(before, kind)) / STEPS for kind in ("user", "system")]
    print(json.dumps({"kept": done, "user": per_step[0], "system": per_step[1]}))


def main() -> None:
    if len(sys.argv) > 1:
        one_process(sys.argv[1] == "keep")
        return
    totals: dict[str, list[float]] = {"keep": [], "as_it_is": []}
    for _ in range(ROUNDS):
        for way, found in totals.items():
            run = subprocess.run([sys.executable, __file__, way], capture_output=True, text=True, check=True)
            line = json.loads(run.stdout.splitlines()[-1])
            found.append(line["user"] + line["system"])
            print(f"{way:<9} user {line['user']:6.1f} ms, system {line['system']:6.1f} ms a step, kept: {line['kept']}")
    ratio = statistics.median(totals["as_it_is"]) / statistics.median(totals["keep"])
    print(f"median processor time of a step, as it is over kept: {ratio:.3f} ({ROUNDS} processes each, one thread)")


if __name__ == "__main__":
    main()

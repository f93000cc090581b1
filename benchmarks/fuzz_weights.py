"""Checkpoints and weight files of others: for ``benchmarks.fuzz``."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import torch
from benchmarks.fuzz import Attack, mutated, mutated_json, of_bytes
from torch import Tensor

from crossray.errors import CheckpointError
from crossray.tensor_file import read_tensors, write_tensors


def attack_on_checkpoints(run: Path, folder: Path) -> Attack:
    """The state that a run goes on from: its bytes damaged, or its facts and tensors replaced and sealed again."""
    from lightning_fabric import Fabric

    from crossray.inference.joint_model import JointModel
    from crossray.tensor_file import load_weights
    from crossray.training.recipe import load_recipe
    from crossray.training.state import STATE_FILE, TrainingState
    from crossray.training.timeline import plan_run

    recipe, method = load_recipe(run / "config.yaml"), JointModel.load(run).method
    timeline, fabric = plan_run(method, recipe.training, [3]), Fabric(accelerator="cpu", devices=1)
    whole, place = run / "checkpoints" / STATE_FILE, folder / STATE_FILE
    tensors, facts = read_tensors(whole)

    def attack(rng: random.Random) -> object:
        if rng.random() < 0.3:
            place.write_bytes(mutated(whole.read_bytes(), rng))
        else:
            changed = mutated_json(facts, rng) if rng.random() < 0.6 else facts
            _write(place, _mutated_tensors(tensors, rng), changed)
        if rng.random() < 0.3:
            load_weights(method, read_tensors(place)[0], place)
            return None
        return TrainingState.resume(method, recipe.training, timeline, folder, fabric, facts["identity"])

    return attack


def _write(path: Path, tensors: dict[str, Tensor], facts: Any) -> None:
    try:
        write_tensors(path, tensors, facts if isinstance(facts, dict) else {})
    except ValueError as error:  # lone surrogates cannot be written
        raise CheckpointError(f"cannot be made: {error}") from error


def _mutated_tensors(tensors: dict[str, Tensor], rng: random.Random) -> dict[str, Tensor]:
    """The tensors with one of them left out, renamed, reshaped, of another type, or not finite."""
    made, name = dict(tensors), rng.choice(list(tensors))
    value = made[name]
    match rng.randrange(6):
        case 0:
            del made[name]
        case 1:
            made[rng.choice(("", "model/", "optimizer/x/y/z", "optimizer/-1/exp_avg", "average/a"))] = made.pop(name)
        case 2:
            made[name] = torch.zeros(rng.choice(((), (0,), (1, 2, 3), (2**12,))))
        case 3:
            made[name] = value.to(rng.choice((torch.int64, torch.bool, torch.float16, torch.float64)))
        case 4:
            made[name] = torch.full_like(value.float(), float("nan"))
    return made


def attack_on_weights(folder: Path) -> Attack:
    """Weights of a trunk and released joint models, as safetensors and as ``torch.save`` wrote them."""
    import timm
    from safetensors.torch import save_file

    from crossray.encoders.image_weights import create_trunk
    from crossray.errors import ConfigError
    from crossray.inference.released import load_released

    trunk = timm.create_model("test_resnet", num_classes=0, in_chans=1).state_dict()
    released = {f"gloria.img_encoder.model.{name}": value for name, value in trunk.items()}
    made = folder / "made"
    made.mkdir()
    save_file(trunk, made / "trunk.safetensors")
    torch.save({"state_dict": trunk}, made / "trunk.pth")
    torch.save(released, made / "released.ckpt")
    shutil.copy(made / "trunk.pth", made / "trunk.ckpt")

    def read(path: Path) -> object:
        if path.suffix == ".ckpt":
            return load_released(path)
        try:
            return create_trunk("test_resnet", str(path), 1, {})
        except ConfigError:
            return load_released(path)

    return of_bytes({file.name: file.read_bytes() for file in sorted(made.iterdir())}, folder, read)

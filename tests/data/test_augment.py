from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as TF

from crossray.data.augment import (
    AugmentationConfig,
    ImageInputConfig,
    draw_parameters,
    evaluation_view,
    evaluation_window,
    training_view,
)
from crossray.errors import ConfigError
from crossray.settings import build_settings

EVERYTHING = AugmentationConfig(
    crop_scale=(0.6, 1.0),
    crop_ratio=(0.75, 1.33),
    degrees=20,
    translate=0.1,
    scale=(0.95, 1.05),
    brightness=(0.6, 1.4),
    contrast=(0.6, 1.4),
    blur_sigma=(0.1, 3.0),
    horizontal_flip=0.5,
)


def films(count: int = 6, side: int = 32) -> Tensor:
    """Smooth films, so that resampling is well-behaved."""
    noise = torch.rand(count, 1, 6, 6, generator=torch.Generator().manual_seed(1)) * 255
    smooth = torch.nn.functional.interpolate(noise, size=(side, side), mode="bicubic").clamp(0, 255)
    return smooth[:, 0].to(torch.uint8)


def raw(**options: object) -> ImageInputConfig:
    """Inputs of 32 pixels in units of 0..255, so that views can be compared with films."""
    return ImageInputConfig(size=32, mean=0.0, std=1 / 255, augmentation=build_settings(AugmentationConfig, options))


def view_of(config: ImageInputConfig, batch: Tensor | None = None, *, seed: int = 1, epoch: int = 0) -> Tensor:
    batch = films() if batch is None else batch
    return training_view(batch, np.arange(len(batch)), config, seed=seed, epoch=epoch)


@pytest.mark.parametrize("options", [AugmentationConfig(), EVERYTHING])
def test_a_view_depends_on_its_sample_alone(options: AugmentationConfig) -> None:
    config = ImageInputConfig(size=24, augmentation=options)
    batch, samples = films(), np.array([7, 3, 900, 12, 5, 41])
    whole = training_view(batch, samples, config, seed=4, epoch=2)
    for rows in ([0], [5, 1], [2, 4, 3]):
        part = training_view(batch[rows], samples[rows], config, seed=4, epoch=2)
        torch.testing.assert_close(part, whole[rows])
    assert not torch.equal(training_view(batch, samples, config, seed=4, epoch=3), whole)
    assert not torch.equal(training_view(batch, samples, config, seed=5, epoch=2), whole)


def test_a_random_crop_is_a_window_of_the_film() -> None:
    config = ImageInputConfig(size=20)
    view = training_view(films(), np.arange(6), config, seed=0, epoch=0)
    corners = set()
    for film, seen in zip((films().float() / 255 - 0.5) / 0.5, view[:, 0], strict=True):
        places = film.unfold(0, 20, 1).unfold(1, 20, 1)
        found = (places - seen).abs().amax(dim=(2, 3)) < 1e-5
        assert found.sum() == 1
        corners.add(tuple(found.nonzero()[0].tolist()))
    assert len(corners) > 1


def test_every_crop_place_is_reached_and_none_beyond() -> None:
    drawn = draw_parameters(np.arange(4000), 23, ImageInputConfig(size=20), seed=0, epoch=0)
    rows = np.minimum(drawn.crop_y * 4, 3).astype(int)
    assert sorted(set(rows.tolist())) == [0, 1, 2, 3]
    assert np.bincount(rows).min() > 900


def test_nothing_asked_for_leaves_the_film_as_it_is() -> None:
    assert torch.equal(view_of(raw())[:, 0], films().float())
    torch.testing.assert_close(view_of(raw(crop_scale=(1.0, 1.0)))[:, 0], films().float(), rtol=0, atol=1e-3)


def test_left_stays_left_unless_flips_are_asked_for() -> None:
    assert not draw_parameters(np.arange(500), 32, ImageInputConfig(size=24), seed=0, epoch=0).flip.any()
    torch.testing.assert_close(view_of(raw(horizontal_flip=1.0))[:, 0], films().float().flip(2), rtol=0, atol=1e-3)


def test_affine_warps_agree_with_torchvision() -> None:
    config = raw(degrees=30, translate=0.2, scale=(0.8, 1.2))
    drawn = draw_parameters(np.arange(6), 32, config, seed=1, epoch=0)
    expected = [
        TF.affine(
            film[None].float(),
            angle=math.degrees(drawn.angle[k]),
            translate=[drawn.shift_x[k] * 32, drawn.shift_y[k] * 32],
            scale=float(drawn.zoom[k]),
            shear=[0.0],
            interpolation=InterpolationMode.BILINEAR,
        )
        for k, film in enumerate(films())
    ]
    torch.testing.assert_close(view_of(config), torch.stack(expected), rtol=0, atol=0.05)


def test_a_scaled_crop_shows_the_drawn_window() -> None:
    config = raw(crop_scale=(0.25, 0.25))
    drawn = draw_parameters(np.arange(6), 32, config, seed=1, epoch=0)
    ramp = torch.arange(32).repeat(6, 32, 1).to(torch.uint8)
    view = view_of(config, ramp)[:, 0]
    left = drawn.crop_x * 16
    centres = left[:, None] + (np.arange(32) + 0.5) / 2 - 0.5
    expected = torch.from_numpy(np.clip(centres, 0, 31)).float()
    torch.testing.assert_close(view[:, 16, 1:-1], expected[:, 1:-1], rtol=0, atol=1e-3)


def test_brightness_and_contrast_are_factors() -> None:
    torch.testing.assert_close(view_of(raw(brightness=(0.5, 0.5)))[:, 0], films().float() * 0.5)
    mean = films().float().mean(dim=(1, 2), keepdim=True)
    torch.testing.assert_close(view_of(raw(contrast=(0.5, 0.5)))[:, 0], mean + (films().float() - mean) * 0.5)
    assert view_of(raw(brightness=(1.4, 1.4))).max() <= 255.001


def test_blur_keeps_a_flat_film_and_agrees_with_torchvision() -> None:
    flat = torch.full((2, 32, 32), 90, dtype=torch.uint8)
    torch.testing.assert_close(view_of(raw(blur_sigma=(2.0, 2.0)), flat)[:, 0], flat.float(), rtol=0, atol=1e-3)
    expected = TF.gaussian_blur(films().float().unsqueeze(1), [3, 3], [1.5, 1.5])
    torch.testing.assert_close(view_of(raw(blur_sigma=(1.5, 1.5))), expected, rtol=0, atol=1e-2)


# Read off the views of the first release: (one pixel, mean) of the first three films.
PUBLISHED_VIEWS = [
    (AugmentationConfig(), [0.01961, -0.86667, -0.70196], [-0.01735, 0.03095, -0.07752]),
    (EVERYTHING, [-0.40705, 0.08272, -0.36744], [-0.06842, 0.16469, 0.03799]),
]


@pytest.mark.parametrize(("options", "pixels", "means"), PUBLISHED_VIEWS)
def test_options_added_later_change_no_view_of_an_older_recipe(
    options: AugmentationConfig, pixels: list[float], means: list[float]
) -> None:
    config, samples = ImageInputConfig(size=24, augmentation=options), np.array([7, 3, 900])
    view = training_view(films()[:3], samples, config, seed=4, epoch=2)
    assert view[:, 0, 11, 7].tolist() == pytest.approx(pixels, abs=2e-5)
    assert view.mean(dim=(1, 2, 3)).tolist() == pytest.approx(means, abs=2e-5)


def test_blur_and_jitter_come_with_their_probabilities_and_leave_the_other_films_alone() -> None:
    batch = films(2).repeat(200, 1, 1)
    config = raw(blur_sigma=(1.5, 1.5), blur_probability=0.5, brightness=(0.5, 0.5), jitter_probability=0.8)
    drawn = draw_parameters(np.arange(400), 32, config, seed=1, epoch=0)
    jittered = drawn.brightness == 0.5
    assert (drawn.blurred.mean(), jittered.mean()) == pytest.approx((0.5, 0.8), abs=0.07)
    view = view_of(config, batch)
    plain = batch.float().unsqueeze(1)
    expected = torch.where(torch.from_numpy(jittered).view(-1, 1, 1, 1), plain * 0.5, plain)
    blurred = torch.from_numpy(drawn.blurred)
    torch.testing.assert_close(view[~blurred], expected[~blurred])
    softened = TF.gaussian_blur(expected[blurred], [3, 3], [1.5, 1.5])
    torch.testing.assert_close(view[blurred], softened, rtol=0, atol=1e-2)
    never = raw(blur_sigma=(1.5, 1.5), blur_probability=0.0)
    assert torch.equal(view_of(never)[:, 0], films().float())


def test_L14_the_blur_kernel_is_23_pixels_wide_at_224() -> None:
    point = torch.zeros(1, 224, 224, dtype=torch.uint8)
    point[0, 112, 112] = 255
    config = ImageInputConfig(size=224, augmentation=AugmentationConfig(blur_sigma=(9.0, 9.0)), mean=0.0)
    view = training_view(point, np.array([0]), config, seed=0, epoch=0)[0, 0]
    assert [int((view.amax(dim=dim) > 0).sum()) for dim in (0, 1)] == [23, 23]


def test_the_evaluation_view_is_the_centre_crop_and_its_window_says_so() -> None:
    config = ImageInputConfig(size=24)
    expected = (films()[:, 4:28, 4:28].float() / 255 - 0.5) / 0.5
    torch.testing.assert_close(evaluation_view(films(), config)[:, 0], expected)
    window = evaluation_window(32, config)
    assert (window.x0, window.y0, window.size) == (4, 4, 24)


def test_a_resized_film_is_area_averaged_and_its_window_is_in_prepared_pixels() -> None:
    config = ImageInputConfig(size=8, resize=16, mean=0.0, std=1 / 255)
    halves = films().float().reshape(6, 16, 2, 16, 2).mean(dim=(2, 4))
    torch.testing.assert_close(evaluation_view(films(), config)[:, 0], halves[:, 4:12, 4:12])
    window = evaluation_window(32, config)
    assert (window.x0, window.size) == (8, 16)


def test_the_whole_film_is_evaluated_where_training_crops_are_shares_of_it() -> None:
    stored = films(side=64)
    halves = torch.nn.functional.interpolate(stored.float().unsqueeze(1), size=(32, 32), mode="area")
    lovt = ImageInputConfig(size=32, mean=0.0, std=1 / 255, evaluation="whole", augmentation=EVERYTHING)
    torch.testing.assert_close(evaluation_view(stored, lovt), halves)
    window = evaluation_window(64, lovt)
    assert (window.x0, window.y0, window.size) == (0, 0, 64)
    assert lovt.side(64) == 64  # training crops come from the film as it is stored
    unscaled = lovt.model_copy(update={"augmentation": AugmentationConfig()})
    torch.testing.assert_close(view_of(unscaled, stored), halves)  # as large in fine-tuning as in evaluation


def test_configurations_that_show_the_centre_read_as_before() -> None:
    assert "evaluation" not in ImageInputConfig().model_dump()
    whole = ImageInputConfig(evaluation="whole")
    assert ImageInputConfig.model_validate(whole.model_dump()) == whole


def test_evaluation_leaves_the_stored_pixels_alone() -> None:
    stored = films()
    evaluation_view(stored, ImageInputConfig(size=32))
    view_of(raw(brightness=(0.5, 0.5)), stored)
    assert torch.equal(stored, films())


def test_a_crop_larger_than_the_film_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"crop of 64 pixels.*prepare the store"):
        evaluation_view(films(), ImageInputConfig(size=64))


@pytest.mark.parametrize("bad", [{"scale": (1.2, 0.8)}, {"brightness": (0.0, 1.0)}, {"crop_scale": (0.5, 1.5)}])
def test_impossible_ranges_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        build_settings(AugmentationConfig, bad)

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from crossray.data.batch import PairBatch
from crossray.encoders.image import ImageEncoderConfig
from crossray.errors import ConfigError
from crossray.methods.base import PairFeatures, SingleProcess
from crossray.methods.mgca.config import MgcaConfig
from crossray.methods.mgca.method import Mgca
from crossray.settings import build_settings

from ..alignment.oracles import token_contrast_by_loop
from ..small_model import IMAGE, TEXT, VIT, pair_batch, reports, rows_of, small_method, values

TERMS = ("instance_image_to_text", "instance_text_to_image", "token_words", "token_patches", "prototype")
VIT_64 = VIT.model_copy(update={"trunk_options": {"img_size": 64}, "class_attention": True})


def method(image: ImageEncoderConfig = IMAGE, **options: object) -> Mgca:
    small = {"hidden_dim": 32, "embed_dim": 16, "prototypes": 12}
    built = small_method(MgcaConfig.model_validate({**small, **options}), image=image)
    assert isinstance(built, Mgca)
    return built.eval()


def features_of(model: Mgca, batch: PairBatch) -> PairFeatures:
    with torch.no_grad():
        return model.encode(batch)


def test_b3_instances_of_two_orthonormal_pairs() -> None:
    model = method(token_weight=0, prototype_weight=0)
    basis = torch.eye(2, 16, dtype=torch.float64)
    features = {"image": basis, "report": basis, "text_group": torch.arange(2), "label_codes": torch.zeros(2, 1)}
    total = model.losses(features, SingleProcess()).total.item()
    assert total == pytest.approx(2 * math.log1p(math.exp(-1 / 0.07)))
    assert total == pytest.approx(1.25e-6, rel=1e-2)


def test_b3_word_weights_sum_to_one_and_are_zero_on_padding() -> None:
    for preset in ("clean", "reference"):
        features = features_of(method(preset=preset), pair_batch(reports(5)))
        weights, mask = features["word_weights"], features["word_mask"]
        torch.testing.assert_close(weights.sum(1), torch.ones(5))
        assert weights[~mask].eq(0).all()
        assert weights[mask].gt(0).all()
        assert not weights.requires_grad


@pytest.mark.parametrize("preset", ["clean", "reference", "reference_vit"])
def test_the_token_terms_agree_with_the_spec_written_as_loops(preset: str) -> None:
    model = method(VIT_64 if preset == "reference_vit" else IMAGE, preset=preset)
    features = features_of(model, pair_batch(reports(4)))
    of_words, of_patches = [], []
    for words, patches, mask, word_weights, patch_weights in zip(
        *(features[name] for name in ("words", "patches", "word_mask", "word_weights", "patch_weights")), strict=True
    ):
        real = int(mask.sum())
        scored = real if preset == "clean" else len(words)  # the defect: padding stands in the denominators
        of_words.append(
            token_contrast_by_loop(
                words[:scored], patches, word_weights[:real], 0.1, others_seen=len(patches), normalise=True
            )
        )
        of_patches.append(
            token_contrast_by_loop(
                patches, words, patch_weights, 0.1, others_seen=real, normalise=preset != "reference_vit"
            )
        )
    losses = values(model.losses(features, SingleProcess()))
    assert losses["token_words"] == pytest.approx(torch.stack(of_words).mean().item(), abs=1e-4)
    assert losses["token_patches"] == pytest.approx(torch.stack(of_patches).mean().item(), abs=1e-4)


def test_every_term_has_its_named_weight_and_none_is_computed_at_zero() -> None:
    model = method(instance_weight=0.5, token_weight=2, prototype_weight=0.25)
    features = features_of(model, pair_batch(reports(4)))
    losses = model.losses(features, SingleProcess())
    assert dict(losses.weights) == dict(zip(TERMS, (0.5, 0.5, 2.0, 2.0, 0.25), strict=True))
    alone = method(instance_weight=0, token_weight=0).losses(features, SingleProcess())
    assert set(alone.terms) == {"prototype"}
    with pytest.raises(ConfigError, match="nothing would be learned"):
        build_settings(MgcaConfig, {"instance_weight": 0, "token_weight": 0, "prototype_weight": 0})


def test_longer_padding_and_another_order_leave_every_term() -> None:
    model, texts = method(), [*reports(6), ""]
    features = features_of(model, pair_batch(texts))
    wanted = pytest.approx(values(model.losses(features, SingleProcess())), abs=1e-4)
    assert values(model.losses(features_of(model, pair_batch(texts, length=24)), SingleProcess())) == wanted
    order = torch.tensor([4, 0, 6, 5, 2, 1, 3])
    assert values(model.losses(rows_of(features, order), SingleProcess())) == wanted


def test_padding_enters_the_batch_norm_of_words_in_the_reference_only() -> None:
    def statistics(length: int | None, preset: str = "clean") -> Tensor:
        model = method(include_sep=True, preset=preset)
        model.word_head.train()
        model.encode(pair_batch(reports(6), length=length))
        mean = model.word_head.first_norm.running_mean
        assert mean is not None
        return mean

    clean = statistics(None)
    torch.testing.assert_close(statistics(24), clean, atol=1e-5, rtol=1e-4)
    published = statistics(None, preset="reference")
    torch.testing.assert_close(statistics(24, preset="reference"), published, atol=1e-5, rtol=1e-4)
    assert (published - clean).abs().max() > 1e-3


def test_reference_scores_words_against_padding() -> None:
    batch = pair_batch(reports(5))
    clean, reference = method(include_sep=True), method(preset="reference")
    features = features_of(reference, batch)
    harder = values(reference.losses(features, SingleProcess()))["token_words"]
    assert harder > values(clean.losses(features, SingleProcess()))["token_words"]


def test_sep_is_a_word_in_the_reference_only_and_cls_never() -> None:
    batch = pair_batch(["The heart is enlarged.", ""])
    counts = {p: features_of(method(preset=p), batch)["word_mask"].sum(1).tolist() for p in ("clean", "reference")}
    assert counts == {"clean": [4, 0], "reference": [5, 1]}


def test_an_empty_report_still_trains() -> None:
    model = method().train()
    losses = model.losses(model.encode(pair_batch([*reports(3), ""])), SingleProcess())
    gradients = torch.autograd.grad(losses.total, list(model.parameters()), allow_unused=True)
    assert losses.total.isfinite()
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


def test_prototypes_are_held_still_at_first_and_kept_at_length_one() -> None:
    model = method().train()
    batch = pair_batch(reports(4))
    for epoch, moves in ((0, False), (1, True)):
        model.before_step(epoch)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        before = model.prototypes.detach().clone()
        optimizer.zero_grad()
        torch.autograd.backward(model.losses(model.encode(batch), SingleProcess()).terms["prototype"])
        optimizer.step()
        model.after_step()
        assert torch.allclose(model.prototypes, before, atol=1e-6) is not moves
        torch.testing.assert_close(model.prototypes.norm(dim=1), torch.ones(12))


def test_patches_of_a_vit_are_weighed_by_its_attention() -> None:
    batch = pair_batch(reports(3))
    by_attention = features_of(method(VIT_64, patch_weights="attention"), batch)["patch_weights"]
    torch.testing.assert_close(by_attention.sum(1), torch.ones(3))
    assert by_attention.std(dim=1).gt(0).all()
    uniform = features_of(method(), batch)["patch_weights"]
    torch.testing.assert_close(uniform, torch.full_like(uniform, 1 / uniform.shape[1]))


def test_attention_that_no_encoder_gives_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"image_encoder\.class_attention=true"):
        method(patch_weights="attention")
    config = MgcaConfig(hidden_dim=32, embed_dim=16)
    silent = TEXT.model_copy(update={"class_attention": False})
    with pytest.raises(ConfigError, match=r"text_encoder\.class_attention=true"):
        small_method(config, text=silent)
    model = small_method(config.model_copy(update={"word_weights": "uniform"}), text=silent).eval()
    weights = model.encode(pair_batch(["The heart is enlarged."]))["word_weights"]
    torch.testing.assert_close(weights[weights > 0], torch.full((4,), 0.25))


def test_words_attend_to_patches_and_phrases_to_the_mean_of_their_words() -> None:
    model, batch = method(), pair_batch(reports(3))
    with torch.no_grad():
        images, texts = model.embed_images(batch.pixels), model.embed_texts(batch.tokens)
        maps = model.attention(images, texts)
        phrase = model.phrase_map(images, texts)
        similarity = model.similarity(images, texts, purpose="retrieval")
    words = texts.word_mask & ~texts.special_mask
    torch.testing.assert_close(maps.sum(2), words.float())
    torch.testing.assert_close(phrase, maps.sum(1) / words.sum(1, keepdim=True))
    assert similarity.local_scores is None
    assert similarity.global_scores.abs().max() <= 1.0001


def test_gradients_reach_every_weight() -> None:
    model = method().train()
    losses = model.losses(model.encode(pair_batch(reports(4))), SingleProcess())
    gradients: tuple[Tensor | None, ...] = torch.autograd.grad(
        losses.total, list(model.parameters()), allow_unused=True
    )
    untouched = [n for (n, _), g in zip(model.named_parameters(), gradients, strict=True) if g is None]
    assert untouched == []


def test_presets_are_the_published_variants() -> None:
    for preset in ("reference", "reference_vit"):
        config = MgcaConfig(preset=preset)
        assert (config.positives, config.include_sep, config.across_processes) == ("identity", True, False)
        assert config.normalise_patch_context is (preset == "reference")
        assert MgcaConfig.model_validate(config.model_dump()) == config


def test_half_precision_films_and_reports_are_compared_in_full() -> None:
    model = method()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = features_of(model, pair_batch(reports(4)))
    halves = (torch.bfloat16, torch.float16)
    full = {name: value.float() if value.dtype in halves else value for name, value in features.items()}
    assert all(term.dtype == torch.float32 for term in model.losses(full, SingleProcess()).terms.values())

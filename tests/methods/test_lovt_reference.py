"""What the published code does (`lovt` spec, section 5), switch by switch, against what `clean` does."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from crossray.methods.lovt.alignment import AlignmentAttention
from crossray.methods.lovt.config import LovtConfig

from ..small_model import pair_batch, reports, values
from .test_lovt import losses_of, method, random_features


def test_presets_are_defaults_and_given_keys_win() -> None:
    reference = LovtConfig(preset="reference")
    switches = ("padded_mean_query", "norm_over_padding", "shared_running_statistics")
    assert reference.positives == "identity"
    assert all(getattr(reference, name) for name in switches)
    assert not any(getattr(LovtConfig(), name) for name in switches)
    assert LovtConfig.model_validate({"preset": "reference", "norm_over_padding": False}).norm_over_padding is False
    assert LovtConfig.model_validate(reference.model_dump()) == reference


def test_row_03_a_report_changes_with_the_longest_of_its_batch() -> None:
    texts = [reports(3)[1], reports(3)[2]]  # two sentences; three
    for padded, differs in ((True, True), (False, False)):
        model = method(padded_mean_query=padded).eval()
        with torch.no_grad():
            alone = model.embed_texts(pair_batch(texts[:1]).tokens).report[0]
            beside = model.embed_texts(pair_batch(texts).tokens).report[0]
        assert bool((alone - beside).abs().max() > 1e-5) == differs


def test_row_04_padded_sentences_are_in_the_published_batch_norm() -> None:
    for over_padding in (True, False):
        model = method(norm_over_padding=over_padding).train()
        features = random_features(model, (1, 3, 2), slots=3)
        features["sentences"] = features["sentences"] * features["sentence_mask"].unsqueeze(2)  # as the encoder pads
        losses_of(model, features)
        norm = model.sentence_head.norm
        assert norm is not None
        hidden = model.sentence_head.first(features["sentences"])
        real = features["sentence_mask"]
        counted = hidden.flatten(0, 1) if over_padding else hidden[real]
        torch.testing.assert_close(norm.state_dict()["running_mean"], 0.1 * counted.mean(0).detach())
        assert (len(counted) == 9) == over_padding


def alignment_inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    regions, sentences = torch.randn(2, 4, 6, generator=generator), torch.randn(2, 3, 6, generator=generator)
    return regions, sentences, torch.tensor([[True, False, False], [True, True, True]])


def test_row_04_padded_sentences_enter_the_alignment_as_rows_of_the_bias() -> None:
    torch.manual_seed(0)
    module = AlignmentAttention(6, shared_statistics=False)
    nn.init.normal_(module.output.bias)
    regions, sentences, mask = alignment_inputs()
    maps = module.sentence_maps(regions, sentences, mask)
    seen = module.output(maps @ module.value(regions))
    torch.testing.assert_close(seen[0, 1:], module.output.bias.expand(2, 6))
    published = module(regions, sentences, mask, norm_over_padding=True).of_sentences
    torch.testing.assert_close(published, nn.BatchNorm1d(6)(seen.flatten(0, 1)).view_as(seen))
    clean = module(regions, sentences, mask).of_sentences
    torch.testing.assert_close(clean[mask], nn.BatchNorm1d(6)(seen[mask]))


def test_row_05_the_published_alignment_mixes_its_running_statistics() -> None:
    regions, sentences, mask = alignment_inputs()
    for shared in (True, False):
        torch.manual_seed(0)
        module = AlignmentAttention(6, shared_statistics=shared)
        sentence_maps = module.sentence_maps(regions, sentences, mask)
        by_sentences = module.output(sentence_maps @ module.value(regions))[mask].mean(0).detach()
        means = [norm.state_dict()["running_mean"] for norm in module.norms]
        module(regions, sentences, mask)
        if shared:
            assert len(means) == 1
            of_regions = (means[0] - 0.1 * by_sentences) / 0.09  # regions first, then sentences
            other = AlignmentAttention(6, shared_statistics=False)
            other.load_state_dict({**other.state_dict(), **dict(module.named_parameters())})
            other(regions, sentences, mask)
            torch.testing.assert_close(of_regions, 10 * other.norms[0].state_dict()["running_mean"])
        else:
            assert len(means) == 2
            torch.testing.assert_close(means[1], 0.1 * by_sentences)


def test_row_08_neither_preset_sends_gradient_through_the_weights() -> None:
    for preset in ("clean", "reference"):
        model = method(preset=preset).train()
        losses = losses_of(model, random_features(model, (2, 3)))
        pool = model.film_head.pool
        assert pool is not None
        (gradient,) = torch.autograd.grad(losses.terms["local_image"], [pool.query.weight], allow_unused=True)
        assert gradient is None


def test_row_09_the_reference_too_is_finite_beside_an_empty_report() -> None:
    model = method(preset="reference").train()
    losses = losses_of(model, model.encode(pair_batch([*reports(3), ""])))
    assert losses.total.isfinite()


def test_identical_reports_are_negatives_in_the_reference_only() -> None:
    batch = pair_batch(["The lungs are clear."] * 4)
    found = {}
    for preset in ("clean", "reference"):
        model = method(preset=preset, other_positives="masked").eval()
        with torch.no_grad():
            found[preset] = values(losses_of(model, model.encode(batch)))["global_image_to_text"]
    assert found["clean"] == 0.0
    assert found["reference"] > 1.0

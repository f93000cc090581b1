"""PRIOR's objective as a whole: its stages, what they move, and its scores."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from crossray.alignment.contrastive import cosine_matrix
from crossray.data.batch import PairBatch
from crossray.encoders.image import ImageEncoderConfig
from crossray.methods.base import GroundsPhrases, GroundsWords, PairFeatures, SingleProcess
from crossray.methods.prior.config import STAGES, PriorConfig, Stage
from crossray.methods.prior.method import Prior
from crossray.training.gradient_cache import cached_backward

from ..small_model import IMAGE, SENTENCES, TEXT, pair_batch, small_tokenizer
from .prior_model import REPORTS, STEADY, VIT, config, gradient_names, prior, selected, sentence_batch, terms_of

ALIGN = ("global", "local_image", "local_text")
RECONSTRUCT = (*ALIGN, "prototype", "reconstruction", "generation", "query", "prediction")
WEIGHTS = {
    "global": "reconstruct_global_weight",
    **{name: f"{name}_weight" for name in RECONSTRUCT[1:]},
}
EIGHT = [[SENTENCES[k], SENTENCES[(k + 3) % 8]] if k % 2 else [SENTENCES[k]] for k in range(8)]


def encoded(model: Prior, batch: PairBatch | None = None) -> PairFeatures:
    with torch.no_grad():
        return model.encode(batch or sentence_batch())


def contrast_features(image: Tensor, report: Tensor) -> PairFeatures:
    count = len(image)
    return {
        "image": image,
        "report": report,
        "text_group": torch.arange(count),
        "label_codes": torch.zeros(count, 1, dtype=torch.int64),
    }


@pytest.mark.parametrize(("scale", "other", "wanted"), [(1, 0.0, 0.743668), (10, 0.0, 1.3619e-4), (10, 0.5, 0.0200123)])
def test_check_01_info_nce_of_known_cosines(scale: float, other: float, wanted: float) -> None:
    cosines = torch.full((4, 4), other, dtype=torch.float64).fill_diagonal_(1.0)
    # Films e_i and reports whose cosine with the other films is ``other``: rows of the matrix's square root.
    values, vectors = torch.linalg.eigh(cosines)
    root = vectors @ values.sqrt().diag() @ vectors.T
    model = prior(local_image_weight=0, local_text_weight=0, temperature=1 / scale).double()
    found = terms_of(model, contrast_features(root, root))
    assert found["global"] == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("count", [4, 588])
def test_check_01_equal_vectors_give_the_logarithm_of_their_number(count: int) -> None:
    model = prior(local_image_weight=0, local_text_weight=0)
    same = torch.ones(count, 3)
    assert terms_of(model, contrast_features(same, same))["global"] == pytest.approx(math.log(count), abs=1e-4)


@pytest.mark.parametrize(("stage", "total"), list(zip(STAGES, (3, 13, 35), strict=True)))
def test_check_13_totals_of_the_stages(stage: Stage, total: float) -> None:
    weights = PriorConfig().stage_weights(stage)
    assert sum(weights.values()) == total
    assert tuple(weights) == RECONSTRUCT[: {"align": 3, "prototypes": 4, "reconstruct": 8}[stage]]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_has_its_terms_and_their_weighted_sum(stage: Stage) -> None:
    model = prior(initial_stage=stage)
    losses = model.losses(encoded(model), SingleProcess())
    weights = model.config.stage_weights(stage)
    assert dict(losses.weights) == weights
    assert losses.total.item() == pytest.approx(sum(weights[n] * t.item() for n, t in losses.terms.items()), rel=1e-5)
    assert all(term.isfinite() for term in losses.terms.values())


def test_check_11_word_pieces_know_their_sentence() -> None:
    tokenizer = small_tokenizer()
    report = [selected(["The heart is enlarged.", "No pleural effusion or pneumothorax.", "The lungs."])]
    ids = tokenizer.collate(tokenizer.encode(report), length=16).sentence_ids[0]
    pieces = [int((ids == sentence).sum()) for sentence in range(3)]
    assert pieces[0] >= 4
    wanted = [-1, *[0] * pieces[0], *[1] * pieces[1], *[2] * pieces[2], -1]
    assert ids.tolist() == wanted + [-1] * (16 - len(wanted))
    assert int((ids >= 0).sum()) == sum(pieces)


@torch.no_grad()
def test_check_11_a_sentence_is_the_mean_of_its_projected_pieces() -> None:
    model, batch = prior(), sentence_batch()
    report = model._read(batch.tokens, None)
    tokens = model.sentence_projection(model.text_encoder(batch.tokens).tokens)
    assert report.mask.sum(dim=1).tolist() == [1, 3, 2, 0]
    for b, sentences in enumerate(REPORTS):
        for n in range(len(sentences)):
            wanted = tokens[b][batch.tokens.sentence_ids[b] == n].mean(dim=0)
            torch.testing.assert_close(report.raw[b, n], wanted)


@torch.no_grad()
def test_the_terms_agree_with_the_spec_written_as_a_loop_over_ragged_reports() -> None:
    model, batch = prior(initial_stage="reconstruct", preset="reference", gumbel_in_evaluation=False), sentence_batch()
    found = terms_of(model, model.encode(batch))
    films, report = model.embed_images(batch.pixels), model._read(batch.tokens, 4)
    assert report.bank is not None
    bank, align, slots = model.bank, model.local.align, model.generation.decoder(films.regions)
    sums: dict[str, list[float]] = {name: [] for name in RECONSTRUCT}
    rebuilt = []
    for b, count in enumerate((1, 3, 2, 0)):
        regions, u = films.regions[b : b + 1], report.raw[b : b + 1, :count]
        q = bank.prototypes[(u @ bank.prototypes.T).argmax(dim=2)]
        one = align(regions, q, torch.ones(1, count, dtype=torch.bool))
        maps = (regions.reshape(1, 16, 2, 2), one.of_regions.reshape(1, 16, 2, 2))
        rebuilt.append(model.image_decoder(*maps, (64, 64)))
        padded = torch.cat([q, torch.zeros(1, 4 - count, 16)], dim=1)[0]
        costs = [[float((slots[b, i] - padded[j]).abs().sum()) for j in range(4)] for i in range(4)]
        columns = _cheapest(costs)
        matched = slots[b, columns]
        sums["generation"].append(float((matched - padded).abs().mean()))
        for n in range(count):
            sums["prototype"].append(float((q[0, n] - u[0, n]).abs().mean()))
            p, r = (u[0, n] @ bank.prototypes.T).softmax(0), (matched[n] @ bank.prototypes.T).softmax(0)
            sums["query"].append(float((p * (p / r).log()).sum()))
        if count:
            c, t = F.normalize(one.of_sentences[0], dim=1), F.normalize(q[0], dim=1)
            own = torch.arange(count)
            text = (F.cross_entropy(100 * c @ t.T, own) + F.cross_entropy(100 * t @ c.T, own)) / 2
            h = model.local.predictor
            image = -F.cosine_similarity(h(regions[0]), one.of_regions[0]).mean() / 2
            image = image - F.cosine_similarity(h(one.of_regions[0]), regions[0]).mean() / 2
            sums["local_text"].append(float(text))
            sums["local_image"].append(float(image))
    sums["reconstruction"] = [float((torch.cat(rebuilt) - batch.pixels).abs().mean())]
    for name, values in sums.items():
        if values:
            assert found[name] == pytest.approx(sum(values) / len(values), rel=1e-4, abs=1e-5), name
    logits = 100 * cosine_matrix(films.pooled, report.pooled)
    own = torch.arange(4)
    wanted = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    assert found["global"] == pytest.approx(wanted.item(), rel=1e-4)


def _cheapest(costs: list[list[float]]) -> list[int]:
    return list(min(permutations(range(4)), key=lambda order: sum(costs[i][j] for i, j in enumerate(order))))


@pytest.mark.parametrize("stage", STAGES)
def test_longer_padding_leaves_every_term(stage: Stage) -> None:
    model = prior(initial_stage=stage)
    short, long = encoded(model, sentence_batch()), encoded(model, sentence_batch(length=24))
    assert terms_of(model, long) == pytest.approx(terms_of(model, short), abs=1e-4)


@pytest.mark.parametrize("stage", STAGES)
def test_evaluation_repeats_itself_and_p6_does_not(stage: Stage) -> None:
    model = prior(initial_stage=stage)
    assert terms_of(model, encoded(model)) == terms_of(model, encoded(model))
    noisy = prior(initial_stage=stage, preset="reference")
    same = terms_of(noisy, encoded(noisy)) == terms_of(noisy, encoded(noisy))
    assert same == (stage == "align")


def test_check_15_a_stage_moves_only_its_own_parts() -> None:
    later = ("generation.", "image_decoder.")
    moved = {}
    for stage in STAGES:
        model = prior(initial_stage=stage).train()
        moved[stage] = gradient_names(model, model.losses(model.encode(sentence_batch()), SingleProcess()).total)
    still: dict[Stage, tuple[str, ...]] = {"align": ("bank.", *later), "prototypes": later}
    for stage, parts in still.items():
        assert not [name for name in moved[stage] if name.startswith(parts)]
    assert "bank.prototypes" in moved["prototypes"]
    assert {"bank.prototypes", "generation.decoder.queries", "image_decoder.output.weight"} <= moved["reconstruct"]
    for names in moved.values():
        assert {"image_encoder.trunk.conv1.0.weight", "log_scale", "local.align.region_query.weight"} <= names
        assert "text_encoder.bert.embeddings.word_embeddings.weight" in names


@pytest.mark.parametrize("name", RECONSTRUCT)
def test_each_term_falls_when_it_is_trained_alone(name: str) -> None:
    off: dict[str, Any] = {key: 0 for term, key in WEIGHTS.items() if term != name}
    model = prior(initial_stage="reconstruct", slot_dropout=0.0, damage_share=0.0, **off).train()
    batch = sentence_batch()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    curve = []
    for _ in range(15):
        torch.manual_seed(0)
        losses = model.losses(model.encode(batch), SingleProcess())
        assert set(losses.terms) == {name}, "a term without weight is not computed"
        curve.append(losses.total.item())
        optimizer.zero_grad()
        torch.autograd.backward(losses.total)
        optimizer.step()
    assert min(curve[-3:]) < curve[0] - 0.02 * abs(curve[0])


@pytest.mark.parametrize(("image", "rate", "steps"), [(IMAGE, 2e-3, 60), (VIT, 1e-3, 100)], ids=["cnn", "vit"])
def test_eight_pairs_are_learned_by_heart(image: ImageEncoderConfig, rate: float, steps: int) -> None:
    model = prior(image=image, embed_dim=32, temperature=0.1).train()
    batch = replace(sentence_batch(EIGHT), pixels=_films_with_a_block_each(8))
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.autograd.backward(model.losses(model.encode(batch), SingleProcess()).total)
        optimizer.step()
    model.eval()
    with torch.no_grad():
        images, texts = model.embed_images(batch.pixels), model.embed_texts(batch.tokens)
        scores = model.similarity(images, texts, purpose="retrieval").global_scores
    assert scores.argmax(1).tolist() == list(range(8)), "R@1 = 1 from films to reports"
    assert scores.argmax(0).tolist() == list(range(8)), "R@1 = 1 from reports to films"


def _films_with_a_block_each(count: int) -> Tensor:
    pixels = torch.full((count, 1, 64, 64), -1.0)
    for k in range(count):
        pixels[k, 0, 32 * (k // 4) : 32 * (k // 4) + 32, 16 * (k % 4) : 16 * (k % 4) + 16] = 1.0
    return pixels


@pytest.mark.parametrize("stage", STAGES)
def test_gradient_caching_gives_the_gradient_of_the_whole_batch(stage: Stage) -> None:
    frozen = IMAGE.model_copy(update={"batch_norm": "frozen"})

    def gradients(pieces: int) -> list[Tensor | None]:
        # Evaluation mode: noise and the decoder's batch norm would depend on the pieces.
        model = prior(image=frozen, initial_stage=stage).double()
        batch = sentence_batch([*REPORTS, SENTENCES[5:7]])
        batch = replace(batch, pixels=batch.pixels.double())

        def compare(features: PairFeatures) -> None:
            torch.autograd.backward(model.losses(features, SingleProcess()).total)

        cached_backward(model, batch.micro_batches(pieces), model.encode, compare)
        return [parameter.grad for parameter in model.parameters()]

    for whole, cached in zip(gradients(5), gradients(2), strict=True):
        assert (whole is None) == (cached is None)
        if whole is not None and cached is not None:
            torch.testing.assert_close(cached, whole, rtol=1e-6, atol=1e-9)


def test_noise_is_drawn_alike_both_times_a_piece_is_encoded() -> None:
    model = prior(initial_stage="prototypes").train()
    torch.manual_seed(3)
    first = encoded(model)
    torch.manual_seed(3)
    assert torch.equal(first["prototype_total"], encoded(model)["prototype_total"])
    assert not torch.equal(first["prototype_total"], encoded(model)["prototype_total"])


def test_the_stage_lives_in_the_weights() -> None:
    model = prior()
    assert [model.stage, *_stages_entered(model)] == ["align", "align", "prototypes", "reconstruct"]
    fresh = prior(seed=1)
    fresh.load_state_dict(model.state_dict())
    assert fresh.stage == "reconstruct"
    with pytest.raises(ValueError, match="no stage 'last'"):
        model.enter_stage("last")


def _stages_entered(model: Prior) -> list[str]:
    found: list[str] = []
    for stage in model.stages:
        model.enter_stage(stage)
        found.append(model.stage)
    return found


def test_the_last_stage_reads_the_first_slots_of_a_report_and_inference_all_of_it() -> None:
    tokens = sentence_batch([SENTENCES[:6]]).tokens
    model = prior(initial_stage="reconstruct", slots=2)
    assert model._read(tokens, 2).mask.sum().item() == 2
    assert model.embed_texts(tokens).word_mask.sum().item() > 2
    sums = encoded(model, sentence_batch([SENTENCES[:6]]))
    assert sums["query_count"].tolist() == [2]
    model.enter_stage("prototypes")
    assert encoded(model, sentence_batch([SENTENCES[:6]]))["prototype_count"].item() > 2


@torch.no_grad()
def test_local_scores_are_of_one_film_and_one_report_and_come_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = prior(), sentence_batch()
    images, texts = model.embed_images(batch.pixels), model.embed_texts(batch.tokens)
    together = model.similarity(images, texts, purpose="zero_shot")
    alone = model.similarity(model.embed_images(batch.pixels[1:2]), texts, purpose="retrieval")
    assert together.local_scores is not None
    assert alone.local_scores is not None
    torch.testing.assert_close(alone.local_scores[0], together.local_scores[1], atol=1e-5, rtol=1e-5)
    assert (together.local_scores[:, :3] > 0).all()
    assert (together.local_scores[:, 3] == 0).all(), "an empty report matches nothing"
    monkeypatch.setattr("crossray.methods.prior.method._COMPARED_AT_ONCE", 1)
    chunked = model.similarity(images, texts, purpose="zero_shot").local_scores
    assert chunked is not None
    torch.testing.assert_close(chunked, together.local_scores)


@torch.no_grad()
def test_p20_a_prompt_is_scored_without_its_special_tokens() -> None:
    model, tokenizer = prior(), small_tokenizer()
    tokens = tokenizer.collate(tokenizer.encode(["The heart is enlarged."]))
    states = model.text_encoder(tokens).tokens[0]
    wanted = model.sentence_projection(states[1:-1].mean(dim=0))
    torch.testing.assert_close(model.embed_texts(tokens).words[0, 0], wanted)


@torch.no_grad()
def test_p8_the_log_scale_lets_the_local_part_say_more() -> None:
    scores = prior().similarity(
        prior().embed_images(sentence_batch().pixels), prior().embed_texts(sentence_batch().tokens), purpose="zero_shot"
    )
    assert scores.local_scores is not None
    local = scores.local_scores.softmax(dim=1) / 2
    for kind, scale in (("exp", 100.0), ("log", math.log(100))):
        wanted = (scale * scores.global_scores).softmax(dim=1) + local
        torch.testing.assert_close(prior(zero_shot_scale=kind).class_probabilities(scores), wanted)


@torch.no_grad()
def test_phrase_maps_are_the_mean_attention_of_their_sentences() -> None:
    model, batch = prior(), sentence_batch()
    images, texts = model.embed_images(batch.pixels), model.embed_texts(batch.tokens)
    maps = model.phrase_map(images, texts)
    attention = model.local.align(images.regions, texts.words, texts.word_mask).sentence_to_region
    torch.testing.assert_close(maps[1], attention[1, :3].mean(dim=0))
    assert maps.shape == (4, 4)
    assert maps[:3].min() > 0
    assert maps.max() < 1
    assert maps[3].abs().max() == 0
    assert isinstance(model, GroundsPhrases)
    assert not isinstance(model, GroundsWords)


def test_p7_scales_stay_below_the_largest() -> None:
    for limit, wanted in ((100.0, 100.0), (None, 200.0)):
        model = prior(largest_scale=limit)
        with torch.no_grad():
            model.log_scale.fill_(math.log(200))
            model.local.log_scale.fill_(math.log(200))
        model.after_step()
        scales = [model.log_scale.exp().item(), model.local.log_scale.exp().item()]
        assert scales == pytest.approx([wanted] * 2, rel=1e-5)


def test_p4_the_reference_compares_permuted_predictions() -> None:
    model = prior(initial_stage="reconstruct", preset="reference", gumbel_in_evaluation=False, causal=False)
    right = prior(
        initial_stage="reconstruct",
        preset="reference",
        gumbel_in_evaluation=False,
        causal=False,
        assignment="inverse",
    )
    wanted, mask = torch.eye(4, 16).unsqueeze(0), torch.ones(1, 4, dtype=torch.bool)
    predictions = wanted[:, [1, 2, 0, 3]]
    errors = [
        m.generation.set_error(m.generation.matched(predictions, wanted, mask), wanted, mask) for m in (right, model)
    ]
    assert errors[0].total.item() == 0
    assert errors[1].total.item() == pytest.approx(3 / 4 * 2 / 16)


def test_p18_detached_targets_get_no_gradient() -> None:
    reached = {}
    for detach in (False, True):
        off: dict[str, Any] = {key: 0 for term, key in WEIGHTS.items() if term not in ("generation", "query")}
        model = prior(initial_stage="reconstruct", detach_targets=detach, **off).train()
        names = gradient_names(model, model.losses(model.encode(sentence_batch()), SingleProcess()).total)
        reached[detach] = "sentence_projection.weight" in names
    assert reached == {False: True, True: False}


def test_the_bank_starts_from_the_sentences_of_the_stage_before() -> None:
    model = prior(k_means_sentences=20, prototypes=2).train()
    before = model.bank.prototypes.detach().clone()
    model.losses(model.encode(sentence_batch()), SingleProcess())
    assert model.bank.remembered_count.item() == 6
    model.enter_stage("prototypes")
    sentences = model.bank.remembered[:6]
    assert not torch.equal(model.bank.prototypes, before)
    assert torch.cdist(model.bank.prototypes, sentences).min(dim=1).values.max() < torch.cdist(before, sentences).min()
    started = model.bank.prototypes.detach().clone()
    model.enter_stage("prototypes")
    assert torch.equal(model.bank.prototypes, started), "a resumed run keeps what it learned"


def test_nearest_prototypes_learn_in_training_only() -> None:
    model = prior(initial_stage="prototypes", prototype_choice="nearest")
    before = model.bank.prototypes.detach().clone()
    for training, moves in ((False, False), (True, True)):
        model.train(training)
        model.before_step(0)
        model.losses(model.encode(sentence_batch()), SingleProcess())
        model.after_step()
        assert torch.equal(model.bank.prototypes, before) != moves


def test_presets_are_defaults_and_given_keys_win() -> None:
    reference = PriorConfig(preset="reference")
    assert (reference.positives, reference.token_layout, reference.assignment) == (
        "identity",
        "reference_view",
        "columns",
    )
    assert reference.causal
    assert reference.gumbel_in_evaluation
    assert (reference.empty_slot_weight, reference.slot_head, reference.zero_shot_scale) == (1.0, False, "log")
    assert not PriorConfig.model_validate({"preset": "reference", "causal": False}).causal
    assert PriorConfig.model_validate(reference.model_dump()) == reference
    with pytest.raises(ValueError, match="nothing would be learned"):
        config(global_weight=0, local_image_weight=0, local_text_weight=0)


def test_a_report_without_sentences_trains_in_every_stage() -> None:
    for stage in STAGES:
        model = prior(initial_stage=stage, text=TEXT).train()
        losses = model.losses(model.encode(sentence_batch([(), ()])), SingleProcess())
        torch.autograd.backward(losses.total)
        assert losses.total.isfinite()
        assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in model.parameters())


def test_half_precision_encoders_give_finite_terms() -> None:
    model = prior(initial_stage="reconstruct", text=STEADY).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = model.encode(sentence_batch())
    losses = model.losses({n: v.float() if v.is_floating_point() else v for n, v in features.items()}, SingleProcess())
    torch.autograd.backward(losses.total)
    assert all(term.isfinite() for term in losses.terms.values())


def test_image_sizes_and_grids_may_be_any() -> None:
    model = prior(initial_stage="reconstruct")
    for size in (96, 112):
        batch = pair_batch(["The heart is enlarged."] * 2, size=size)
        assert math.isfinite(terms_of(model, encoded(model, batch))["reconstruction"])


def test_projections_and_predictor_begin_as_wide_as_the_release_draws_them() -> None:
    model = prior(embed_dim=96, pool_heads=4, slot_heads=2)
    drawn = (model.global_projection, model.local_projection, model.sentence_projection, model.local.predictor[0])
    for layer in drawn:
        assert isinstance(layer, torch.nn.Linear)
        assert layer.weight.std().item() == pytest.approx(layer.in_features**-0.5, rel=0.05)
    for pool in (model.sentence_pool.attention, model.image_pool.attention if model.image_pool else None):
        assert pool is not None
        assert pool.query.weight.std().item() == pytest.approx((3 * pool.query.in_features) ** -0.5, rel=0.05)

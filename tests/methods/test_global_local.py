from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from crossray.alignment.local_similarity import Aggregation
from crossray.data.batch import PairBatch
from crossray.errors import ConfigError
from crossray.methods.base import ImageEmbedding, Method, PairFeatures, SingleProcess, TextEmbedding
from crossray.methods.build import build_method
from crossray.methods.global_local import GlobalLocal, GlobalLocalConfig
from crossray.settings import build_settings

from ..alignment.oracles import attention_by_loop, info_nce_by_loop, local_similarity_by_loop
from ..small_model import IMAGE, TEXT, pair_batch, reports, rows_of, small_method, small_tokenizer, values

TERMS = ("global_image_to_text", "global_text_to_image", "local_image_to_text", "local_text_to_image")


def method(**options: object) -> GlobalLocal:
    built = small_method(GlobalLocalConfig.model_validate(options))
    assert isinstance(built, GlobalLocal)
    return built.eval()


def features_of(model: Method, batch: PairBatch) -> PairFeatures:
    with torch.no_grad():
        return model.encode(batch)


def test_the_four_terms_agree_with_the_spec_written_as_loops() -> None:
    model = method()
    features = features_of(model, pair_batch([*reports(5), reports(1)[0], ""]))
    local = local_similarity_by_loop(
        features["regions"], features["words"], features["word_mask"], gamma1=4, gamma2=5, aggregation="sum"
    )
    image, report = (torch.nn.functional.normalize(features[name]) for name in ("image", "report"))
    groups = features["text_group"]
    positives = groups.unsqueeze(0) == groups.unsqueeze(1)
    wanted = []
    for scores in (image @ report.T, local):
        wanted += [info_nce_by_loop(10 * matrix, positives, "target").item() for matrix in (scores, scores.T)]
    got = values(model.losses(features, SingleProcess()))
    assert [got[name] for name in TERMS] == pytest.approx(wanted, abs=1e-4)


def test_every_term_has_its_named_weight() -> None:
    losses = method(global_weight=0.5, local_weight=2).losses(
        features_of(method(), pair_batch(reports(3))), SingleProcess()
    )
    assert dict(losses.weights) == dict(zip(TERMS, (0.5, 0.5, 2.0, 2.0), strict=True))
    assert losses.total.item() == pytest.approx(sum(losses.weights[n] * v for n, v in values(losses).items()))


def test_check_06_permuting_pairs_leaves_all_four_terms() -> None:
    model = method()
    features = features_of(model, pair_batch([*reports(5), reports(1)[0]]))
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    mixed = model.losses(rows_of(features, order), SingleProcess())
    assert values(mixed) == pytest.approx(values(model.losses(features, SingleProcess())), abs=1e-5)


def test_check_07_longer_padding_leaves_all_four_terms() -> None:
    model, texts = method(), reports(6)
    short = model.losses(features_of(model, pair_batch(texts)), SingleProcess())
    long = model.losses(features_of(model, pair_batch(texts, length=24)), SingleProcess())
    assert values(long) == pytest.approx(values(short), abs=1e-4)


def gradient_names(model: Method) -> set[str]:
    model.train()
    losses = model.losses(model.encode(pair_batch(reports(4))), SingleProcess())
    names, parameters = zip(*model.named_parameters(), strict=True)
    gradients: tuple[Tensor | None, ...] = torch.autograd.grad(losses.total, parameters, allow_unused=True)
    return {n for n, g in zip(names, gradients, strict=True) if g is not None and bool(g.abs().sum() > 0)}


def test_check_10_gradients_reach_both_ends_of_both_encoders() -> None:
    names = gradient_names(method())
    for wanted in (
        "image_encoder.trunk.conv1.0.weight",
        "global_projection.weight",
        "local_projection.weight",
        "text_encoder.bert.embeddings.word_embeddings.weight",
    ):
        assert wanted in names


def test_check_10_a_weight_of_zero_leaves_its_branch_alone() -> None:
    only_global = gradient_names(method(local_weight=0))
    assert "local_projection.weight" not in only_global
    only_local = gradient_names(method(global_weight=0))
    assert "global_projection.weight" not in only_local
    assert not any(".layer4." in name for name in only_local)
    assert any(".layer3." in name for name in only_local)


def test_include_cls_and_sep_choose_what_counts_as_a_word() -> None:
    batch = pair_batch(["The heart is enlarged.", ""])
    counts = {
        (cls, sep): features_of(method(include_cls=cls, include_sep=sep), batch)["word_mask"].sum(1).tolist()
        for cls in (True, False)
        for sep in (True, False)
    }
    assert counts == {(True, True): [6, 2], (True, False): [5, 1], (False, True): [5, 1], (False, False): [4, 0]}


def test_an_empty_report_without_special_items_still_trains() -> None:
    model = method(include_cls=False).train()
    losses = model.losses(model.encode(pair_batch([*reports(3), ""])), SingleProcess())
    gradients = torch.autograd.grad(losses.total, list(model.parameters()), allow_unused=True)
    assert losses.total.isfinite()
    assert all(gradient is None or gradient.isfinite().all() for gradient in gradients)


def test_the_reference_loses_the_last_words_of_a_report_with_unknown_ones() -> None:
    batch = pair_batch(["heart ж lungs clear.", "The lungs are clear."])
    clean, reference = (features_of(method(preset=preset), batch)["word_mask"] for preset in ("clean", "reference"))
    assert clean.sum(1).tolist() == [5, 5]
    assert reference.sum(1).tolist() == [4, 5]
    assert reference[0, :4].all()


def test_presets_are_defaults_and_given_keys_win() -> None:
    reference = GlobalLocalConfig(preset="reference")
    assert (reference.positives, reference.unknown_words_shorten) == ("identity", True)
    assert (reference.prompt_length, GlobalLocalConfig().prompt_length) == ("characters", "words")
    assert GlobalLocalConfig.model_validate({"preset": "reference", "positives": "same_text"}).positives == "same_text"
    assert GlobalLocalConfig.model_validate(reference.model_dump()) == reference


def test_wrong_configurations_are_explained() -> None:
    with pytest.raises(ConfigError, match="nothing would be learned"):
        build_settings(GlobalLocalConfig, {"global_weight": 0, "local_weight": 0})
    with pytest.raises(ConfigError, match="'preset'"):
        build_settings(GlobalLocalConfig, {"preset": "published"})
    with pytest.raises(ConfigError, match="gamma1"):
        build_settings(GlobalLocalConfig, {"gama1": 4})
    with pytest.raises(ConfigError, match="text_projection"):
        build_method(IMAGE, TEXT, GlobalLocalConfig(embed_dim=99), small_tokenizer())


def test_text_projections_allow_another_width() -> None:
    features = features_of(method(embed_dim=12, text_projection=True), pair_batch(reports(2)))
    assert {features[name].shape[-1] for name in ("image", "regions", "report", "words")} == {12}


def test_normalised_attention_ignores_the_length_of_words_and_regions() -> None:
    model = method(normalise=True)
    features = features_of(model, pair_batch(reports(4)))
    plain = values(model.losses(features, SingleProcess()))
    scaled = {**features, "words": 3 * features["words"], "regions": 2 * features["regions"]}
    assert values(model.losses(scaled, SingleProcess())) == pytest.approx(plain, abs=1e-5)


def test_positives_of_one_text_are_not_each_others_negatives() -> None:
    batch = pair_batch(["The lungs are clear."] * 3)
    masked = method(other_positives="masked")
    losses = masked.losses(features_of(masked, batch), SingleProcess())
    assert values(losses) == pytest.approx(dict.fromkeys(TERMS, 0.0), abs=1e-5)


def test_row_11_the_reference_has_equal_texts_as_negatives() -> None:
    model = method(preset="reference")
    features = features_of(model, pair_batch([*reports(2), reports(1)[0], reports(1)[0]]))
    image, report = (torch.nn.functional.normalize(features[name]) for name in ("image", "report"))
    own = torch.eye(4, dtype=torch.bool)
    wanted = info_nce_by_loop(10 * image @ report.T, own, "masked").item()  # no pair but the own one to be left out
    got = values(model.losses(features, SingleProcess()))["global_image_to_text"]
    assert got == pytest.approx(wanted, abs=1e-4)


def test_same_label_without_labels_is_refused() -> None:
    model = method(positives="same_label")
    features = features_of(model, pair_batch(reports(2)))
    assert model.losses(features, SingleProcess()).total.isfinite()
    with pytest.raises(ConfigError, match="needs labels"):
        model.losses({**features, "label_codes": features["label_codes"][:, :0]}, SingleProcess())


def test_similarity_scores_words_by_purpose() -> None:
    model, batch = method(), pair_batch(reports(4))
    with torch.no_grad():
        images, texts = model.embed_images(batch.pixels), model.embed_texts(batch.tokens)
        retrieval = model.similarity(images, texts, purpose="retrieval")
        zero_shot = model.similarity(images, texts, purpose="zero_shot")
    training = model.losses(features_of(model, batch), SingleProcess())
    assert retrieval.local_scores is not None
    assert zero_shot.local_scores is not None
    positives = torch.eye(4, dtype=torch.bool)
    row_loss = info_nce_by_loop(10 * retrieval.local_scores, positives, "target")
    assert row_loss.item() == pytest.approx(values(training)["local_image_to_text"], abs=1e-4)
    words = texts.word_mask & ~texts.special_mask
    wanted = local_similarity_by_loop(images.regions, texts.words, words, gamma1=4, gamma2=5, aggregation="max")
    torch.testing.assert_close(zero_shot.local_scores, wanted, atol=1e-4, rtol=1e-4)
    assert zero_shot.local_scores.abs().max() <= 5


@pytest.mark.parametrize("aggregation", ["sum", "mean", "max"])
def test_row_08_zero_shot_may_score_words_as_training_does(aggregation: Aggregation) -> None:
    batch = pair_batch(reports(4))
    model = method(aggregation=aggregation, zero_shot_aggregation=aggregation, zero_shot_include_cls=True)
    with torch.no_grad():
        images, texts = model.embed_images(batch.pixels), model.embed_texts(batch.tokens)
        trained = model.similarity(images, texts, purpose="retrieval").local_scores
        zero_shot = model.similarity(images, texts, purpose="zero_shot").local_scores
    torch.testing.assert_close(zero_shot, trained)


PROMPTS = ("Edema.", "Small right pleural effusion.", "No acute cardiopulmonary abnormality.", "heart 12,34")
SLOTS = 24


def prompt_scores(model: GlobalLocal, prompts: Sequence[str], *, length: int | None = None) -> Tensor:
    """Local scores of three films for the prompts; ``length`` pads their tokens."""
    tokenizer = small_tokenizer(SLOTS)
    with torch.no_grad():
        texts = model.embed_texts(tokenizer.collate(tokenizer.encode(prompts), length))
        texts = replace(texts, characters=torch.tensor([len(prompt) for prompt in prompts]))
        films = model.embed_images(pair_batch(reports(3)).pixels)
        scores = model.similarity(films, texts, purpose="zero_shot").local_scores
    assert scores is not None
    return scores


def published_slots(model: GlobalLocal, prompt: str) -> Tensor:
    """Piece by piece, as published: [CLS], sums of the pieces of a word, [SEP], then zero vectors: ``[24, D]``."""
    tokenizer = small_tokenizer(SLOTS)
    (report,) = tokenizer.encode([prompt])
    with torch.no_grad():
        vectors = model.text_encoder(tokenizer.collate([report])).tokens[0]
    rows: list[Tensor] = []
    for k, vector in enumerate(vectors):
        if report.word_ids[k] >= 0 and report.word_ids[k] == report.word_ids[k - 1]:
            rows[-1] = rows[-1] + vector
        else:
            rows.append(vector)
    return torch.stack(rows + [torch.zeros_like(rows[0])] * (SLOTS - len(rows)))


def published_local_score(regions: Tensor, slots: Tensor, prompt: str) -> float:
    words = slots[1 : len(prompt) + 1]
    contexts = attention_by_loop(regions, words, 4.0) @ regions
    exponentials = []
    for word, context in zip(words, contexts, strict=True):
        cosine = word @ context / max(float(word.norm() * context.norm()), 1e-8)
        exponentials.append((5.0 * cosine).exp())
    return float(torch.stack(exponentials).max().log())


def test_row_01_the_reference_scores_as_many_slots_as_a_prompt_has_characters() -> None:
    model = method(preset="reference")
    with torch.no_grad():
        films = model.embed_images(pair_batch(reports(3)).pixels).regions
    wanted = [[published_local_score(film, published_slots(model, p), p) for p in PROMPTS] for film in films]
    got = prompt_scores(model, PROMPTS)
    torch.testing.assert_close(got, torch.tensor(wanted), atol=1e-4, rtol=1e-4)
    clean = prompt_scores(method(preset="reference", prompt_length="words"), PROMPTS)
    assert (got - clean).abs().min() > 1e-3


def test_row_01_padding_puts_a_floor_of_zero_under_a_word_that_points_away() -> None:
    model = method(prompt_length="characters")
    regions = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    items = torch.tensor([[[9.0, 9.0], [-1.0, 0.0], [-1.0, 0.0], [7.0, 7.0]]])  # [CLS], one word, [SEP], padding
    real, special = torch.tensor([[[True, True, True, False]], [[True, False, True, False]]])
    found = []
    for characters in (1, 2, 3):
        texts = TextEmbedding(items[:, 1], items, real, special, characters=torch.tensor([characters]))
        local = model.similarity(
            ImageEmbedding(regions[:, 0], regions, (1, 2)), texts, purpose="zero_shot"
        ).local_scores
        assert local is not None
        found.append(local.item())
    assert found == pytest.approx([-5.0, -5.0, 0.0], abs=1e-6)


def test_row_01_neither_other_prompts_nor_padding_change_a_score_by_characters() -> None:
    model = method(preset="reference")
    together = prompt_scores(model, PROMPTS)
    torch.testing.assert_close(prompt_scores(model, PROMPTS, length=SLOTS), together, atol=1e-5, rtol=1e-5)
    alone = torch.cat([prompt_scores(model, [prompt]) for prompt in PROMPTS], dim=1)
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-5)


def test_row_01_a_prompt_of_unknown_length_is_refused() -> None:
    model, batch = method(preset="reference"), pair_batch(reports(2))
    images, texts = model.embed_images(batch.pixels), model.embed_texts(batch.tokens)
    with pytest.raises(ValueError, match="characters"):
        model.similarity(images, texts, purpose="zero_shot")
    assert model.similarity(images, texts, purpose="retrieval").local_scores is not None


def test_check_11_a_score_does_not_depend_on_other_films_or_prompts() -> None:
    model, batch = method(), pair_batch(reports(5))
    with torch.no_grad():
        texts = model.embed_texts(batch.tokens)
        together = model.similarity(model.embed_images(batch.pixels), texts, purpose="zero_shot")
        alone = model.similarity(model.embed_images(batch.pixels[2:3]), texts, purpose="zero_shot")
    assert together.local_scores is not None
    assert alone.local_scores is not None
    torch.testing.assert_close(alone.local_scores[0], together.local_scores[2], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(alone.global_scores[0], together.global_scores[2], atol=1e-5, rtol=1e-5)


def test_attention_maps_cover_words_and_sum_to_one() -> None:
    model, batch = method(), pair_batch(reports(3))
    with torch.no_grad():
        texts = model.embed_texts(batch.tokens)
        maps = model.attention(model.embed_images(batch.pixels), texts)
    words = texts.word_mask & ~texts.special_mask
    torch.testing.assert_close(maps.sum(2), words.float())

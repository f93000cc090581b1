"""JoImTeRNet's matching: the numeric checks of its spec that need the method (others are in tests/alignment)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from crossray.alignment.contrastive import cosine_matrix, identity_positives, symmetric_info_nce
from crossray.alignment.local_similarity import Aggregation, local_similarity, region_scores, word_region_attention
from crossray.data.batch import PairBatch
from crossray.encoders.image import ImageEncoderConfig, parameter_count
from crossray.encoders.text import TextEncoderConfig
from crossray.encoders.tokenizer import ReportTokenizer, build_tokenizer
from crossray.errors import ConfigError
from crossray.methods.base import Method, PairFeatures, SingleProcess
from crossray.methods.build import build_method
from crossray.methods.joimternet.config import JoImTeRNetConfig
from crossray.methods.joimternet.method import MASKED_LANGUAGE, JoImTeRNet
from crossray.settings import build_settings

from ..alignment.oracles import info_nce_by_loop, local_similarity_by_loop, triplet_by_loop
from ..small_model import IMAGE, TEXT, pair_batch, reports, rows_of, small_method, values
from .test_methods import films_with_a_block_each

E1, E2 = [1.0, 0.0], [0.0, 1.0]
CROSS_ENTROPY = ("global_image_to_text", "global_text_to_image", "word_image_to_text", "word_text_to_image")


def method(**options: object) -> JoImTeRNet:
    built = small_method(JoImTeRNetConfig.model_validate({"embed_dim": 16, **options}))
    assert isinstance(built, JoImTeRNet)
    return built.eval()


def features_of(model: Method, batch: PairBatch) -> PairFeatures:
    with torch.no_grad():
        return model.encode(batch)


def toy() -> PairFeatures:
    """The wholes of check 3 and the regions and words of check 5, in double precision."""
    return {
        "image": torch.tensor([E1, [0.6, 0.8]], dtype=torch.float64),
        "report": torch.tensor([[0.8, 0.6], E2], dtype=torch.float64),
        "regions": torch.tensor([[E1, E2], [E1, E1]], dtype=torch.float64),
        "word": torch.tensor([[[9.0, 9.0], E1, E2], [[9.0, 9.0], E1, [0.0, 0.0]]], dtype=torch.float64),
        "word_mask": torch.tensor([[False, True, True], [False, True, False]]),
        "study": torch.tensor([0, 1]),
        "draw": torch.tensor([5, 8]),
        "text_group": torch.tensor([0, 1]),
        "label_codes": torch.zeros(2, 0, dtype=torch.int64),
    }


def toy_terms(**options: object) -> dict[str, float]:
    return values(method(**options).losses(toy(), SingleProcess()))


def global_losses(images: list[list[float]], texts: list[list[float]]) -> tuple[float, float]:
    scores = cosine_matrix(torch.tensor(images, dtype=torch.float64), torch.tensor(texts, dtype=torch.float64))
    both = symmetric_info_nce(scores, identity_positives(len(images)), scale=10)
    return both.image_to_text.item(), both.text_to_image.item()


def test_check_01_orthonormal_pairs() -> None:
    assert global_losses([E1, E2], [E1, E2]) == pytest.approx((4.5399e-5, 4.5399e-5), rel=1e-4)


def test_check_02_the_two_directions() -> None:
    assert global_losses([E1, E2], [E1, E1]) == pytest.approx((0.693147, 5.000045), abs=1e-6)


def test_check_03_the_global_terms_of_two_oblique_pairs() -> None:
    terms = toy_terms()
    for direction in ("image_to_text", "text_to_image"):
        assert terms[f"global_{direction}"] == pytest.approx(0.892118, abs=1e-6)
        assert terms[f"global_triplet_{direction}"] == pytest.approx(0.33, abs=1e-6)


def test_check_04_attention_and_similarity_of_two_regions_and_two_words() -> None:
    vectors, mask = torch.tensor([[E1, E2]], dtype=torch.float64), torch.ones(1, 2, dtype=torch.bool)
    attention = word_region_attention(vectors, vectors, mask, gamma1=4)
    wanted = torch.tensor([[[0.863947, 0.136053], [0.136053, 0.863947]]], dtype=torch.float64)
    torch.testing.assert_close(attention, wanted, atol=1e-6, rtol=0)
    scores: tuple[tuple[Aggregation, float], ...] = (("sum", 5.632279), ("mean", 4.939131))
    for aggregation, score in scores:
        got = local_similarity(vectors, vectors, mask, gamma1=4, gamma2=5, aggregation=aggregation)
        assert got.item() == pytest.approx(score, abs=1e-6)


def test_check_05_local_cross_entropy_and_what_the_length_of_a_report_does_to_it() -> None:
    by_sum, by_mean = toy_terms(), toy_terms(aggregation="mean")
    assert by_sum["word_image_to_text"] == pytest.approx(0.363644, abs=1e-6)
    assert by_mean["word_image_to_text"] == pytest.approx(0.000522, abs=1e-6)
    assert by_sum["word_text_to_image"] == pytest.approx(0.000959, abs=1e-6)
    assert by_mean["word_text_to_image"] == pytest.approx(0.000959, abs=1e-6)


def test_check_06_local_triplet_with_the_own_and_the_legacy_length() -> None:
    own, legacy = toy_terms(), toy_terms(legacy_triplet_length=True)
    assert own["word_triplet_image_to_text"] == pytest.approx(0.253358, abs=1e-6)
    assert legacy["word_triplet_image_to_text"] == pytest.approx(0.25, abs=1e-4)
    assert own["word_triplet_text_to_image"] == legacy["word_triplet_text_to_image"] == 0
    padded = toy()
    padded["word"][1, 2] = torch.tensor(E2)
    terms = values(method(legacy_triplet_length=True).losses(padded, SingleProcess()))
    assert terms["word_triplet_image_to_text"] == pytest.approx(0.5, abs=1e-6)


def test_check_07_the_total_of_all_terms() -> None:
    losses = method().losses(toy(), SingleProcess())
    assert losses.total.item() == pytest.approx(3.975554, abs=2e-6)
    assert {losses.weights[name] for name in CROSS_ENTROPY} == {1.0}
    assert {weight for name, weight in losses.weights.items() if "triplet" in name} == {2.0}


def test_check_09_permuting_pairs_leaves_the_cross_entropy() -> None:
    model = method()
    features = features_of(model, pair_batch([*reports(5), reports(1)[0]]))
    plain = values(model.losses(features, SingleProcess()))
    mixed = values(model.losses(rows_of(features, torch.tensor([4, 0, 5, 2, 1, 3])), SingleProcess()))
    for name in CROSS_ENTROPY:
        assert mixed[name] == pytest.approx(plain[name], abs=1e-5)


@pytest.mark.parametrize("phrases", [False, True])
def test_check_09_longer_padding_leaves_every_term(phrases: bool) -> None:
    for preset in ("clean", "reference"):
        model, texts = method(preset=preset, phrases=phrases), reports(6)
        short = values(model.losses(features_of(model, pair_batch(texts)), SingleProcess()))
        long = values(model.losses(features_of(model, pair_batch(texts, length=24)), SingleProcess()))
        assert long == pytest.approx(short, abs=1e-4)


def test_check_09_whatever_stands_in_padding_leaves_every_clean_term() -> None:
    model = method()
    features = features_of(model, pair_batch(reports(5)))
    filled = features["word"].masked_fill(~features["word_mask"].unsqueeze(2), 7.0)
    plain = values(model.losses(features, SingleProcess()))
    assert values(model.losses({**features, "word": filled}, SingleProcess())) == pytest.approx(plain, abs=1e-6)


def test_check_09_scaling_leaves_the_wholes_and_changes_the_attention() -> None:
    model = method()
    features = features_of(model, pair_batch(reports(5)))
    plain = values(model.losses(features, SingleProcess()))
    for name in ("image", "report", "regions", "word"):
        scaled = values(model.losses({**features, name: 3 * features[name]}, SingleProcess()))
        changed = {term for term in plain if scaled[term] != pytest.approx(plain[term], abs=1e-5)}
        assert not {term for term in changed if term.startswith("global")}
        assert bool(changed) == (name in ("regions", "word"))


def test_check_10_films_of_one_study_are_neither_positive_nor_negative() -> None:
    model = method(positives="identity")
    features = features_of(model, pair_batch(reports(4)))
    same = {**features, "study": torch.tensor([0, 1, 0, 2])}
    scores = cosine_matrix(features["image"], features["report"]) * 10
    rows = [[0, 1, 3], [0, 1, 2, 3], [1, 2, 3], [0, 1, 2, 3]]
    wanted = torch.stack([scores[i, row].logsumexp(0) - scores[i, i] for i, row in enumerate(rows)]).mean()
    got = values(model.losses(same, SingleProcess()))
    assert got["global_image_to_text"] == pytest.approx(wanted.item(), abs=1e-5)
    alone = values(model.losses({**features, "study": torch.zeros(4, dtype=torch.int64)}, SingleProcess()))
    assert alone == pytest.approx(dict.fromkeys(alone, 0.0), abs=1e-6)


def gradient_names(model: Method, batch: PairBatch) -> set[str]:
    model.train()
    losses = model.losses(model.encode(batch), SingleProcess())
    names, parameters = zip(*model.named_parameters(), strict=True)
    gradients: tuple[Tensor | None, ...] = torch.autograd.grad(losses.total, parameters, allow_unused=True)
    return {n for n, g in zip(names, gradients, strict=True) if g is not None and bool(g.abs().sum() > 0)}


def test_check_11_matching_reaches_both_encoders_and_not_the_language_head() -> None:
    names = gradient_names(method(), pair_batch(reports(4)))
    for wanted in (
        "image_encoder.trunk.conv1.0.weight",
        "region_projection.weight",
        "global_projection.weight",
        "text_encoder.bert.embeddings.word_embeddings.weight",
        "report_projection.weight",
        "word_projection.weight",
    ):
        assert wanted in names
    assert not {name for name in names if name.startswith("language")}


def test_check_11_language_modelling_reaches_the_text_encoder_and_its_head_only() -> None:
    batch = replace(pair_batch(reports(8)), task=MASKED_LANGUAGE, pixels=torch.zeros(8, 1, 0, 0))
    names = gradient_names(method(masked_language_probability=0.5), batch)
    assert {name.split(".")[0] for name in names} == {"language", "text_encoder"}
    assert "language.head.3.weight" in names


def test_check_12_the_text_encoder_has_as_many_weights_as_published() -> None:
    words = [f"word{k}" for k in range(8406)]
    config = TextEncoderConfig(
        tokenizer="word_level",
        vocabulary_size=8411,
        max_tokens=160,
        layers=3,
        width=512,
        heads=8,
        max_positions=512,
        report_pooling="cls",
    )
    tokenizer = build_tokenizer(config, [" ".join(words), " ".join(words)])
    assert tokenizer.vocabulary_size == 8411
    model = build_method(IMAGE, config, JoImTeRNetConfig(), tokenizer)
    assert isinstance(model, JoImTeRNet)
    assert model.language is not None
    counts = [
        parameter_count(part)
        for part in (model.text_encoder, model.language, model.report_projection, model.word_projection)
    ]
    assert counts == [14_027_776, 4_578_010, 262_656, 262_656]
    assert sum(counts) == 19_131_098


CNN = ImageEncoderConfig(name="joimternet_reduced", pretrained="none", trunk_options={"width": 1})
VIT = ImageEncoderConfig(name="test_vit", pretrained="none", local_stage=-1, trunk_options={"img_size": 32})


@pytest.mark.parametrize("image", [CNN, IMAGE, VIT], ids=lambda image: image.name)
def test_check_13_eight_pairs_are_learned_by_heart(image: ImageEncoderConfig) -> None:
    text = TEXT.model_copy(update={"report_pooling": "mean", "width": 32, "dropout": 0.0})
    model = small_method(JoImTeRNetConfig(embed_dim=32), image=image, text=text).train()
    batch = pair_batch(reports(8), size=32)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3 if image is VIT else 5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        losses = model.losses(model.encode(batch), SingleProcess())
        torch.autograd.backward(losses.total)
        optimizer.step()
    assert sum(values(losses)[name] for name in CROSS_ENTROPY) < 0.05
    model.eval()
    with torch.no_grad():
        images, texts = model.embed_images(batch.pixels), model.embed_texts(batch.tokens)
        scores = model.similarity(images, texts, purpose="retrieval").global_scores
    assert scores.argmax(1).tolist() == list(range(8)), "R@1 = 1 from films to reports"
    assert scores.argmax(0).tolist() == list(range(8)), "R@1 = 1 from reports to films"


def test_check_13_random_encoders_retrieve_by_chance() -> None:
    model, count, hits = method(), 8, 0
    for seed in range(30):
        batch = pair_batch(reports(count), size=32, seed=seed)
        order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            images, texts = model.embed_images(batch.pixels[order]), model.embed_texts(batch.tokens)
            best = model.similarity(images, texts, purpose="retrieval").global_scores.argmax(1)
        hits += int((best == order).sum())
    assert hits / (30 * count) == pytest.approx(1 / count, abs=0.07)


@pytest.mark.parametrize("level", ["global", "word", "bigram", "trigram"])
@pytest.mark.parametrize("direction", ["image_to_text", "text_to_image"])
@pytest.mark.parametrize("criterion", ["", "triplet_"])
def test_each_term_falls_when_trained_alone(level: str, criterion: str, direction: str) -> None:
    model = method(phrases=True).train()
    batch = replace(pair_batch(reports(4)), pixels=films_with_a_block_each(4))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    history = []
    for _ in range(12):
        optimizer.zero_grad()
        term = model.losses(model.encode(batch), SingleProcess()).terms[f"{level}_{criterion}{direction}"]
        torch.autograd.backward(term)
        optimizer.step()
        history.append(term.item())
    assert sum(history[-3:]) < 0.9 * sum(history[:3])


def test_the_terms_agree_with_the_spec_written_as_loops() -> None:
    model = method()
    features = features_of(model, pair_batch([*reports(5), reports(1)[0], ""]))
    local = local_similarity_by_loop(
        features["regions"], features["word"], features["word_mask"], gamma1=4, gamma2=5, aggregation="sum"
    )
    groups = features["text_group"].tolist()
    positives = torch.tensor([[one == other for other in groups] for one in groups])
    negatives: list[int | None] = []
    for i, draw in enumerate(features["draw"].tolist()):
        others = [j for j in range(7) if groups[j] != groups[i]]
        negatives.append(others[draw % len(others)])
    got = values(model.losses(features, SingleProcess()))
    for level, scores in (("global", cosine_matrix(features["image"], features["report"])), ("word", local)):
        triplets = triplet_by_loop(scores, negatives, 0.5)
        for k, direction in enumerate(("image_to_text", "text_to_image")):
            wanted = info_nce_by_loop(10 * (scores.T if k else scores), positives, "target")
            assert got[f"{level}_{direction}"] == pytest.approx(wanted.item(), abs=1e-4)
            assert got[f"{level}_triplet_{direction}"] == pytest.approx(triplets[k].item(), abs=1e-4)


def test_a_weight_of_zero_leaves_its_terms_out() -> None:
    features = features_of(method(phrases=True), pair_batch(reports(3)))
    names = {
        option: set(method(phrases=True, **{option: 0}).losses(features, SingleProcess()).terms)
        for option in ("global_weight", "local_weight", "cross_entropy_weight", "triplet_weight")
    }
    every = set(method(phrases=True).losses(features, SingleProcess()).terms)
    assert len(every) == 16
    assert every - names["global_weight"] == {name for name in every if name.startswith("global")}
    assert names["local_weight"] == {name for name in every if name.startswith("global")}
    assert every - names["triplet_weight"] == names["cross_entropy_weight"] == {n for n in every if "triplet" in n}


def test_sep_counts_as_a_word_unless_it_is_left_out_and_cls_never() -> None:
    batch = pair_batch(["The heart is enlarged.", ""])
    counts = {sep: features_of(method(include_sep=sep), batch)["word_mask"] for sep in (True, False)}
    assert {sep: mask.sum(1).tolist() for sep, mask in counts.items()} == {True: [5, 1], False: [4, 0]}
    assert not any(mask[:, 0].any() for mask in counts.values())


def test_phrases_are_runs_of_counted_items() -> None:
    features = features_of(method(phrases=True), pair_batch(["The heart is enlarged.", ""]))
    assert features["bigram_mask"].nonzero().tolist() == [[0, 1], [0, 2], [0, 3], [0, 4]]
    assert features["trigram_mask"].nonzero().tolist() == [[0, 1], [0, 2], [0, 3]]


def test_a_phrase_is_made_of_its_own_items_only() -> None:
    model = method(phrases=True)
    assert model.phrases is not None
    items = torch.randn(1, 6, 16)
    other = items.clone()
    other[0, 4] += 1
    with torch.no_grad():
        changed = {
            name: (a != b).any(dim=2)[0].tolist()
            for (name, a), b in zip(model.phrases(items).items(), model.phrases(other).values(), strict=True)
        }
    assert changed == {
        "bigram": [False, False, False, True, True, False],
        "trigram": [False, False, True, True, True, False],
    }


def test_a_triplets_negative_is_drawn_anew_in_training_and_fixed_outside() -> None:
    model, batch = method(), pair_batch(reports(6))
    fixed = [features_of(model, batch)["draw"] for _ in range(2)]
    assert torch.equal(*fixed)
    assert torch.equal(features_of(model, batch.rows(slice(2, 4)))["draw"], fixed[0][2:4])
    model.train()
    torch.manual_seed(0)
    first, second = (features_of(model, batch)["draw"] for _ in range(2))
    torch.manual_seed(0)
    assert not torch.equal(first, second)
    assert torch.equal(first, features_of(model, batch)["draw"])


def test_reports_of_one_text_are_no_negatives_unless_the_reference_says_so() -> None:
    batch = pair_batch(["The lungs are clear."] * 3)
    clean, reference = (method(preset=preset) for preset in ("clean", "reference"))
    features = features_of(clean, batch)
    terms = values(clean.losses(features, SingleProcess()))
    assert {value for name, value in terms.items() if "triplet" in name} == {0.0}
    terms = values(reference.losses(features, SingleProcess()))
    assert terms["global_triplet_image_to_text"] == pytest.approx(0.5, abs=1e-5)


def test_the_legacy_length_reads_the_states_of_padding_tokens() -> None:
    torch.manual_seed(0)
    tokenizer = ReportTokenizer.learn_words(reports(8) * 2, 240, max_tokens=24)
    model = build_method(IMAGE, TEXT, JoImTeRNetConfig(preset="reference", embed_dim=16), tokenizer).eval()
    assert isinstance(model, JoImTeRNet)
    texts = ["The heart is enlarged.", "The lungs are clear. The heart is enlarged. No pleural effusion."]
    tokens = tokenizer.collate(tokenizer.encode(texts))
    batch = replace(pair_batch(texts), tokens=tokens)
    features = features_of(model, batch)
    with torch.no_grad():
        states = model.word_projection(model.text_encoder(tokens).tokens)
    torch.testing.assert_close(features["word"], states)
    negatives = {"study": torch.tensor([0, 1]), "draw": torch.tensor([0, 0])}
    got = values(model.losses({**features, **negatives}, SingleProcess()))["word_triplet_image_to_text"]
    hinges = []
    own = local_similarity_by_loop(
        features["regions"], features["word"], features["word_mask"], gamma1=4, gamma2=5, aggregation="sum"
    )
    for i, n in ((0, 1), (1, 0)):
        length = int(features["word_mask"][i].sum())
        cut = states[n, 1 : 1 + length]
        score = local_similarity_by_loop(
            features["regions"][i : i + 1],
            cut.unsqueeze(0),
            torch.ones(1, length, dtype=torch.bool),
            gamma1=4,
            gamma2=5,
            aggregation="sum",
        )
        hinges.append((score[0, 0] - own[i, i] + 0.5).clamp_min(0).item())
    assert got == pytest.approx(sum(hinges) / 2, abs=1e-4)


@pytest.mark.parametrize("preset", ["clean", "reference"])
def test_the_reference_trains_reports_by_cls_and_compares_them_by_their_mean_token(preset: str) -> None:
    config = JoImTeRNetConfig.model_validate({"preset": preset, "embed_dim": 16})
    model = small_method(config, text=TEXT.model_copy(update={"report_pooling": "cls"})).eval()
    assert isinstance(model, JoImTeRNet)
    batch = pair_batch([*reports(3), ""])
    with torch.no_grad():
        tokens = model.text_encoder(batch.tokens).tokens
        trained, compared = model.encode(batch)["report"], model.embed_texts(batch.tokens).report
        for i, real in enumerate(batch.tokens.attention_mask.sum(1).tolist()):
            by_cls = model.report_projection(tokens[i, 0])
            by_mean = model.report_projection(torch.stack([tokens[i, k] for k in range(real)]).sum(0) / real)
            torch.testing.assert_close(trained[i], by_cls)
            torch.testing.assert_close(compared[i], by_mean if preset == "reference" else by_cls)


def test_presets_are_defaults_and_given_keys_win() -> None:
    reference = JoImTeRNetConfig(preset="reference")
    assert (reference.positives, reference.legacy_triplet_length) == ("identity", True)
    assert (reference.inference_pooling, JoImTeRNetConfig().inference_pooling) == ("mean", "trained")
    assert JoImTeRNetConfig.model_validate({"preset": "reference", "positives": "same_text"}).positives == "same_text"
    assert JoImTeRNetConfig.model_validate(reference.model_dump()) == reference


def test_wrong_configurations_are_explained() -> None:
    for pair in ({"cross_entropy_weight": 0, "triplet_weight": 0}, {"global_weight": 0, "local_weight": 0}):
        with pytest.raises(ConfigError, match="nothing would be learned"):
            build_settings(JoImTeRNetConfig, pair)


def test_attention_maps_cover_words_and_sum_to_one() -> None:
    model, batch = method(), pair_batch(reports(3))
    with torch.no_grad():
        images, texts = model.embed_images(batch.pixels), model.embed_texts(batch.tokens)
        maps, phrase = model.attention(images, texts), model.phrase_map(images, texts)
    words = texts.word_mask & ~texts.special_mask
    torch.testing.assert_close(maps.sum(2), words.float())
    torch.testing.assert_close(phrase, region_scores(images.regions, texts.words, words, gamma2=5.0))


def test_a_score_does_not_depend_on_other_films_or_texts() -> None:
    model, batch = method(), pair_batch(reports(5))
    with torch.no_grad():
        images, texts = model.embed_images(batch.pixels), model.embed_texts(batch.tokens)
        for purpose in ("retrieval", "zero_shot"):
            together = model.similarity(images, texts, purpose=purpose)
            alone = model.similarity(model.embed_images(batch.pixels[2:3]), texts, purpose=purpose)
            assert together.local_scores is not None
            assert alone.local_scores is not None
            torch.testing.assert_close(alone.local_scores[0], together.local_scores[2], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(alone.global_scores[0], together.global_scores[2], atol=1e-5, rtol=1e-5)

"""LoVT as a method: its terms, its switches, its embeddings."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from crossray.encoders.image import ImageEncoder, ImageEncoderConfig
from crossray.encoders.text import TextEncoder, TextEncoderConfig
from crossray.errors import ConfigError
from crossray.methods.base import GroundsPhrases, GroundsWords, LossTerms, PairFeatures, SingleProcess
from crossray.methods.lovt.config import LovtConfig
from crossray.methods.lovt.heads import ProjectionHead
from crossray.methods.lovt.method import Lovt
from crossray.settings import build_settings
from crossray.training.gradient_cache import cached_backward

from ..alignment.lovt_oracles import cosine
from ..small_model import IMAGE, TEXT, pair_batch, reports, rows_of, small_method, values
from .test_methods import films_with_a_block_each

TERMS = ("global_image_to_text", "global_text_to_image", "local_image", "local_report")
SMALL = {"hidden_dim": 32, "embed_dim": 16}
MAX = TextEncoderConfig.model_validate({**TEXT.model_dump(), "sentence_pooling": "max", "dropout": 0.0})
LOCAL_ONLY = {"global_weight": 0, "weighting": "uniform"}
GLOBAL_ONLY = {"local_image_weight": 0, "local_report_weight": 0}
POOLED_BY_ENCODERS = {**GLOBAL_ONLY, "image_pool": "encoder", "report_pool": "encoder"}


def method(*, text: TextEncoderConfig = MAX, image: ImageEncoderConfig = IMAGE, **options: object) -> Lovt:
    built = small_method(LovtConfig.model_validate({**SMALL, **options}), image=image, text=text)
    assert isinstance(built, Lovt)
    return built


def losses_of(model: Lovt, features: PairFeatures) -> LossTerms:
    return model.losses(features, SingleProcess())


def random_features(
    model: Lovt, lengths: tuple[int, ...], *, slots: int = 5, grid: tuple[int, int] = (2, 2)
) -> PairFeatures:
    """Encoded pairs of noise; slots of padding hold noise too."""
    generator = torch.Generator().manual_seed(1)
    films, texts = model.image_encoder.pooled_channels, model.text_encoder.channels
    count = len(lengths)
    return {
        "regions": torch.randn(count, *grid, films, generator=generator),
        "sentences": torch.randn(count, slots, texts, generator=generator),
        "sentence_mask": torch.arange(slots) < torch.tensor(lengths).unsqueeze(1),
        "sentence_slots": torch.tensor(lengths).clamp_min(1),
        "text_group": torch.arange(count),
        "label_codes": torch.zeros(count, 1, dtype=torch.int64),
    }


def gradients_by_name(model: Lovt, total: Tensor) -> dict[str, Tensor | None]:
    names, parameters = zip(*model.named_parameters(), strict=True)
    wanted = [parameter for parameter in parameters if parameter.requires_grad]
    found = iter(torch.autograd.grad(total, wanted, allow_unused=True))
    return {
        name: next(found) if parameter.requires_grad else None
        for name, parameter in zip(names, parameters, strict=True)
    }


def parameters_of(*modules: torch.nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def test_parameter_counts_of_section_2_5() -> None:
    with torch.device("meta"):
        image = ImageEncoder(ImageEncoderConfig(name="resnet50", pretrained="none", in_channels=3))
        architecture = {"layers": 12, "width": 768, "heads": 12, "max_positions": 512, "max_tokens": 512}
        frozen = {"freeze_embeddings": True, "frozen_layers": 6}
        text = TextEncoder(TextEncoderConfig.model_validate({**architecture, **frozen}), 28_996)
        model = Lovt(image, text, LovtConfig())
    assert model.film_head.pool is not None
    assert model.report_head.pool is not None
    assert parameters_of(model.image_encoder) == 23_508_032
    assert parameters_of(model.film_head.pool) == 16_785_408
    assert parameters_of(model.report_head.pool) == 2_362_368
    assert parameters_of(model.film_head.head, model.region_head) == 2 * 5_249_536
    assert parameters_of(model.report_head.head, model.sentence_head) == 2 * 2_628_096
    assert parameters_of(model.alignment) == 788_992
    assert parameters_of(model.text_encoder) == 108_310_272 - 590_592
    assert sum(p.numel() for p in model.text_encoder.parameters() if p.requires_grad) == 42_527_232


def test_heads_begin_kaiming_normal_each_layer_for_what_follows_it() -> None:
    torch.manual_seed(0)
    head = ProjectionHead(48, 96, 64, batch_norm=True)
    assert head.first.weight.std().item() == pytest.approx((2 / 96) ** 0.5, rel=0.03)  # ReLU follows
    assert head.second.weight.std().item() == pytest.approx((1 / 64) ** 0.5, rel=0.03)  # nothing does
    assert head.first.bias.eq(0).all()
    assert head.second.bias.eq(0).all()


def test_the_weights_of_the_terms_are_the_published_products() -> None:
    losses = losses_of(method(), random_features(method(), (2, 1, 3)))
    assert dict(losses.weights) == dict(zip(TERMS, (0.75, 0.25, 0.75, 0.75), strict=True))
    assert tuple(losses.terms) == TERMS


def test_check_l08_and_l09_global_term_and_total_at_collapse() -> None:
    model = method(batch_norm=False, positives="identity")
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    torch.nn.init.ones_(model.alignment.shift)
    for head in (model.film_head.head, model.report_head.head, model.region_head, model.sentence_head):
        torch.nn.init.ones_(head.second.bias)  # every vector is the same, whatever comes in
    features = random_features(model, (6,) * 32, slots=6, grid=(7, 7))
    losses = losses_of(model, features)
    assert losses.total.item() == pytest.approx(7.728421, abs=1e-4)
    assert losses.terms["global_image_to_text"].item() == pytest.approx(math.log(32), abs=1e-5)


def test_check_l04_the_report_term_is_the_mean_of_the_reports() -> None:
    model = method(batch_norm=False)
    torch.nn.init.zeros_(model.sentence_head.second.weight)
    torch.nn.init.ones_(model.sentence_head.second.bias)
    term = losses_of(model, random_features(model, (3, 5))).terms["local_report"]
    assert term.item() == pytest.approx(1.354025, abs=1e-5)


def test_check_l06_one_sentence_reports_and_reports_without_any() -> None:
    model = method().train()
    one = values(losses_of(model, random_features(model, (1, 1, 1))))
    assert one["local_report"] == pytest.approx(0.0, abs=1e-5)
    assert one["local_image"] > math.log(4) / 2
    features = random_features(model, (2, 0, 3))
    losses = losses_of(model, features)
    assert all(
        gradient is None or gradient.isfinite().all() for gradient in gradients_by_name(model, losses.total).values()
    )
    with_text = torch.tensor([0, 2])
    alone = values(losses_of(model, rows_of(features, with_text)))
    model.eval()
    both, alone = values(losses_of(model, features)), values(losses_of(model, rows_of(features, with_text)))
    assert [both[name] for name in TERMS[2:]] == pytest.approx([alone[name] for name in TERMS[2:]], abs=1e-5)
    nothing = values(losses_of(model, random_features(model, (0, 0))))
    assert (nothing["local_image"], nothing["local_report"]) == (0.0, 0.0)


def test_check_l11_local_losses_do_not_reach_the_pools() -> None:
    model = method().train()
    features = random_features(model, (2, 4, 3))
    for name in TERMS[2:]:
        local = gradients_by_name(model, losses_of(model, features).terms[name])
        assert {n for n, g in local.items() if g is not None and ".pool." in n} == set()
    through_global = gradients_by_name(model, losses_of(model, features).terms["global_image_to_text"])
    for name in ("film_head.pool.query.weight", "report_head.pool.key.weight"):
        gradient = through_global[name]
        assert gradient is not None
        assert gradient.abs().sum() > 0


def test_check_l12_half_of_the_layers_are_frozen_and_keep_their_dropout() -> None:
    half = {"layers": 4, "freeze_embeddings": True, "frozen_layers": 2, "dropout": 0.3}
    model = method(text=TextEncoderConfig.model_validate({**MAX.model_dump(), **half})).train()
    losses = losses_of(model, model.encode(pair_batch(reports(4))))
    text = {n: g for n, g in gradients_by_name(model, losses.total).items() if n.startswith("text_encoder.bert")}
    learning = {name for name, gradient in text.items() if gradient is not None and gradient.abs().sum() > 0}
    assert {name.split(".layer.")[1][0] for name in learning} == {"2", "3"}
    assert all(gradient is None for name, gradient in text.items() if "embeddings" in name or ".layer.0" in name)
    bert = model.text_encoder.bert  # frozen is not evaluation mode (section 5.13)
    assert all(layer.training for layer in bert.encoder.layer[:2])


@pytest.mark.parametrize("training", [True, False])
def test_check_l15_padding_leaves_every_term(training: bool) -> None:
    model = method().train(training)
    features = random_features(model, (2, 4, 3), slots=4)
    wanted = values(losses_of(model, features))
    fewer_real = {**features, "sentences": features["sentences"] * features["sentence_mask"].unsqueeze(2)}
    longer = {
        **features,
        "sentences": torch.cat([features["sentences"], torch.full((3, 2, 16), 1e3)], dim=1),
        "sentence_mask": torch.cat([features["sentence_mask"], torch.zeros(3, 2, dtype=torch.bool)], dim=1),
    }
    for same in (fewer_real, longer):
        assert values(losses_of(model, same)) == pytest.approx(wanted, abs=1e-5)


def test_check_l15_longer_tokens_leave_every_term() -> None:
    model = method().train()
    model.image_encoder.eval()
    short, long = (values(losses_of(model, model.encode(pair_batch(reports(6), length=n)))) for n in (None, 24))
    assert short == pytest.approx(long, abs=1e-4)


def test_check_l15_the_order_of_sentences_leaves_every_term() -> None:
    model = method().train()
    features = random_features(model, (3, 3), slots=3)
    order = torch.tensor([2, 0, 1])
    swapped = {**features, "sentences": features["sentences"][:, order]}
    assert values(losses_of(model, swapped)) == pytest.approx(values(losses_of(model, features)), abs=1e-5)


def test_the_order_of_pairs_leaves_every_term() -> None:
    model = method().train()
    features = random_features(model, (2, 4, 1, 3))
    mixed = rows_of(features, torch.tensor([3, 1, 0, 2]))
    assert values(losses_of(model, mixed)) == pytest.approx(values(losses_of(model, features)), abs=1e-5)


def test_a_sentence_without_a_word_piece_is_no_sentence() -> None:
    """Section 5.9: the published maximum over no token is minus infinity."""
    batch = pair_batch(reports(3))
    ids = batch.tokens.sentence_ids
    with_a_hole = replace(batch, tokens=replace(batch.tokens, sentence_ids=torch.where(ids > 0, ids + 1, ids)))
    model = method().eval()
    with torch.no_grad():
        plain, holed = (values(losses_of(model, model.encode(b))) for b in (batch, with_a_hole))
        texts = model.embed_texts(with_a_hole.tokens)
    assert holed == pytest.approx(plain, abs=1e-5)
    assert texts.word_mask[2].tolist() == [True, False, True, True]


def test_gradient_caching_sees_the_batch_norm_of_the_whole_batch() -> None:
    """The heads' statistics are those of the contrasted batch, however it is cut; see the method's module."""
    frozen = IMAGE.model_copy(update={"batch_norm": "frozen"})
    batch = pair_batch(reports(6))
    batch = replace(batch, pixels=batch.pixels.double())
    found = []
    for size in (6, 4):
        model = method(image=frozen).double().train()
        totals: list[float] = []

        def compare(features: PairFeatures, model: Lovt = model, totals: list[float] = totals) -> None:
            total = losses_of(model, features).total
            totals.append(total.item())
            torch.autograd.backward(total)

        cached_backward(model, batch.micro_batches(size), model.encode, compare)
        gradient = torch.cat([p.grad.reshape(-1) for p in model.parameters() if p.grad is not None])
        found.append((totals[0], gradient, model.region_head.norm))
    assert found[1][0] == pytest.approx(found[0][0], abs=1e-9)
    torch.testing.assert_close(found[1][1], found[0][1], rtol=1e-6, atol=1e-9)
    assert found[0][2] is not None
    assert found[1][2] is not None
    assert torch.equal(found[0][2].state_dict()["num_batches_tracked"], torch.tensor(1))
    torch.testing.assert_close(found[0][2].state_dict(), found[1][2].state_dict())


@pytest.mark.parametrize(
    ("options", "terms"),
    [
        (GLOBAL_ONLY, TERMS[:2]),
        (POOLED_BY_ENCODERS, TERMS[:2]),
        ({"weighting": "uniform"}, TERMS),
        ({"weighting": "uniform", "image_pool": "encoder", "report_pool": "encoder"}, TERMS),
        ({"local_image_weight": 0}, (*TERMS[:2], "local_report")),
        ({"local_report_weight": 0}, TERMS[:3]),
        ({"distance_decay": 0}, TERMS),
        (LOCAL_ONLY, TERMS[2:]),
        ({**LOCAL_ONLY, "report_pool": "encoder"}, TERMS[2:]),
        ({**POOLED_BY_ENCODERS, "batch_norm": False}, TERMS[:2]),
    ],
)
def test_every_ablation_has_its_terms_and_trains_what_it_has(options: dict[str, Any], terms: tuple[str, ...]) -> None:
    model = method(**options).train()
    batch = pair_batch(reports(4))
    losses = losses_of(model, model.encode(batch))
    assert tuple(losses.terms) == terms
    gradients = gradients_by_name(model, losses.total)
    for name in ("image_encoder.trunk.conv1.0.weight", "text_encoder.bert.embeddings.word_embeddings.weight"):
        gradient = gradients[name]
        assert gradient is not None
        assert gradient.abs().sum() > 0
    aligns = "local_image" in terms or "local_report" in terms
    assert any(name.startswith("alignment") for name in gradients) == aligns
    model.eval()
    with torch.no_grad():
        images, texts = model.embed_images(batch.pixels), model.embed_texts(batch.tokens)
        maps = model.phrase_map(images, texts)
    assert (images.pooled.shape, images.regions.shape, images.grid) == ((4, 16), (4, 4, 16), (2, 2))
    assert (texts.report.shape, texts.words.shape[1]) == ((4, 16), 3 if aligns else 0)
    assert maps.shape == (4, 4)
    assert maps.isfinite().all()


def test_gradients_reach_every_weight_of_a_training_model() -> None:
    model = method().train()
    losses = losses_of(model, model.encode(pair_batch(reports(4))))
    untouched = {name for name, gradient in gradients_by_name(model, losses.total).items() if gradient is None}
    assert untouched == {"film_head.pool.key.bias", "report_head.pool.key.bias"}, "a softmax knows no key bias"


def test_uniform_weights_are_not_the_pools() -> None:
    features = random_features(method(), (2, 4, 3))
    by_pool, alike = (values(losses_of(method(weighting=kind).eval(), features)) for kind in ("attention", "uniform"))
    assert by_pool["global_image_to_text"] == alike["global_image_to_text"]
    assert by_pool["local_report"] != pytest.approx(alike["local_report"], abs=1e-6)
    no_text_pool = method(weighting="uniform", report_pool="encoder").eval()
    assert no_text_pool.report_head.pool is None


def test_items_are_sentences_and_phrases_look_where_their_sentences_do() -> None:
    model, batch = method().eval(), pair_batch(reports(3))
    with torch.no_grad():
        images, texts = model.embed_images(batch.pixels), model.embed_texts(batch.tokens)
        maps = model.phrase_map(images, texts)
        sentences = model.alignment.sentence_maps(images.regions, texts.words, texts.word_mask)
    assert texts.word_mask.sum(1).tolist() == [1, 2, 3]
    assert not texts.special_mask.any()
    torch.testing.assert_close(maps.sum(1), torch.ones(3))
    torch.testing.assert_close(maps[2], sentences[2].mean(0))
    assert isinstance(model, GroundsPhrases)
    assert not isinstance(model, GroundsWords)


def test_the_local_score_is_of_its_own_pair_and_off_unless_asked_for() -> None:
    batch = pair_batch(reports(5))
    asked = method(local_score=True).eval()
    with torch.no_grad():
        images, texts = asked.embed_images(batch.pixels), asked.embed_texts(batch.tokens)
        together = asked.similarity(images, texts, purpose="retrieval")
        alone = asked.similarity(asked.embed_images(batch.pixels[2:3]), texts, purpose="retrieval")
        contexts = asked.alignment(images.regions[:1], texts.words[:1], texts.word_mask[:1])
        without = method().eval().similarity(images, texts, purpose="zero_shot")
    assert together.local_scores is not None
    assert alone.local_scores is not None
    torch.testing.assert_close(alone.local_scores[0], together.local_scores[2], atol=1e-5, rtol=1e-5)
    wanted = cosine(texts.words[0, 0], contexts.of_sentences[0, 0])
    torch.testing.assert_close(together.local_scores[0, 0], wanted, atol=1e-5, rtol=1e-5)
    assert without.local_scores is None


def test_wrong_configurations_are_explained() -> None:
    with pytest.raises(ConfigError, match="nothing would be learned"):
        build_settings(LovtConfig, {"global_weight": 0, "local_image_weight": 0, "local_report_weight": 0})
    for options in ({"global_weight": 0}, {"report_pool": "encoder"}):
        with pytest.raises(ConfigError, match="weighting: uniform"):
            build_settings(LovtConfig, options)
    with pytest.raises(ConfigError, match="local_score"):
        build_settings(LovtConfig, {**GLOBAL_ONLY, "local_score": True})
    with pytest.raises(ConfigError, match="pool_heads"):
        method(pool_heads=7)


VIT = ImageEncoderConfig(name="test_vit", pretrained="none", trunk_options={"img_size": 32, "patch_size": 8})


def trained(model: Lovt, pixels: Tensor, steps: int, learning_rate: float) -> tuple[Lovt, list[float]]:
    batch = replace(pair_batch(reports(8)), pixels=pixels)
    optimizer = torch.optim.Adam(model.train().parameters(), lr=learning_rate)
    # The rate falls to 0, so that the running statistics catch up with the weights.
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    totals = []
    for _ in range(steps):
        optimizer.zero_grad()
        total = losses_of(model, model.encode(batch)).total
        torch.autograd.backward(total)
        optimizer.step()
        schedule.step()
        totals.append(total.item())
    return model.eval(), totals


@pytest.mark.parametrize(("image", "steps", "rate"), [(IMAGE, 60, 1e-2), (VIT, 100, 2e-3)], ids=["cnn", "vit"])
def test_eight_pairs_are_learned_by_heart(image: ImageEncoderConfig, steps: int, rate: float) -> None:
    pixels, batch = films_with_a_block_each(8), pair_batch(reports(8))
    model, totals = trained(method(image=image), pixels, steps, rate)
    with torch.no_grad():
        images, texts = model.embed_images(pixels), model.embed_texts(batch.tokens)
        scores = model.similarity(images, texts, purpose="retrieval").global_scores
    assert totals[-1] < totals[0]
    assert scores.argmax(1).tolist() == list(range(8)), "R@1 = 1 from films to reports"
    assert scores.argmax(0).tolist() == list(range(8)), "R@1 = 1 from reports to films"


@pytest.mark.parametrize(
    "options",
    [
        {**GLOBAL_ONLY, "image_to_text_share": 1.0},
        {**GLOBAL_ONLY, "image_to_text_share": 0.0},
        {**LOCAL_ONLY, "local_report_weight": 0},
        {**LOCAL_ONLY, "local_image_weight": 0},
    ],
    ids=TERMS,
)
def test_each_term_falls_when_it_is_trained_alone(options: dict[str, Any]) -> None:
    pixels = torch.nn.functional.interpolate(films_with_a_block_each(8), scale_factor=4)  # 4 x 4 regions
    model, totals = trained(method(**options), pixels, 12, 5e-3)
    assert len(model.config.term_weights) == 1
    assert totals[-1] < totals[0] - 0.05

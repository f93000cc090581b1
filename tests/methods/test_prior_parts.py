"""The parts of PRIOR, each by itself: numeric checks of its spec, section 6."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from crossray.encoders.image import ImageEncoder, ImageEncoderConfig, parameter_count
from crossray.encoders.text import TextEncoder, TextEncoderConfig
from crossray.errors import ConfigError
from crossray.methods.prior.config import Damage, PriorConfig
from crossray.methods.prior.generation import Generation
from crossray.methods.prior.image_decoder import ImageDecoder, block_sizes
from crossray.methods.prior.layout import local_tokens, token_maps
from crossray.methods.prior.local_align import LocalAlign
from crossray.methods.prior.method import Prior
from crossray.methods.prior.pooling import ImagePool, SentencePool
from crossray.methods.prior.prototype_bank import PrototypeBank
from crossray.methods.prior.slot_decoder import SlotDecoder

from ..small_model import IMAGE, TEXT, small_tokenizer
from .prior_model import config, prior


def still(module: nn.Module) -> None:
    """Queries and keys that say nothing."""
    for name, parameter in module.named_parameters():
        if "query" in name or "key" in name:
            nn.init.zeros_(parameter)


@torch.no_grad()
def test_check_04_indifferent_alignment_weighs_everything_by_half() -> None:
    module = LocalAlign(6, "sigmoid", "sigmoid")
    still(module)
    regions, sentences, mask = torch.randn(2, 49, 6), torch.randn(2, 3, 6), torch.ones(2, 3, dtype=torch.bool)
    contexts = module(regions, sentences, mask)
    assert (contexts.sentence_to_region == 0.5).all()
    of_sentences = 24.5 * module.region_value(regions).mean(dim=1, keepdim=True)
    of_regions = 1.5 * module.sentence_value(sentences).mean(dim=1, keepdim=True)
    torch.testing.assert_close(contexts.of_sentences, of_sentences.expand(-1, 3, -1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(contexts.of_regions, of_regions.expand(-1, 49, -1), rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["sigmoid", "softmax"])
def test_check_04_padding_sentences_change_nothing(kind: Any) -> None:
    module = LocalAlign(6, kind, kind)
    regions, sentences, mask = torch.randn(2, 5, 6), torch.randn(2, 3, 6), torch.ones(2, 3, dtype=torch.bool)
    plain = module(regions, sentences, mask)
    padded = module(
        regions, torch.cat([sentences, torch.randn(2, 2, 6)], dim=1), torch.cat([mask, torch.zeros(2, 2).bool()], dim=1)
    )
    torch.testing.assert_close(padded.of_regions, plain.of_regions)
    torch.testing.assert_close(padded.of_sentences[:, :3], plain.of_sentences)
    if kind == "softmax":
        torch.testing.assert_close(padded.sentence_to_region.sum(2), torch.ones(2, 5))
        torch.testing.assert_close(padded.region_to_sentence.sum(2), torch.ones(2, 5))


@torch.no_grad()
def test_the_match_of_all_films_and_reports_is_that_of_each_pair() -> None:
    module = LocalAlign(6, "sigmoid", "sigmoid")
    regions, sentences = torch.randn(3, 4, 6), torch.randn(2, 3, 6)
    mask = torch.tensor([[True, True, True], [True, False, False]])
    got = module.match(regions, sentences, mask)
    assert got is not None
    for n in range(3):
        for m, count in enumerate((3, 1)):
            pair = module(regions[n : n + 1], sentences[m : m + 1, :count], mask[m : m + 1, :count])
            wanted = (pair.sentence_to_region.mean() + pair.region_to_sentence.mean()) / 2
            assert got[n, m].item() == pytest.approx(wanted.item(), abs=1e-6)
    assert LocalAlign(6, "softmax", "softmax").match(regions, sentences, mask) is None
    one_way = LocalAlign(6, "softmax", "sigmoid")
    half = one_way.match(regions, sentences, mask)
    assert half is not None
    weights = one_way(regions[:1], sentences[:1], mask[:1]).region_to_sentence
    assert half[0, 0].item() == pytest.approx(weights.mean().item(), abs=1e-6)


def bank(**options: Any) -> PrototypeBank:
    torch.manual_seed(0)
    return PrototypeBank(config(**options))


@torch.no_grad()
def test_check_05_a_bank_of_one_has_one_answer() -> None:
    lone = bank(prototypes=1)
    sentences = torch.randn(2, 3, 16)
    for training in (True, False):
        made = lone.train(training)(sentences)
        torch.testing.assert_close(made.vectors, lone.prototypes[0].expand(2, 3, 16))


@torch.no_grad()
def test_check_05_far_apart_prototypes_are_recognised() -> None:
    spread = bank(prototypes=16)
    spread.prototypes.copy_(30 * torch.eye(16))
    sentences = spread.prototypes.unsqueeze(0)
    for training in (True, False):
        made = spread.train(training)(sentences)
        assert made.index.tolist() == [list(range(16))]
        torch.testing.assert_close(made.vectors, sentences)


@torch.no_grad()
@pytest.mark.parametrize("choice", ["soft", "hard"])
def test_check_05_weights_sum_to_one_and_evaluation_repeats_itself(choice: str) -> None:
    mixed, sentences = bank(prototype_choice=choice).train(), torch.randn(2, 3, 16)
    mixed.prototypes[:, 0] = 1.0  # a mixture with weights that sum to 1 keeps it
    made, again = mixed(sentences), mixed(sentences)
    torch.testing.assert_close(made.vectors[..., 0], torch.ones(2, 3))
    assert not torch.equal(made.vectors, again.vectors), "training draws noise"
    mixed.eval()
    for kind in ("argmax", "softmax"):
        mixed._config = config(prototype_choice=choice, evaluation_prototype=kind)
        assert torch.equal(mixed(sentences).vectors, mixed(sentences).vectors)
        torch.testing.assert_close(mixed(sentences).logits, sentences @ mixed.prototypes.T)


@torch.no_grad()
def test_in_evaluation_argmax_takes_one_prototype_and_softmax_mixes_them() -> None:
    sentences = torch.randn(2, 3, 16) / 4
    taking, mixing = bank().eval(), bank(evaluation_prototype="softmax").eval()
    largest = taking.prototypes[(sentences @ taking.prototypes.T).argmax(dim=2)]
    torch.testing.assert_close(taking(sentences).vectors, largest)
    mixture = (sentences @ mixing.prototypes.T / 0.9).softmax(dim=2) @ mixing.prototypes
    torch.testing.assert_close(mixing(sentences).vectors, mixture)


def test_hard_prototypes_are_single_ones_with_the_gradient_of_the_mixture() -> None:
    hard = bank(prototype_choice="hard").train()
    sentences = torch.randn(1, 3, 16, requires_grad=True)
    made = hard(sentences)
    torch.testing.assert_close(made.vectors, hard.prototypes[made.index])
    made.vectors.sum().backward()
    assert sentences.grad is not None
    assert sentences.grad.abs().sum() > 0


def test_nearest_prototypes_follow_the_mean_of_the_sentences_that_chose_them() -> None:
    near = bank(prototype_choice="nearest", prototype_decay=0.75).train()
    sentences = torch.randn(2, 3, 16, requires_grad=True)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    before = near.prototypes.detach().clone()
    made = near(sentences)
    assert torch.equal(made.index, torch.cdist(sentences.detach(), before.expand(2, -1, -1)).argmin(dim=2))
    torch.testing.assert_close(made.vectors, before[made.index])
    made.vectors.sum().backward()
    torch.testing.assert_close(sentences.grad, torch.ones_like(sentences))
    near.observe(sentences, mask)
    near.end_step()
    for k in range(12):
        chosen = sentences.detach()[mask & (made.index == k)]
        wanted = 0.75 * before[k] + 0.25 * chosen.mean(dim=0) if len(chosen) else before[k]
        torch.testing.assert_close(near.prototypes[k].detach(), wanted)
    near.forget_observations()
    moved = near.prototypes.detach().clone()
    near.end_step()
    assert torch.equal(near.prototypes, moved), "without observations nothing moves"


def test_the_bank_starts_from_the_means_of_remembered_sentences() -> None:
    starting = bank(prototypes=2, k_means_sentences=6)
    clouds = torch.stack([torch.full((16,), 5.0), torch.full((16,), -5.0)])
    mask = torch.ones(2, 3, dtype=torch.bool)
    for shift in (9.0, 0.0):  # the oldest six fall out
        starting.remember(clouds.unsqueeze(1).expand(2, 3, 16) + shift, mask)
    starting.remember(clouds.unsqueeze(1), torch.zeros(2, 1, dtype=torch.bool))
    starting.start_from_remembered(5)
    assert sorted(starting.prototypes[:, 0].tolist()) == [-5.0, 5.0]


def test_the_temperature_falls_to_a_tenth_or_stays() -> None:
    found: dict[str, list[float]] = {"fixed": [], "linear": [], "exponential": []}
    for kind in ("fixed", "linear", "exponential"):
        one = bank(temperature_schedule=kind, temperature_steps=100)
        for step in (0, 50, 100, 200):
            one.steps.fill_(step)
            found[kind].append(one.temperature().item())
    assert found["fixed"] == pytest.approx([0.9] * 4)
    assert found["linear"] == pytest.approx([0.9, 0.495, 0.09, 0.09])
    assert found["exponential"] == pytest.approx([0.9, 0.9 * math.sqrt(0.1), 0.09, 0.09])


@torch.no_grad()
def test_check_10_sentences_are_pooled_whatever_their_order_and_padding() -> None:
    pool = SentencePool(8, 2)
    sentences, mask = torch.randn(2, 5, 8), torch.arange(5) < torch.tensor([[5], [3]])
    wanted = pool(sentences, mask)
    torch.testing.assert_close(pool(sentences[:, [2, 0, 1, 3, 4]], mask), wanted)
    longer = torch.cat([sentences, torch.randn(2, 2, 8)], dim=1)
    torch.testing.assert_close(pool(longer, torch.cat([mask, torch.zeros(2, 2).bool()], dim=1)), wanted)
    torch.testing.assert_close(pool(sentences[1:, :3], mask[1:, :3]), wanted[1:])


@torch.no_grad()
def test_check_10_one_sentence_goes_straight_through() -> None:
    pool = SentencePool(8, 2)
    sentence = torch.randn(3, 1, 8)
    wanted = pool.attention.each(sentence)[:, 0]
    torch.testing.assert_close(pool(sentence, torch.ones(3, 1, dtype=torch.bool)), wanted)


@torch.no_grad()
def test_the_image_pool_is_the_first_row_of_full_self_attention_with_positions() -> None:
    pool = ImagePool(8, 2, (2, 3))
    places = torch.randn(4, 6, 8)
    full, ours = nn.MultiheadAttention(8, 2, batch_first=True), pool.attention
    full.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key.weight, ours.value.weight]))
    full.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key.bias, ours.value.bias]))
    full.out_proj.load_state_dict(ours.output.state_dict())
    rows = torch.cat([places.mean(dim=1, keepdim=True), places], dim=1) + pool.positions
    torch.testing.assert_close(pool(places, (2, 3)), full(rows, rows, rows)[0][:, 0], rtol=1e-4, atol=1e-5)
    assert pool(torch.randn(4, 20, 8), (4, 5)).shape == (4, 8), "other grids stretch the table"


def test_check_09_the_decoder_doubles_up_to_the_film() -> None:
    assert [side for side, _ in block_sizes((224, 224), 5)] == [14, 28, 56, 112, 224]
    assert [side for side, _ in block_sizes((112, 112), 5)] == [7, 14, 28, 56, 112]
    for size, grid, blocks in (((64, 64), (2, 2), 5), ((50, 70), (4, 5), 4)):
        decoder = ImageDecoder(4, channels=8, blocks=blocks, damage="channel", share=0.5)
        maps = torch.randn(2, 4, *grid)
        assert decoder(maps, maps, size).shape == (2, 1, *size)


def test_damage_takes_whole_channels_or_whole_regions_and_only_in_training() -> None:
    maps = torch.ones(8, 40, 5, 6)
    zeros: dict[str, Tensor] = {}
    kinds: tuple[Damage, ...] = ("channel", "token")
    for damage in kinds:
        decoder = ImageDecoder(40, channels=2, blocks=1, damage=damage, share=0.5)
        damaged = decoder.train()._damaged(maps)
        assert set(damaged.flatten().tolist()) == {0.0, 2.0}, "what stays is enlarged"
        zeros[damage] = damaged == 0
        assert torch.equal(decoder.eval()._damaged(maps), maps)
    assert (zeros["channel"].flatten(2).float().std(dim=2) == 0).all()
    assert (zeros["token"].float().std(dim=1) == 0).all()
    assert 0.3 < zeros["token"][:, 0].float().mean() < 0.7


@pytest.mark.parametrize(("causal", "seen"), [(False, 4), (True, 2)])
def test_p3_a_causal_slot_sees_only_those_before_it(causal: bool, seen: int) -> None:
    torch.manual_seed(0)
    decoder = SlotDecoder(8, slots=4, layers=1, heads=2, hidden=16, dropout=0.0, causal=causal, head=False)
    said = decoder(torch.randn(1, 5, 8))
    said[0, 1, 0].backward()
    assert decoder.queries.grad is not None
    assert (decoder.queries.grad[0].abs().sum(dim=1) > 0).sum().item() == seen


@torch.no_grad()
def test_check_06_permuting_the_slots_leaves_the_loss() -> None:
    torch.manual_seed(0)
    generation = Generation(config()).eval()
    regions, wanted = torch.randn(2, 5, 16), torch.randn(2, 4, 16)
    mask = torch.arange(4) < torch.tensor([[4], [2]])
    wanted = wanted * mask.unsqueeze(2)

    def loss() -> list[float]:
        matched = generation.matched(generation.decoder(regions), wanted, mask)
        totals: list[float] = generation.set_error(matched, wanted, mask).total.tolist()
        return totals

    before = loss()
    order = torch.tensor([2, 0, 3, 1])
    decoder = generation.decoder
    decoder.queries.copy_(decoder.queries[:, order])
    decoder.positions.weight[:4] = decoder.positions.weight[:4][order]
    assert loss() == pytest.approx(before, abs=1e-6)


@torch.no_grad()
def test_check_07_what_padding_slots_weigh() -> None:
    c, counts = 0.3, torch.tensor([4, 16, 0])
    mask = torch.arange(16) < counts.unsqueeze(1)
    signs = torch.where(torch.rand(3, 16, 16) < 0.5, -1.0, 1.0)
    wanted = c * signs * mask.unsqueeze(2)
    silent = torch.zeros(3, 16, 16)
    found = {
        weight: Generation(config(slots=16, slot_layers=1, empty_slot_weight=weight)).set_error(silent, wanted, mask)
        for weight in (1.0, 0.1, 0.0)
    }
    assert found[1.0].total.tolist() == pytest.approx([c * 4 / 16, c, 0])
    assert found[0.1].total.tolist() == pytest.approx([c * 4 / 5.2, c, 0])
    assert found[0.0].total.tolist() == pytest.approx([c, c, 0])
    assert found[0.0].count.tolist() == [1, 1, 0], "without a sentence there is nothing to compare"


def test_p5_without_a_head_no_slot_can_be_silent() -> None:
    fixed = SlotDecoder(8, slots=4, layers=1, heads=2, hidden=16, dropout=0.0, causal=False, head=False)
    free = SlotDecoder(8, slots=4, layers=1, heads=2, hidden=16, dropout=0.0, causal=False, head=True)
    with torch.no_grad():
        lengths = fixed(torch.randn(2, 5, 8)).norm(dim=2)
        torch.testing.assert_close(lengths, torch.full((2, 4), math.sqrt(8)), rtol=1e-3, atol=1e-3)
        assert isinstance(free.head, nn.Linear)
        free.head.weight.zero_()
        assert free(torch.randn(2, 5, 8)).abs().max() == 0


def test_check_14_a_place_becomes_one_token_and_p1_smears_it_over_many() -> None:
    row, column = 2, 5
    maps = torch.zeros(1, 2048, 7, 7)
    maps[0, :, row, column] = 1.0
    places = maps.flatten(2).transpose(1, 2)
    spatial = local_tokens(places, "spatial").abs().sum(dim=2)[0]
    assert spatial.nonzero().flatten().tolist() == [7 * row + column]
    smeared = local_tokens(places, "reference_view")
    assert torch.equal(smeared, maps.view(1, 49, 2048))
    assert (smeared.abs().sum(dim=2) > 0).all()


def test_p2_tokens_read_as_maps_leave_most_channels_inside_one_token() -> None:
    tokens = torch.arange(49.0).view(1, 49, 1).expand(1, 49, 768)
    spatial = token_maps(tokens, (7, 7), "spatial")
    assert torch.equal(spatial[0, 0].flatten(), torch.arange(49.0))
    viewed = token_maps(tokens, (7, 7), "reference_view").flatten(2)[0]
    assert int((viewed.min(dim=1).values == viewed.max(dim=1).values).sum()) == 720


def published() -> Prior:
    """The published sizes, without memory for them."""
    bert = TextEncoderConfig(
        width=768, heads=12, layers=1, intermediate=3072, max_positions=512, vocabulary_size=240, max_tokens=256
    )
    with torch.device("meta"):
        image = ImageEncoder(ImageEncoderConfig(name="resnet50", pretrained="none"))
        return Prior(image, TextEncoder(bert, 240), PriorConfig(preset="reference"))


def test_check_09_parameter_counts_are_the_published_ones() -> None:
    model = published()
    assert parameter_count(model.image_encoder) == 23_501_760
    assert model.image_pool is not None
    decoder = model.generation.decoder
    found = {
        "image_pool": parameter_count(model.image_pool),
        "global_projection": parameter_count(model.global_projection),
        "local_projection": parameter_count(model.local_projection),
        "sentence_projection": parameter_count(model.sentence_projection),
        "sentence_pool": parameter_count(model.sentence_pool),
        "local_align": parameter_count(model.local.align),
        "predictor": parameter_count(model.local.predictor),
        "bank": parameter_count(model.bank),
        "queries": decoder.queries.numel(),
        "image_decoder": parameter_count(model.image_decoder),
        "slot_decoder": parameter_count(decoder) - decoder.queries.numel(),
    }
    assert found == {
        "image_pool": 16_887_808,
        "global_projection": 1_573_632,
        "local_projection": 1_573_632,
        "sentence_projection": 590_592,
        "sentence_pool": 2_362_368,
        "local_align": 3_543_552,
        "predictor": 590_976,
        "bank": 393_216,
        "queries": 12_288,
        "image_decoder": 21_219_313,
        "slot_decoder": 76_010_496,
    }


def test_check_09_published_shapes() -> None:
    model = published()
    with torch.device("meta"):
        places = model.image_encoder.places(torch.empty(2, 1, 224, 224))
        regions = model.local_projection(places.regions)
        maps = token_maps(regions, places.grid, "spatial")
        rebuilt = model.image_decoder(maps, maps, (224, 224))
        said = model.generation.decoder(regions)
    assert places.grid == (7, 7)
    assert places.regions.shape == (2, 49, 2048)
    assert model.global_projection(places.pooled).shape == (2, 768)
    assert regions.shape == (2, 49, 768)
    assert rebuilt.shape == (2, 1, 224, 224)
    assert said.shape == (2, 16, 768)


def test_the_decoder_synchronises_its_batch_norm_where_the_trunk_does() -> None:
    for kind, wanted in (("local", nn.BatchNorm2d), ("sync", nn.SyncBatchNorm)):
        model = prior(image=IMAGE.model_copy(update={"batch_norm": kind}))
        norms = [
            module for module in model.image_decoder.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)
        ]
        assert {type(module) for module in norms} == {wanted}


def test_widths_that_do_not_fit_are_explained() -> None:
    with pytest.raises(ConfigError, match="pool_heads"):
        prior(embed_dim=14, pool_heads=7, slot_heads=2)
    assert prior(embed_dim=14, pool_heads=7, slot_heads=2, image_pooling="mean").image_pool is None
    for wrong in ({"embed_dim": 18}, {"temperature_schedule": "linear"}):
        with pytest.raises(ValueError, match=r"no multiple|needs temperature_steps"):
            config(**wrong)
    tokenizer = small_tokenizer()
    ordinary = Prior(ImageEncoder(IMAGE), TextEncoder(TEXT, tokenizer.vocabulary_size), config())
    assert ordinary.stage == "align"

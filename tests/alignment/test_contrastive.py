from __future__ import annotations

import math

import pytest
import torch

from crossray.alignment.contrastive import (
    OtherPositives,
    cosine_matrix,
    identity_positives,
    info_nce,
    same_label_positives,
    same_text_positives,
    symmetric_info_nce,
)
from crossray.alignment.local_similarity import local_similarity

from .oracles import info_nce_by_loop

E1, E2 = [1.0, 0.0], [0.0, 1.0]


def losses(images: list[list[float]], texts: list[list[float]], scale: float = 10) -> tuple[float, float]:
    scores = cosine_matrix(torch.tensor(images, dtype=torch.float64), torch.tensor(texts, dtype=torch.float64))
    both = symmetric_info_nce(scores, identity_positives(len(images)), scale=scale)
    return both.image_to_text.item(), both.text_to_image.item()


def test_check_01_orthonormal_pairs_and_the_two_directions() -> None:
    assert losses([E1, E2], [E1, E2]) == pytest.approx((4.54e-5, 4.54e-5), rel=1e-3)
    assert losses([E1, E2], [E1, E1]) == pytest.approx((0.693147, 5.000045), abs=1e-6)


def test_check_02_two_oblique_pairs() -> None:
    assert losses([E1, [0.6, 0.8]], [[0.8, 0.6], E2]) == pytest.approx((0.892118, 0.892118), abs=1e-6)


def test_check_04_local_losses_of_two_films_and_two_reports() -> None:
    regions = torch.tensor([[E1, E2], [E1, E1]], dtype=torch.float64)
    words = torch.tensor([[E1, E2], [E1, [9.0, 9.0]]], dtype=torch.float64)
    mask = torch.tensor([[True, True], [True, False]])
    wanted = {
        "sum": ([[5.632279, 3.535534], [5.006715, 5.0]], (0.363644, 0.000959)),
        "mean": (None, (0.000522, 0.000959)),
        "max": ([[4.939131, 3.535534], [5.0, 5.0]], None),
    }
    for aggregation, (scores, loss) in wanted.items():
        got = local_similarity(regions, words, mask, gamma1=4, gamma2=5, aggregation=aggregation)  # type: ignore[arg-type]  # keys widen to str
        if scores is not None:
            torch.testing.assert_close(got, torch.tensor(scores, dtype=torch.float64), atol=1e-6, rtol=0)
        if loss is not None:
            both = symmetric_info_nce(got, identity_positives(2), scale=10)
            assert (both.image_to_text.item(), both.text_to_image.item()) == pytest.approx(loss, abs=1e-6)


def test_check_b1_orthonormal_and_identical_batches() -> None:
    basis = torch.eye(4).tolist()
    assert losses(basis, basis) == pytest.approx((1.3619e-4, 1.3619e-4), rel=1e-4)
    assert losses([E1] * 4, [E1] * 4) == pytest.approx((math.log(4), math.log(4)))


@pytest.mark.parametrize("other_positives", ["target", "masked"])
def test_value_and_gradient_agree_with_the_loop(other_positives: OtherPositives) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(8, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    positives = same_text_positives(torch.tensor([0, 1, 0, 2, 3, 0, 2, 4]))
    fast = info_nce(logits, positives, other_positives)
    slow = info_nce_by_loop(logits, positives, other_positives)
    torch.testing.assert_close(fast, slow)
    torch.testing.assert_close(*(torch.autograd.grad(loss, logits)[0] for loss in (fast, slow)))


@pytest.mark.parametrize("other_positives", ["target", "masked"])
def test_identity_positives_give_plain_cross_entropy(other_positives: OtherPositives) -> None:
    logits = torch.randn(6, 6, generator=torch.Generator().manual_seed(0))
    plain = torch.nn.functional.cross_entropy(logits, torch.arange(6))
    torch.testing.assert_close(info_nce(logits, identity_positives(6), other_positives), plain)


def test_a_batch_of_one_has_no_loss_and_a_finite_gradient() -> None:
    logits = torch.ones(1, 1, requires_grad=True)
    loss = info_nce(logits, identity_positives(1))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.item() == 0
    assert gradient.item() == 0


def test_masked_positives_of_one_text_leave_nothing_to_learn() -> None:
    logits = torch.randn(5, 5, generator=torch.Generator().manual_seed(0))
    assert info_nce(logits, torch.ones(5, 5, dtype=torch.bool), "masked").item() == pytest.approx(0, abs=1e-6)


def test_shared_targets_change_nothing_where_equal_texts_have_equal_scores() -> None:
    """Why `same_text` with `target` is `identity` but for dropout: equal texts have equal columns."""
    films = torch.randn(6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    texts = torch.tensor([0, 1, 0, 2, 1, 0])
    scores = films[:, texts]
    shared, own = same_text_positives(texts), identity_positives(6)
    for logits, there in ((scores, shared), (scores.T, shared.T)):
        losses = [info_nce(logits, positives) for positives in (there, own)]
        torch.testing.assert_close(*losses)
        torch.testing.assert_close(*(torch.autograd.grad(x, films, retain_graph=True)[0] for x in losses))
        assert info_nce(logits, there, "masked") < 0.9 * losses[0]


def test_same_label_pairs_need_every_label_known() -> None:
    codes = torch.tensor([[1, 0], [1, 0], [1, -1], [1, -1], [0, 0]])
    wanted = torch.eye(5, dtype=torch.bool)
    wanted[0, 1] = wanted[1, 0] = True
    assert torch.equal(same_label_positives(codes), wanted)


def test_permuting_pairs_leaves_both_directions_unchanged() -> None:
    scores = torch.randn(6, 6, generator=torch.Generator().manual_seed(0))
    groups = torch.tensor([0, 1, 0, 2, 3, 4])
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    plain = symmetric_info_nce(scores, same_text_positives(groups), scale=10)
    mixed = symmetric_info_nce(scores[order][:, order], same_text_positives(groups[order]), scale=10)
    torch.testing.assert_close(mixed.image_to_text, plain.image_to_text)
    torch.testing.assert_close(mixed.text_to_image, plain.text_to_image)


def test_a_zero_vector_has_cosine_zero_and_a_finite_gradient() -> None:
    first = torch.zeros(2, 3, requires_grad=True)
    cosine = cosine_matrix(first, torch.ones(2, 3))
    (gradient,) = torch.autograd.grad(cosine.sum(), first)
    assert cosine.eq(0).all()
    assert gradient.isfinite().all()


def test_losses_are_full_precision_under_autocast() -> None:
    vectors = torch.randn(4, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        both = symmetric_info_nce(cosine_matrix(vectors, vectors), identity_positives(4), scale=10)
    assert both.image_to_text.dtype == torch.float32


@pytest.mark.parametrize("other_positives", ["target", "masked"])
def test_joimternet_check_10_an_excluded_pair_loses_exactly_its_logit(other_positives: OtherPositives) -> None:
    scores = torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    excluded = torch.zeros(4, 4, dtype=torch.bool)
    excluded[0, 2] = excluded[2, 0] = True
    for positives in (identity_positives(4), identity_positives(4) | excluded):
        both = symmetric_info_nce(scores, positives, scale=10, other_positives=other_positives, excluded=excluded)
        rows = [[0, 1, 3], [0, 1, 2, 3], [1, 2, 3], [0, 1, 2, 3]]
        wanted = torch.stack([(10 * scores[i, row]).logsumexp(0) - 10 * scores[i, i] for i, row in enumerate(rows)])
        torch.testing.assert_close(both.image_to_text, wanted.mean())


def test_joimternet_check_10_transposing_the_scores_swaps_the_directions_and_one_study_alone_costs_nothing() -> None:
    scores = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    plain, swapped = (symmetric_info_nce(s, identity_positives(4), scale=10) for s in (scores, scores.T))
    torch.testing.assert_close(plain.image_to_text, swapped.text_to_image)
    torch.testing.assert_close(plain.text_to_image, swapped.image_to_text)
    alone = symmetric_info_nce(scores, identity_positives(4), scale=10, excluded=~identity_positives(4))
    assert (alone.image_to_text.item(), alone.text_to_image.item()) == (0, 0)


def test_check_l08_the_global_term_of_turned_and_of_orthonormal_pairs() -> None:
    """`lovt` spec, section 6: B = 3 at angles .5 i and .5 j + .2; B = 32 orthonormal. Both at temperature .1."""
    images = [[math.cos(0.5 * i), math.sin(0.5 * i)] for i in range(3)]
    reports = [[math.cos(0.5 * j + 0.2), math.sin(0.5 * j + 0.2)] for j in range(3)]
    assert losses(images, reports) == pytest.approx((0.453919, 0.453919), abs=1e-6)
    orthonormal = torch.eye(32, dtype=torch.float64).tolist()
    assert losses(orthonormal, orthonormal) == pytest.approx((0.001406, 0.001406), abs=1e-6)

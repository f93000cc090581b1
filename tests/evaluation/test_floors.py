"""The ridge floor finds a report that its features determine, and is chosen on validation alone."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge
from sklearn.metrics.pairwise import cosine_similarity

from crossray.evaluation.floors import PairSplit, RidgeConfig, ridge_retrieval
from crossray.evaluation.retrieval import retrieval_ranks

WORDS = ["effusion", "opacity", "cardiomegaly", "nodule", "fracture", "catheter", "edema", "scarring"]


def _part(seed: int, n: int) -> PairSplit:
    generator = np.random.default_rng(seed)
    present = generator.random((n, len(WORDS))) < 0.5
    texts = [" ".join(word for word, is_there in zip(WORDS, row, strict=True) if is_there) for row in present]
    features = np.concatenate([present, generator.normal(size=(n, 3))], axis=1).astype(np.float32)
    groups = np.unique(texts, return_inverse=True)[1].astype(np.int64)
    return PairSplit(features, texts, groups)


def test_ridge_ranks_the_own_report_far_above_chance() -> None:
    test = _part(2, 40)
    found = ridge_retrieval(_part(0, 300), _part(1, 40), test, RidgeConfig())
    ranks = retrieval_ranks(found.test_scores, test.text_groups)
    assert ranks.image_to_text_any.hits(5).mean() > 0.8
    assert found.chosen_alpha in RidgeConfig().alphas
    assert len(found.validation_recall) == len(RidgeConfig().alphas)


def test_identical_reports_tie_exactly() -> None:
    test = _part(2, 60)
    found = ridge_retrieval(_part(0, 100), _part(1, 30), test, RidgeConfig())
    for group in np.unique(test.text_groups):
        columns = found.test_scores[:, test.text_groups == group]
        assert (columns == columns[:, :1]).all()


def test_a_report_without_a_known_word_scores_zero() -> None:
    test = PairSplit(np.ones((2, 11), dtype=np.float32), ["", "effusion opacity"], np.arange(2))
    found = ridge_retrieval(_part(0, 50), _part(1, 20), test, RidgeConfig(alphas=(1.0,), centred=False))
    np.testing.assert_array_equal(found.test_scores[:, 0], 0)


@pytest.mark.parametrize("centred", [False, True])
def test_the_ridge_equals_scikit_learns(centred: bool) -> None:
    train, test = _part(0, 60), _part(2, 20)
    validation = _part(1, 20)
    config = RidgeConfig(alphas=(3.0,), min_document_frequency=1, centred=centred)
    found = ridge_retrieval(train, validation, test, config)
    words = TfidfVectorizer(sublinear_tf=True)
    target = words.fit_transform(train.texts).toarray()
    mean, scale = train.features.mean(axis=0), train.features.std(axis=0)
    model = Ridge(alpha=3.0).fit((train.features - mean) / scale, target)
    centre = target.mean(axis=0) if centred else 0.0
    predicted = model.predict((test.features - mean) / scale) - centre
    expected = cosine_similarity(predicted, words.transform(test.texts).toarray() - centre)
    np.testing.assert_allclose(found.test_scores, expected, atol=1e-6)

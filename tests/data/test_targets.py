import json

import numpy as np
import pytest

from cisoform.data.targets import TargetNormaliser
from cisoform.errors import InputError

RNG = np.random.default_rng(0)
EXPRESSION = RNG.gamma(1.0, 20.0, size=(50, 3)).astype(np.float32)
EXPRESSION[::7, 1] = np.nan
ROWS = np.arange(40)
NAMES = ["liver", "brain", "gene's"]


def test_training_rows_have_mean_0_and_spread_1():
    standard = TargetNormaliser.fit(EXPRESSION, ROWS, NAMES).transform(EXPRESSION[ROWS])
    np.testing.assert_allclose(np.nanmean(standard, axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(np.nanstd(standard, axis=0), 1, atol=1e-5)
    assert np.array_equal(np.isnan(standard), np.isnan(EXPRESSION[ROWS]))


def test_other_rows_do_not_enter():
    poisoned = EXPRESSION.copy()
    poisoned[40:] = 1e6
    left, right = (TargetNormaliser.fit(values, ROWS, NAMES) for values in (EXPRESSION, poisoned))
    assert np.array_equal(left.mean, right.mean) and np.array_equal(left.std, right.std)


def test_a_hand_worked_column():
    # log1p of 0 and e^2 - 1 are 0 and 2: mean 1, spread 1.
    normaliser = TargetNormaliser.fit(np.array([[0.0], [np.e**2 - 1]]), np.array([0, 1]), ["x"])
    assert normaliser.mean.tolist() == pytest.approx([1]) and normaliser.std.tolist() == pytest.approx([1])
    assert normaliser.transform(np.array([[np.e**4 - 1]])).item() == pytest.approx(3)


def test_the_inverse_gives_the_expression_back_and_is_never_negative():
    normaliser = TargetNormaliser.fit(EXPRESSION, ROWS, NAMES)
    standard = normaliser.transform(EXPRESSION)
    np.testing.assert_allclose(normaliser.inverse(standard), EXPRESSION, rtol=1e-4)
    np.testing.assert_allclose(normaliser.to_log1p(standard), np.log1p(EXPRESSION), rtol=1e-5, atol=1e-5)
    assert normaliser.inverse(np.full((1, 3), -50.0)).tolist() == [[0, 0, 0]]


def test_json_keeps_every_bit():
    normaliser = TargetNormaliser.fit(EXPRESSION, ROWS, NAMES)
    again = TargetNormaliser.from_json(json.loads(json.dumps(normaliser.to_json())))
    assert again.columns == normaliser.columns
    assert np.array_equal(again.mean, normaliser.mean) and np.array_equal(again.std, normaliser.std)


def test_columns_that_cannot_be_learnt_are_named():
    constant = EXPRESSION.copy()
    constant[:, 0] = 3
    with pytest.raises(InputError, match="column 'liver': every training transcript has the value 3"):
        TargetNormaliser.fit(constant, ROWS, NAMES)
    missing = EXPRESSION.copy()
    missing[1:, 1] = np.nan
    with pytest.raises(InputError, match="column 'brain': 0 of 40 training transcripts"):
        TargetNormaliser.fit(missing, ROWS, NAMES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"transform": "log2"}, "transform 'log2'"),
        ({"mean": [1.0]}, "damaged"),
        ({"std": [1.0, 0.0, 1.0]}, "damaged"),
        ({"mean": ["a", "b", "c"]}, "not a target normaliser"),
    ],
)
def test_a_damaged_file_is_refused(change, message):
    value = TargetNormaliser.fit(EXPRESSION, ROWS, NAMES).to_json() | change
    with pytest.raises(InputError, match=f"model.json: .*{message}"):
        TargetNormaliser.from_json(value, "model.json")
    with pytest.raises(InputError, match="model.json: not a target normaliser"):
        TargetNormaliser.from_json([], "model.json")

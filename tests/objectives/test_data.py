import numpy as np
import pytest

from moo.errors import InputError
from objectives import Split, Splits

ONE = Split(np.zeros((3, 2)), np.zeros(3))


def test_pairs_become_splits() -> None:
    splits = Splits(train=(ONE.inputs, ONE.targets), validation=[ONE.inputs, ONE.targets])
    assert len(splits.validation) == 3
    assert splits.test is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((np.zeros(3), np.zeros(2)), "train: expected a target for each input .* got 3 inputs and 2 targets"),
        ((np.zeros(0), np.zeros(0)), "got 0 inputs"),
        (np.zeros(3), r"train: expected \(inputs, targets\), got ndarray"),
    ],
)
def test_data_that_do_not_fit_are_refused(given, said) -> None:
    with pytest.raises(InputError, match=said):
        Splits(train=given, validation=ONE)


def test_what_training_may_see_has_no_test_data() -> None:
    assert Splits(ONE, ONE, ONE).for_search().test is None

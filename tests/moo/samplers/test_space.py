import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from moo.samplers._space import SearchSpace, value_at

DISTRIBUTIONS: list[BaseDistribution] = [
    FloatDistribution(-2.0, 3.0),
    FloatDistribution(1e-5, 10.0, log=True),
    FloatDistribution(-1.0, 1.0, step=0.25),
    FloatDistribution(-10.2, 10.2, step=0.1),
    IntDistribution(-3, 9),
    IntDistribution(1, 1000, log=True),
    IntDistribution(2, 11, step=3),
    CategoricalDistribution(["a", None, 3, True]),
]


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=str)
@given(draw=st.floats(0, 1, exclude_max=True))
def test_a_draw_gives_a_value_of_the_distribution_that_survives_encoding(
    distribution: BaseDistribution, draw: float
) -> None:
    value = value_at(distribution, draw)
    assert type(value) in (float, int, str, bool, type(None))
    space = SearchSpace({"p": distribution})
    row = space.encode(np.array([space.internal({"p": value})]))
    assert space.decode(row[0])["p"] == (pytest.approx(value) if isinstance(value, float) else value)
    assert np.array_equal(space.snap(row), row)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS[2:], ids=str)
def test_a_discrete_column_lists_every_value_once(distribution: BaseDistribution) -> None:
    space = SearchSpace({"p": distribution})
    values = [space.decode(np.array([level]))["p"] for level in space.column_levels(0)]
    assert len(set(map(repr, values))) == int(space.n_levels[0]) == space.size
    assert space.codes(space.all_rows).size == np.unique(space.codes(space.all_rows)).size


def test_every_level_of_a_linear_discrete_parameter_is_as_likely() -> None:
    draws = np.linspace(0, 1, 9000, endpoint=False)
    for distribution in (DISTRIBUTIONS[2], DISTRIBUTIONS[4], DISTRIBUTIONS[6], DISTRIBUTIONS[7]):
        space = SearchSpace({"p": distribution})
        _, counts = np.unique(space.from_uniform(draws[:, None]), return_counts=True)
        assert counts.max() - counts.min() <= 2
        assert len(counts) == space.size


def test_a_value_outside_the_present_range_counts_as_missing() -> None:
    space = SearchSpace({"p": IntDistribution(0, 5), "q": FloatDistribution(1e-3, 1.0, log=True)})
    rows = space.encode(np.array([[6.0, 0.0], [5.0, -1.0], [-1.0, 1.0]]))
    assert np.isnan(rows).tolist() == [[True, True], [False, True], [True, False]]


def test_a_value_that_is_no_choice_counts_as_missing() -> None:
    space = SearchSpace({"p": CategoricalDistribution(["a", "b"]), "q": FloatDistribution(0, 1)})
    assert math.isnan(space.internal({"p": "c"})[0])
    assert math.isnan(space.internal({"q": "much"})[1])


def encoded(space: SearchSpace, configurations: list[dict]) -> np.ndarray:
    return space.encode(np.array([space.internal(params) for params in configurations]))


def conditional_space() -> tuple[SearchSpace, np.ndarray]:
    bare = SearchSpace(
        {
            "kind": CategoricalDistribution(["tree", "net"]),
            "depth": IntDistribution(1, 3),
            "n_layers": IntDistribution(1, 3),
            "width": CategoricalDistribution([8, 16]),
        }
    )
    configurations: list[dict] = [{"kind": "tree", "depth": depth} for depth in (1, 2, 3)]
    configurations += [{"kind": "net", "n_layers": 1}]
    configurations += [{"kind": "net", "n_layers": n, "width": w} for n in (2, 3) for w in (8, 16)]
    rows = encoded(bare, configurations)
    return SearchSpace(bare.distributions, bare.conditions_of(rows)), rows


def test_conditions_are_read_off_what_configurations_lack() -> None:
    space, rows = conditional_space()
    filled = np.where(np.isnan(rows), space.all_rows[0], rows)
    assert np.array_equal(space.without_inactive(filled), rows, equal_nan=True)


def test_a_conditional_space_lists_every_configuration_once() -> None:
    space, rows = conditional_space()
    listed = space.without_inactive(space.all_rows)
    assert len(listed) == len(rows)
    assert set(space.codes(listed).tolist()) == set(space.codes(rows).tolist())


def test_a_parameter_whose_absence_nothing_explains_is_taken_to_be_always_there() -> None:
    space = SearchSpace({"a": IntDistribution(0, 9), "b": FloatDistribution(0, 1)})
    rows = encoded(space, [{"a": 1, "b": 0.5}, {"a": 1}, {"a": 2, "b": 0.1}, {"a": 2}])
    assert space.conditions_of(rows) == ()


def test_different_configurations_have_different_codes() -> None:
    rng = np.random.default_rng(0)
    space = SearchSpace({f"p{i}": distribution for i, distribution in enumerate(DISTRIBUTIONS)})
    rows = space.from_uniform(rng.random((5000, len(DISTRIBUTIONS))))
    assert len(np.unique(space.codes(rows))) == len(np.unique(rows, axis=0))
    assert np.array_equal(space.codes(rows), space.codes(rows.copy()))

"""The page of `benchmarks.staging`, from made rows whose ratios can be told by hand."""

import pytest

from benchmarks.staging import MODES, _compared, page

FULL, COST, HALVED = MODES


def search(mode: str, seed: int, seconds: float, history, **counts: int) -> dict:
    """One search that ended with the last hypervolume of its history."""
    return {
        "mode": mode,
        "seed": seed,
        "seconds": seconds,
        "history": [(0.0, 0.0), *history],
        "hypervolume": history[-1][1] if history else 0.0,
        "broken_share": 0.6,
        "longer": 1,
        "n_trials": 40,
        "n_trained": 40,
        "n_stopped": 0,
        "n_before_training": 0,
        **counts,
    }


def seeds(*, n: int) -> list[dict]:
    """Searches of which the second takes half, the third a quarter of the first's 100, 200, .. seconds."""
    rows = []
    for seed in range(n):
        seconds = 100.0 * (seed + 1)
        rows += [
            search(FULL, seed, seconds, [(10.0, 0.5), (80.0, 1.0)]),
            search(COST, seed, seconds / 2, [(20.0, 0.95)], n_trained=16, n_before_training=24),
            search(HALVED, seed, seconds / 4, [(5.0, 0.9)], n_trained=16, n_stopped=6, n_before_training=24),
        ]
    return rows


def test_each_way_is_held_against_the_first_of_the_same_seed() -> None:
    found = _compared(seeds(n=3), COST)
    assert found == {
        "way": COST,
        "seeds": 3,
        "seconds, median": 100,
        "times faster": "2.00 (2.00 to 2.00)",
        "times faster to 95%": "4.00 (4.00 to 4.00)",  # 80 s against 20 s
        "hypervolume": "0.950 (0.950 to 0.950)",
        "trained": 48,
        "stopped in training": 0,
        "never trained": 72,
    }
    first = _compared(seeds(n=3), FULL)
    assert (first["times faster"], first["hypervolume"]) == ("1.00 (1.00 to 1.00)", "1.000 (1.000 to 1.000)")
    assert first["seconds, median"] == 200


def test_a_way_that_never_gets_there_is_no_times_faster() -> None:
    found = _compared(seeds(n=2), HALVED)
    assert found["times faster to 95%"] == "0.00 (0.00 to 0.00)"
    assert (found["times faster"], found["stopped in training"]) == ("4.00 (4.00 to 4.00)", 12)


def test_the_median_and_both_ends_over_the_seeds_are_told() -> None:
    rows = seeds(n=3)
    slow = next(row for row in rows if (row["mode"], row["seed"]) == (COST, 2))
    slow["seconds"] = 600.0
    assert _compared(rows, COST)["times faster"] == "2.00 (0.50 to 2.00)"


@pytest.mark.parametrize("left_out", MODES)
def test_a_seed_that_lacks_a_way_does_not_count(left_out) -> None:
    rows = [row for row in seeds(n=3) if (row["mode"], row["seed"]) != (left_out, 1)]
    assert _compared(rows, COST)["seeds"] == 2
    only = [row for row in seeds(n=1) if row["mode"] != left_out]
    assert _compared(only, COST) is None


def test_a_search_that_found_nothing_feasible_has_no_share_of_hypervolume() -> None:
    rows = [search(mode, 0, 10.0, []) for mode in MODES]
    assert _compared(rows, COST)["hypervolume"] == "-"


def cells(text: str, first: str) -> list[str]:
    """The cells of the line of a table that begins with a word."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {first} "))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_page_has_a_line_for_each_way() -> None:
    text = page(seeds(n=2), [], [])
    assert "60% of them break a constraint" in text
    for mode in MODES:
        assert cells(text, mode)[1] == "2"
    assert "fanout" not in text
    assert "curse" not in text


def test_candidates_a_minute_are_the_median_over_the_searches() -> None:
    rows = [
        {"fan_out": fan_out, "seconds": 60.0, "n_candidates": n, "n_trained": 6}
        for fan_out, counts in ((False, (6, 4, 5)), (True, (36, 30, 24)))
        for n in counts
    ]
    text = page([], rows, [])
    assert cells(text, "in one way each") == ["in one way each", "5", "15", "18"]
    assert cells(text, "in all ways") == ["in all ways", "30", "90", "18"]


def confirmed(search: float, value: float, verdict: str = "on") -> dict:
    """A candidate that was confirmed, within 10%."""
    ends = {"low": 0.9 * value, "high": 1.1 * value}
    return {"search": search, "confirmed": value, "verdict": verdict, **ends}


def test_what_fell_off_is_counted_of_the_fastest_and_of_all() -> None:
    curses = [
        {"front": [confirmed(1.0, 1.5, "off"), confirmed(2.0, 2.0)]},
        {"front": [confirmed(1.0, 1.0, "undecided"), confirmed(3.0, 2.0, "off")]},
    ]
    text = page([], [], curses)
    fastest, everyone = cells(text, "the fastest"), cells(text, "all")
    assert fastest[1:7] == ["2", "2", "1", "1", "1", "0"]
    assert everyone[1:7] == ["2", "4", "2", "1", "1", "1"]
    assert fastest[7] == "125.0 (100.0 to 150.0)"


def test_without_any_row_there_is_a_title_and_no_number() -> None:
    assert page([], [], []) == "# Cost first\n"

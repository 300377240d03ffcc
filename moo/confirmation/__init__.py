"""The honest second look at a front: who is measured again, how often, and what it says then.

| step | file |
|---|---|
| the front of the search and its near neighbours | `_choice.py` |
| rounds of fresh launches, more where it is undecided | `_race.py` |
| from launches to draws of a metric | `_launches.py` |
| from draws to P(on the front) and P(feasible), and why one fell off | `_assessment.py` |
| what is stored: `moo:confirmation`, and when the test data were opened | `_record.py` |

What a launch is, and how a candidate is retrained or scored on test data, is for `objectives` to say.
"""

from moo.confirmation._assessment import Assessment, Measured, assess
from moo.confirmation._choice import MOST_CANDIDATES, Candidate, Choice, choose_candidates
from moo.confirmation._launches import RoundLaunch
from moo.confirmation._race import DOUBT, FEWEST_ROUNDS, MOST_ROUNDS, Race, RaceEnd, is_undecided
from moo.confirmation._record import (
    CONFIRMATION,
    SCHEMA,
    TEST_OPENED,
    checked_confirmation,
    checked_openings,
    fallen,
    retraining_seed,
    spread,
)

__all__ = [
    "CONFIRMATION",
    "DOUBT",
    "FEWEST_ROUNDS",
    "MOST_CANDIDATES",
    "MOST_ROUNDS",
    "SCHEMA",
    "TEST_OPENED",
    "Assessment",
    "Candidate",
    "Choice",
    "Measured",
    "Race",
    "RaceEnd",
    "RoundLaunch",
    "assess",
    "checked_confirmation",
    "checked_openings",
    "choose_candidates",
    "fallen",
    "is_undecided",
    "retraining_seed",
    "spread",
]

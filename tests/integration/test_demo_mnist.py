"""`hansa demo --dataset mnist` on the real MNIST, where it is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.conftest import Shell

HELD = {
    "alice": {"0": 5923, "1": 6742, "2": 5958, "3": 6131},
    "bob": {"4": 5842, "5": 5421, "6": 5918},
    "charlie": {"7": 6265, "8": 5851, "9": 5949},
}
"""As the recipe's publication has it."""

GROUPS = {"alice": "0-3", "bob": "4-6", "charlie": "7-9"}


@pytest.mark.thorough
def test_the_published_counts_are_held_and_after_a_round_each_owner_knows_its_own_digits_only(
    shell: Shell, real_data: Path
) -> None:
    # One test for one run: it evaluates twelve models on 10,000 images, in one thread.
    arguments = "demo", "--simulate", "--dataset", "mnist", "--rounds", "2", "--json"
    ended = shell.in_terminal(*arguments, document=True, HANSA_DATA=str(real_data))
    assert ended.code == 0, ended.err
    assert "60000 examples to train on and 10000 to test" in ended.err
    assert "holds 5923 of 0, 6742 of 1, 5958 of 2, 6131 of 3, total 24754" in ended.err
    assert "total 17181" in ended.err
    assert "total 18065" in ended.err
    document = json.loads(ended.out)
    assert document["owners"] == HELD
    first = {each["model"]: each["shares"] for each in document["evaluations"] if each["round"] == 1}
    assert {owner: first[owner][group] for owner, group in GROUPS.items()} == dict.fromkeys(GROUPS, 1.0)
    assert max(first["federated"].values()) < 1
    assert [each["round"] for each in document["evaluations"] if each["model"] == "federated"] == [1, 2]


def test_the_counts_are_in_the_plain_output_before_anybody_trains(shell: Shell, real_data: Path) -> None:
    arguments = "demo", "--simulate", "--dataset", "mnist", "--rounds", "1000"
    ended = shell.interrupted(*arguments, once="testing ", HANSA_DATA=str(real_data))
    assert "alice    holds 5923 of 0, 6742 of 1, 5958 of 2, 6131 of 3, total 24754\n" in ended.out
    assert "bob      holds 5842 of 4, 5421 of 5, 5918 of 6, total 17181\n" in ended.out
    assert "charlie  holds 6265 of 7, 5851 of 8, 5949 of 9, total 18065\n" in ended.out
    assert "%" not in ended.out

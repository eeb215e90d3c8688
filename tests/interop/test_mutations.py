# SPDX-License-Identifier: MIT
"""Random offspring of the torture set and of ordinary messages: the server lives, stays small."""
from support import mutate


def test_mutations(heavy):
    found = mutate.mutate(1_000_000 if heavy else 20_000, seed=20)
    assert found["answers"].get("200", 0) > 0 and found["answers"].get("400", 0) > 0, found


def test_a_child_is_the_same_each_time():
    first, again, other = mutate.Mutator(3), mutate.Mutator(3), mutate.Mutator(4)
    assert [first.child(n) for n in range(300)] == [again.child(n) for n in range(300)]
    assert [first.child(n) for n in range(300)] != [other.child(n) for n in range(300)]

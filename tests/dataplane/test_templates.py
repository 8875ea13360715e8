"""Templates: what is found, what is learnt, and that neither grows without end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.dataplane.templates import (
    BRANCHES_LIMIT,
    FIRST_REVIEW,
    LAST_REVIEW,
    LESSONS,
    PATIENCE,
    TAUGHT,
    TEMPLATES_LIMIT,
    TRIED,
    VALUES,
    VARYING_LIMIT,
    Templates,
)


def _known(*templates: list[bytes]) -> Templates[bytes]:
    found: Templates[bytes] = Templates()
    for pieces in templates:
        found.learn(pieces, b"*".join(pieces))
    return found


def test_a_head_fits_from_its_first_byte_to_its_last() -> None:
    """Each value ends with its line."""
    found = _known([b"A: 1\r\nB:", b"\r\nC:", b"\r\n\r\n"])
    assert found.find(b"A: 1\r\nB: x\r\nC:\r\n\r\n") == b"A: 1\r\nB:*\r\nC:*\r\n\r\n"
    assert found.values == [b" x", b""]
    for other in (
        b"", b"A: 1\r\nB:", b"A: 1\r\nB: x", b"A: 1\r\nB: x\r\nC: y", b"A: 1\r\nB: x\r\nC: y\r\n", b"A: 1\r\nB: x\r\nC: y\r\n\r\nz", b"A: 2\r\nB: x\r\nC: y\r\n\r\n",
        b"A: 1\r\nB: x\r\nD: y\r\n\r\n", b"a: 1\r\nB: x\r\nC: y\r\n\r\n", b"A: 1\r\nB: x\r\nX: z\r\nC: y\r\n\r\n", b"A: 1\r\nB: \n\r\nC: y\r\n\r\n", b"A: 1\r\nB: \0\r\nC: y\r\n\r\n",
        b"A: 1\r\nB: x\r\nC: \x7f\r\n\r\n", b"A: 1\r\nB: x\rC: y\r\n\r\n",
    ):  # fmt: skip
        assert found.find(other) is None, other
    assert found.values == [b" x", b""], "what does not fit leaves no values"


@given(st.lists(st.lists(st.sampled_from([b"A", b"B", b"C", b"D"]), min_size=1, max_size=4), min_size=1, max_size=8), st.data())
def test_any_that_was_learnt_is_found(learnt: list[list[bytes]], data: st.DataObject) -> None:
    """Whatever others begin alike: the values that were put in come back, of the template that they were put into."""
    made = [[names[0] + b":", *[b"\r\n%b:" % name for name in names[1:]], b"\r\n\r\n"] for names in learnt]
    found = _known(*made)
    pieces = data.draw(st.sampled_from(made))
    values = data.draw(st.lists(st.from_regex(rb"[ -~\t\x80-\xff]*", fullmatch=True), min_size=len(pieces) - 1, max_size=len(pieces) - 1))
    head = b"".join(part for pair in zip(pieces, [*values, b""], strict=True) for part in pair)
    assert found.find(head) == b"*".join(pieces)
    assert found.values == values


def test_fields_vary_that_had_many_values() -> None:
    """It is asked again and again, less and less often, and what varied stays so."""
    found: Templates[bytes] = Templates()

    def show(name: bytes, values: int) -> None:
        for _ in range(values):
            found.note(name)

    def review(times: int) -> None:
        for _ in range(times):
            found.review()

    show(b"A", VALUES)
    show(b"B", VALUES - 1)
    review(FIRST_REVIEW - 1)
    assert not found.varying
    review(1)
    assert found.varying == {b"A"}
    show(b"B", 1)
    review(2 * FIRST_REVIEW)
    assert found.varying == {b"A"}, "of what was seen before the last review nothing counts"
    show(b"B", VALUES)
    review(4 * FIRST_REVIEW - 1)
    assert found.varying == {b"A"}
    review(1)
    assert found.varying == {b"A", b"B"}
    assert repr(found) == "Templates(0 of 2 varying fields)"
    review(4 * LAST_REVIEW)
    show(b"C", VALUES)
    review(LAST_REVIEW)
    assert found.varying == {b"A", b"B", b"C"}


def test_what_is_learnt_is_forgotten_when_more_varies() -> None:
    """Its pieces would end elsewhere now; what brings nothing new changes nothing."""
    found: Templates[bytes] = Templates()
    for name, is_forgotten in ((b"A", True), (b"A", False), (b"B", True)):
        found.learn([b"A:", b"\r\n\r\n"], b"a")
        for _ in range(VALUES):
            found.note(name)
        for _ in range(LAST_REVIEW):
            found.review()
        assert (found.find(b"A: 1\r\n\r\n") is None) == is_forgotten


def test_fields_that_vary_are_bounded() -> None:
    """Whoever sends one new name after the other makes it start anew, not grow."""
    found: Templates[bytes] = Templates()
    for batch in range(40):
        for number in range(VARYING_LIMIT if batch % 2 else 3):
            for _ in range(VALUES):
                found.note(b"X-%d-%d" % (batch, number))
        for _ in range(LAST_REVIEW):
            found.review()
        assert 0 < len(found.varying) <= VARYING_LIMIT
    for number in range(100_000):
        found.note(b"Y-%d" % number)
    assert len(found._new_values) <= 4096


def test_templates_are_bounded() -> None:
    """So are those that follow one piece, of which the newest are known."""
    found: Templates[int] = Templates()
    for number in range(3 * TEMPLATES_LIMIT):
        found.learn([b"A: %d\r\nB:" % (number // 10), b"\r\nC: %d\r\nD:" % (number % 10), b"\r\n\r\n"], number)
        assert found.find(b"A: %d\r\nB: x\r\nC: %d\r\nD: y\r\n\r\n" % (number // 10, number % 10)) == number
        assert len(found._root.behind) <= BRANCHES_LIMIT
    assert "of 0 varying" in repr(found)


def test_what_never_fits_is_hardly_tried() -> None:
    """Where nothing fits, looking for it must not cost much; one that fits, and all are tried again."""
    found = _known([b"A:", b"\r\n\r\n"])
    for _ in range(PATIENCE):
        assert found.find(b"B: 1\r\n\r\n") is None
    tried = [found.find(b"A: 1\r\n\r\n") is not None for _ in range(TRIED)]
    assert tried.index(True) == TRIED - PATIENCE % TRIED - 1
    assert all(tried[tried.index(True) :])


def test_what_never_fits_is_hardly_looked_at() -> None:
    """What fits nothing comes again, or not; where it does not, to look at it closely must not cost much."""
    found: Templates[bytes] = Templates()
    assert not any(found.wants_lesson() for _ in range(LESSONS)), "before it is known what varies there is nothing to learn"
    for _ in range(VALUES):
        found.note(b"A")
    for _ in range(FIRST_REVIEW):
        found.review()
    assert all(found.wants_lesson() for _ in range(LESSONS))
    assert sum(found.wants_lesson() for _ in range(10 * TAUGHT)) == 10


def test_heads_that_come_once_teach_nothing() -> None:
    """Nor do those without a blank, which are known by heart anyway."""
    found: Templates[bytes] = Templates()
    assert [found.is_worth_learning([b"A:", b"\r\n\r\n"]) for _ in range(3)] == [False, True, True]
    assert [found.is_worth_learning([b"A: 1\r\n\r\n"]) for _ in range(3)] == [False, False, False]

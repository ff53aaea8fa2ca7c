import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wrnexp.data.splits import stratified

labels_and_size = st.lists(st.integers(0, 6), min_size=1, max_size=60).flatmap(
    lambda labels: st.tuples(st.just(np.array(labels)), st.integers(0, len(labels)))
)


@given(labels_and_size)
def test_every_image_is_either_chosen_or_not(case: tuple[np.ndarray, int]) -> None:
    labels, size = case
    chosen, unchosen = stratified(labels, size)
    assert len(chosen) == size
    assert sorted([*chosen, *unchosen]) == list(range(len(labels)))
    assert (np.diff(chosen) > 0).all()
    assert (np.diff(unchosen) > 0).all()


@given(labels_and_size)
def test_every_class_gives_its_share_to_less_than_one_image(case: tuple[np.ndarray, int]) -> None:
    labels, size = case
    chosen, _ = stratified(labels, size)
    share = np.bincount(labels) * size / len(labels)
    assert (np.abs(np.bincount(labels[chosen], minlength=len(share)) - share) < 1).all()


@given(labels_and_size)
def test_of_a_class_the_first_are_chosen(case: tuple[np.ndarray, int]) -> None:
    labels, size = case
    chosen, unchosen = stratified(labels, size)
    for label in set(labels[chosen]) & set(labels[unchosen]):
        assert chosen[labels[chosen] == label].max() < unchosen[labels[unchosen] == label].min()


def test_largest_remainder_by_hand() -> None:
    labels = np.repeat([0, 1, 2], [5, 3, 2])  # 4 of 10: shares of 2.0, 1.2 and 0.8
    chosen, unchosen = stratified(labels, 4)
    assert chosen.tolist() == [0, 1, 5, 8]
    assert unchosen.tolist() == [2, 3, 4, 6, 7, 9]


def test_equal_classes_give_equally_much() -> None:
    chosen, _ = stratified(np.repeat(np.arange(100), 500), 5000)
    assert (chosen.reshape(100, 50) == np.arange(100)[:, None] * 500 + np.arange(50)).all()

"""Who gets what: an overlap, orders of one's own, nothing twice, nothing lost."""

from __future__ import annotations

from collections import Counter

import pytest
from hum_items import Clock, item, items, vote_on_all
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from croc_hum.schema import plain_image
from croc_hum.votes.store import Refused, Settings, Store

pytest_plugins = ("hum_store",)


def test_every_item_gets_the_overlap_and_nobody_sees_one_twice(make):
    store = make(items(30), overlap=3, attention_every=0)
    codes = [store.add_annotator().code for _ in range(5)]
    turns = [store.offer_item(code) for code in codes]
    while any(turns):
        for place, offer in enumerate(turns):
            if offer is not None:
                store.vote(codes[place], offer.offer_id, "yes")
                turns[place] = store.offer_item(codes[place])
    votes = list(store.votes())
    assert Counter(Counter(vote["item_id"] for vote in votes).values()) == {3: 30}
    assert len({(vote["annotator"], vote["item_id"]) for vote in votes}) == len(votes) == 90


def test_everyone_has_an_order_of_their_own_that_a_restart_does_not_change(tmp_path):
    rows = items(20)
    orders = []
    for place in range(2):
        with Store(tmp_path / f"{place}", Settings(overlap=9, attention_every=0)) as store:
            store.add_items(rows)
            orders.append(vote_on_all(store, store.add_annotator().code))
            orders.append(vote_on_all(store, store.add_annotator().code))
    assert all(sorted(order) == sorted(orders[0]) for order in orders)
    assert len({tuple(order) for order in orders}) == 4


def test_blocks_are_finished_before_the_next_is_begun(make):
    store = make(items(40), overlap=2, block=10, attention_every=0)
    blocks = {row["item_id"]: row["block"] for row in store.items()}
    assert Counter(blocks.values()) == {0: 10, 1: 10, 2: 10, 3: 10}
    for code in (store.add_annotator().code, store.add_annotator().code):
        seen = [blocks[name] for name in vote_on_all(store, code)]
        assert seen == sorted(seen)


def test_an_abandoned_item_goes_back_to_the_pool_and_is_refused_to_who_comes_too_late(make, clock):
    store = make(items(1), overlap=1, hold_s=60, attention_every=0)
    first, second = store.add_annotator().code, store.add_annotator().code
    left = store.offer_item(first)
    store.vote(first, left.offer_id, "yes")
    left = store.undo(first)  # an open item of somebody who has voted
    assert store.offer_item(second) is None
    clock.now += 61
    second_offer = store.offer_item(second)
    assert second_offer.item == left.item
    store.vote(second, second_offer.offer_id, "yes")
    with pytest.raises(Refused, match="other annotators have labelled this item"):
        store.vote(first, left.offer_id, "yes")
    assert store.offer_item(first) is None
    assert len(list(store.votes())) == 1


def test_who_only_begins_takes_nothing_from_others(make):
    store = make(items(12), overlap=2, attention_every=0)
    for _ in range(200):
        assert store.offer_item(store.add_annotator().code) is not None
    for _ in range(2):
        assert len(vote_on_all(store, store.add_annotator().code)) == 12
    assert store.offer_item(store.add_annotator().code) is None


def test_the_first_of_two_newcomers_on_the_last_place_gets_it(make):
    store = make(items(1), overlap=1, attention_every=0)
    codes = [store.add_annotator().code for _ in range(2)]
    offers = [store.offer_item(code) for code in codes]
    store.vote(codes[1], offers[1].offer_id, "yes")
    with pytest.raises(Refused, match="other annotators have labelled this item"):
        store.vote(codes[0], offers[0].offer_id, "yes")
    assert store.offer_item(codes[0]) is None


def test_an_open_item_is_held_for_who_has_voted(make):
    store = make(items(2), overlap=1, attention_every=0)
    first, second = store.add_annotator().code, store.add_annotator().code
    store.vote(first, store.offer_item(first).offer_id, "yes")
    assert store.offer_item(first) is not None
    assert store.offer_item(second) is None


def test_who_comes_back_before_others_finds_the_item_and_the_pause_is_not_counted(make, clock):
    store = make(items(5), overlap=1, hold_s=60, attention_every=0)
    code = store.add_annotator().code
    left = store.offer_item(code)
    clock.now += 10
    assert store.offer_item(code).offer_id == left.offer_id
    clock.now += 3600
    assert store.offer_item(code).offer_id == left.offer_id
    clock.now += 4
    store.vote(code, left.offer_id, "no")
    assert next(store.votes())["duration_s"] == 4


def test_leaving_gives_the_open_item_to_others_at_once(make):
    store = make(items(1), overlap=1, attention_every=0)
    first, second = store.add_annotator().code, store.add_annotator().code
    store.offer_item(first)
    store.release_items(first)
    assert store.offer_item(second) is not None


def test_attention_checks_come_to_everyone_once_in_every_run_and_stand_outside_the_overlap(make):
    store = make(items(30, attention=3), overlap=4, attention_every=10, block=60)
    obvious = {row["item_id"] for row in store.items() if row["attention"]}
    for _ in range(4):
        seen = vote_on_all(store, store.add_annotator().code)
        assert len(seen) == 33
        places = [place for place, name in enumerate(seen) if name in obvious]
        assert len(places) == 3
        ordinary = [place - number for number, place in enumerate(places)]
        assert [place // 10 for place in ordinary] == [0, 1, 2]


def test_a_limit_ends_the_work_of_one_and_not_of_others(make):
    store = make(items(10), overlap=2, limit=4, attention_every=0)
    assert len(vote_on_all(store, store.add_annotator().code)) == 4
    assert len(vote_on_all(store, store.add_annotator().code)) == 4


def test_the_same_image_is_not_shown_twice_unless_asked_for(make):
    image = item(0)["image"]
    rows = [item(0, task, image=image) for task in ("shows", "rating", "preference")]
    store = make(rows, attention_every=0)
    assert len(vote_on_all(store, store.add_annotator().code)) == 1
    store = make(rows, attention_every=0, repeat_images=True)
    assert len(vote_on_all(store, store.add_annotator().code)) == 3


def test_an_offer_tells_nothing_about_where_the_image_is_from(make):
    store = make(items(3), attention_every=0)
    offer = store.offer_item(store.add_annotator().code)
    assert set(offer.item) == {"item_id", "task", "category", "prompt", "contrast_prompt"}
    assert "secret-model" not in repr(offer.item)
    assert b"croc:scene" in offer.image
    shown, size = plain_image(offer.image)
    assert b"croc:scene" not in shown and size == (64, 64)


@hypothesis_settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from("nvubl")), max_size=40))
def test_whatever_people_do_the_overlap_holds_and_nothing_is_lost(tmp_path_factory, steps):
    clock = Clock()
    with Store(
        tmp_path_factory.mktemp("s") / "v", Settings(overlap=2, attention_every=0, hold_s=30), clock=clock
    ) as store:
        store.add_items(items(4))
        codes = [store.add_annotator().code for _ in range(3)]
        open_offers: dict[str, str] = {}
        standing: dict[str, list[str]] = {code: [] for code in codes}
        for place, step in steps:
            code = codes[place]
            clock.now += 7
            if step in "nb":
                offer = store.offer_item(code)
                open_offers[code] = offer.offer_id if offer else ""
            elif step == "v" and open_offers.get(code):
                try:
                    vote = store.vote(code, open_offers[code], "yes")
                except Refused:
                    continue
                if vote not in standing[code]:
                    standing[code].append(vote)
            elif step == "u" and standing[code]:
                offer = store.undo(code)
                standing[code].pop()
                open_offers[code] = offer.offer_id
            elif step == "l":
                store.release_items(code)
        votes = list(store.votes())
        assert {vote["vote_id"] for vote in votes} == {vote for mine in standing.values() for vote in mine}
        assert all(count <= 2 for count in Counter(vote["item_id"] for vote in votes).values())

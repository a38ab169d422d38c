import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.errors import IntegrationError
from hub.events.topics import Matcher, check_pattern, check_topic, is_everything, is_reserved, matches

WORDS = st.sampled_from(["a", "b", "agent"])
TOPICS = st.lists(WORDS, min_size=1, max_size=5).map(".".join)
PATTERNS = st.lists(st.one_of(WORDS, st.sampled_from(["*", "**"])), min_size=1, max_size=5).map(".".join)


@pytest.mark.parametrize(
    ("pattern", "topic", "expected"),
    [
        ("agent.created", "agent.created", True),
        ("agent.*", "agent.created", True),
        ("agent.*", "agentXcreated", False),
        ("agent.*", "agent", False),
        ("agent.*", "agent.created.twice", False),
        ("agent.**", "agent", True),
        ("agent.**", "agent.created.twice", True),
        ("**", "agent", True),
        ("*.created", "agent.created", True),
        ("**.created", "created", True),
        ("a.**.z", "a.z", True),
        ("a.**.z", "a.b.c.z", True),
        ("a.**.z", "a.b.c", False),
    ],
)
def test_a_star_is_one_word_and_two_stars_any_number(pattern, topic, expected):
    assert matches(pattern, topic) is expected


def as_regex(pattern):
    """The same rule said another way: a topic with a dot behind each word."""
    parts = {"*": r"[^.]+\.", "**": r"(?:[^.]+\.)*"}
    return re.compile("".join(parts.get(word, re.escape(word) + r"\.") for word in pattern.split(".")))


@given(PATTERNS, TOPICS)
def test_matching_agrees_with_a_regular_expression(pattern, topic):
    assert matches(pattern, topic) is bool(as_regex(pattern).fullmatch(topic + "."))


@given(st.lists(PATTERNS, max_size=30), TOPICS)
def test_the_matcher_finds_what_one_by_one_matching_finds_each_once(patterns, topic):
    matcher = Matcher()
    for number, pattern in enumerate(patterns):
        matcher.add(pattern, number)

    found = matcher.match(topic)

    assert sorted(found) == [number for number, pattern in enumerate(patterns) if matches(pattern, topic)]


@given(st.lists(PATTERNS, min_size=1, max_size=10), TOPICS)
def test_what_is_removed_is_not_found_and_leaves_no_branch(patterns, topic):
    matcher = Matcher()
    for number, pattern in enumerate(patterns):
        matcher.add(pattern, number)
    matcher.match(topic)

    for number, pattern in enumerate(patterns):
        matcher.remove(pattern, number)

    assert matcher.match(topic) == ()
    assert matcher._root.below == {}


def test_ten_thousand_patterns_cost_no_more_nodes_than_the_words_of_the_topic():
    matcher = Matcher()
    for number in range(10_000):
        matcher.add(f"layer{number}.*.created", number)
    matcher.add("**", "all")

    assert set(matcher.match("layer77.agent.created")) == {77, "all"}


NO_TOPICS = ["", ".", "a..b", "a.", ".a", "a b", "a\n", "a.created\n", "agent.*", "a" * 256, ".".join("a" * 9), None, 7, "ä"]


@pytest.mark.parametrize("topic", NO_TOPICS)
def test_what_is_no_topic_is_refused(topic):
    with pytest.raises(IntegrationError) as caught:
        check_topic(topic)

    assert caught.value.code == "E11101"
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("pattern", ["", "agent.(.+)+$", "agent*", "a.***", "a..*", "a.*\n", None, "*." * 9, "[a-z]"])
def test_what_is_no_pattern_is_refused(pattern):
    with pytest.raises(IntegrationError) as caught:
        check_pattern(pattern)

    assert caught.value.code == "E11105"


def test_topics_of_the_hub_are_reserved_and_patterns_for_everything_are_known():
    assert is_reserved("hub.circuit.opened")
    assert is_reserved("hub")
    assert not is_reserved("hubs.opened")
    assert is_everything("**")
    assert all(is_everything(pattern) for pattern in ("*.**", "**.*", "**.*.**"))
    assert not any(is_everything(pattern) for pattern in ("*", "*.*", "*.*.**", "agent.**"))
    assert is_everything("**.**")
    assert not is_everything("*")
    assert not is_everything("a.**")

"""Topics and patterns (pure).

A topic is one to eight words joined by dots: ``agent.created``. A pattern may hold wildcards in place of words:
``*`` stands for exactly one word, ``**`` for any number of words, none included. So ``agent.*`` matches
``agent.created`` but neither ``agent`` nor ``agent.created.twice``; ``agent.**`` matches all three.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Generic, TypeVar

from hub.errors import ErrorCode, IntegrationError

MAX_LENGTH = 255
MAX_WORDS = 8
ONE, MANY = "*", "**"
RESERVED = "hub."
"""Topics that only the hub itself publishes to."""
_WORD = re.compile(r"[A-Za-z0-9_-]{1,128}\Z")

T = TypeVar("T")


def check_topic(topic: object) -> None:
    """Refuse with E11101 what is no topic."""
    if not isinstance(topic, str) or not _is_dotted(topic, wildcards=False):
        raise IntegrationError(
            ErrorCode.TOPIC_INVALID,
            f"topic {_shown(topic)} is not one to {MAX_WORDS} words of A-Z a-z 0-9 _ - joined by dots",
            recovery_suggestion="name it like 'agent.created'",
        )


def check_pattern(pattern: object) -> None:
    """Refuse with E11105 what is no pattern."""
    if not isinstance(pattern, str) or not _is_dotted(pattern, wildcards=True):
        raise IntegrationError(
            ErrorCode.PATTERN_INVALID,
            f"pattern {_shown(pattern)} is not one to {MAX_WORDS} words, '*' or '**', joined by dots",
            recovery_suggestion="'agent.*' is one word behind agent, 'agent.**' any number",
        )


def _is_dotted(text: str, *, wildcards: bool) -> bool:
    if len(text) > MAX_LENGTH:
        return False
    words = text.split(".")
    return len(words) <= MAX_WORDS and all(_WORD.match(word) or (wildcards and word in (ONE, MANY)) for word in words)


def _shown(value: object) -> str:
    return repr(str(value)[:80])


def is_pattern(text: str) -> bool:
    """Tell whether `text` holds a wildcard."""
    return ONE in text


def is_everything(pattern: str) -> bool:
    """Tell whether `pattern` matches every topic: any number of words, of which it asks for one at most."""
    words = pattern.split(".")
    return MANY in words and set(words) <= {ONE, MANY} and words.count(ONE) <= 1


def is_reserved(topic: str) -> bool:
    """Tell whether only the hub may publish to `topic`."""
    return topic == RESERVED[:-1] or topic.startswith(RESERVED)


def matches(pattern: str, topic: str) -> bool:
    """Tell whether `pattern` matches `topic`, word by word."""
    states = _skip_many(pattern_words := pattern.split("."), {0})
    for word in topic.split("."):
        states = _skip_many(pattern_words, _step(pattern_words, states, word))
    return len(pattern_words) in states


def _step(pattern: list[str], states: set[int], word: str) -> set[int]:
    found = set()
    for at in states:
        if at < len(pattern) and pattern[at] == MANY:
            found.add(at)
        elif at < len(pattern) and pattern[at] in (ONE, word):
            found.add(at + 1)
    return found


def _skip_many(pattern: list[str], states: set[int]) -> set[int]:
    """Add the places that are reached when ``**`` stands for no word."""
    found = set(states)
    for at in sorted(states):
        while at < len(pattern) and pattern[at] == MANY:
            at += 1
            found.add(at)
    return found


class _Node(Generic[T]):
    """A place in the tree of patterns; the one behind ``**`` may take any number of words."""

    __slots__ = ("below", "many", "one", "takes_many", "values")

    def __init__(self, *, takes_many: bool = False) -> None:
        self.below: dict[str, _Node[T]] = {}
        self.one: _Node[T] | None = None
        self.many: _Node[T] | None = None
        self.values: dict[T, None] = {}
        self.takes_many = takes_many

    def is_empty(self) -> bool:
        """Tell whether no pattern goes through here."""
        return not (self.values or self.below or self.one or self.many)

    def child(self, word: str) -> _Node[T] | None:
        """Return the place behind a word of a pattern."""
        if word == ONE:
            return self.one
        return self.many if word == MANY else self.below.get(word)

    def put(self, word: str, node: _Node[T] | None) -> None:
        """Set the place behind a word of a pattern, or take it away."""
        if word == ONE:
            self.one = node
        elif word == MANY:
            self.many = node
        elif node is None:
            self.below.pop(word, None)
        else:
            self.below[word] = node


class Matcher(Generic[T]):
    """Which values (subscriptions) are behind the patterns that match a topic.

    A tree with one level per word: a topic visits the branches of its own words and of the wildcards only, so the
    cost depends on the words of the topic and not on the number of patterns. Recent topics are remembered.
    """

    REMEMBERED = 4_096

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()
        self._recent: OrderedDict[str, tuple[T, ...]] = OrderedDict()

    def add(self, pattern: str, value: T) -> None:
        """Put `value` behind `pattern`."""
        node = self._root
        for word in pattern.split("."):
            found = node.child(word)
            if found is None:
                found = _Node(takes_many=word == MANY)
                node.put(word, found)
            node = found
        node.values[value] = None
        self._recent.clear()

    def remove(self, pattern: str, value: T) -> None:
        """Take `value` from behind `pattern`; nothing happens when it is not there."""
        words, path = pattern.split("."), [self._root]
        for word in words:
            node = path[-1].child(word)
            if node is None:
                return
            path.append(node)
        path[-1].values.pop(value, None)
        for above, word, node in zip(reversed(path[:-1]), reversed(words), reversed(path), strict=False):
            if node.is_empty():
                above.put(word, None)
        self._recent.clear()

    def match(self, topic: str) -> tuple[T, ...]:
        """Return the values whose patterns match `topic`, each once."""
        if (known := self._recent.get(topic)) is not None:
            return known
        nodes = _with_empty_many([self._root])
        for word in topic.split("."):
            nodes = _with_empty_many(_next(nodes, word))
        found = tuple({value: None for node in nodes for value in node.values})
        self._remember(topic, found)
        return found

    def _remember(self, topic: str, found: tuple[T, ...]) -> None:
        self._recent[topic] = found
        if len(self._recent) > self.REMEMBERED:
            self._recent.popitem(last=False)


def _next(nodes: list[_Node[T]], word: str) -> list[_Node[T]]:
    """Return the places that taking `word` leads to."""
    found = []
    for node in nodes:
        if (below := node.below.get(word)) is not None:
            found.append(below)
        if node.one is not None:
            found.append(node.one)
        if node.takes_many:
            found.append(node)
    return found


def _with_empty_many(nodes: list[_Node[T]]) -> list[_Node[T]]:
    """Add to `nodes` those behind them that are reached when ``**`` takes no word."""
    for node in nodes:  # grows while it is walked: behind ``**`` may be another
        if node.many is not None and node.many not in nodes:
            nodes.append(node.many)
    return nodes

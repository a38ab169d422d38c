"""The JSON gate: what one store cannot hold is refused for all."""

import pytest

from hub.errors import ErrorCode, IntegrationError
from hub.json_values import check_json


def nested(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "a\x00b", "\ud800", 2**63, -(2**63) - 1, {1: "x"}, object(), b"x"])
def test_values_that_a_store_cannot_hold_are_refused(value):
    with pytest.raises(IntegrationError) as refused:
        check_json({"a": [value]}, what="data", max_bytes=1000)

    assert refused.value.code is ErrorCode.JSON_VALUE_REFUSED


def test_depth_is_limited():
    check_json(nested(64), what="data", max_bytes=1000)

    with pytest.raises(IntegrationError, match=r"^E11906: data is nested deeper than 64"):
        check_json(nested(65), what="data", max_bytes=1000)


def test_size_is_counted_in_bytes_not_characters():
    check_json("é" * 10, what="data", max_bytes=22)

    with pytest.raises(IntegrationError, match=r"^E11960: data has 22 bytes, the limit is 21"):
        check_json("é" * 10, what="data", max_bytes=21)


def test_plain_values_come_back_as_compact_text():
    assert check_json({"a": [1, 2.5, None, True, "ü"]}, what="data", max_bytes=100) == '{"a":[1,2.5,null,true,"ü"]}'


@pytest.mark.parametrize("value", [{"$sealed": "gAAAAAB"}, {"a": [{"$sealed": "gAAAAAB"}]}, {"$sealed": "x", "b": 1}])
def test_nobody_may_send_what_stands_for_a_sealed_value(value):
    """Else who saw one in a backup would have it opened for himself."""
    with pytest.raises(IntegrationError, match=r"^E11905: .*\$sealed"):
        check_json(value, what="data", max_bytes=1_000)

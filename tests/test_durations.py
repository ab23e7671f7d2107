import pytest

from behavio.durations import seconds
from behavio.errors import JobError


@pytest.mark.parametrize(
    ("text", "expected"),
    [("45s", 45), ("30m", 1_800), ("12h", 43_200), ("14d", 1_209_600), ("2w", 1_209_600), (" 1.5 h ", 5_400)],
)
def test_a_number_and_a_unit(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "14", "d", "-3d", "1 month", "1e3s", "٣d", "14D", "nan d", 14, None])
def test_nonsense_is_refused_with_the_units_named(text):
    with pytest.raises(JobError) as caught:
        seconds(text)
    assert '"14d"' in caught.value.hint

"""What the user may decide about contact pressure."""

from __future__ import annotations

from dataclasses import dataclass

from behavio.durations import seconds
from behavio.errors import JobError


@dataclass(frozen=True)
class PressureSettings:
    """The table [pressure] of a job.

    window            contacts are counted over this long, the one at hand included
    response_within   how long after a contact an answer counts in the shares answered that are shown (until
                      the next contact at most); bands are judged by all the time of a case, however late
    responses         activities that count as an answer; default: inbound ones that are no reaction inside a
                      contact and no refusal
    refusals          inbound activities that are no answer
    parts_of_contact  outbound activities that belong to another contact and are none of their own
    """

    window: str = "28d"
    response_within: str = "3d"
    responses: tuple[str, ...] | None = None
    refusals: tuple[str, ...] = ("email_unsubscribe",)
    parts_of_contact: tuple[str, ...] = ("message_shown",)

    def __post_init__(self) -> None:
        for name in ("window", "response_within"):
            if seconds(getattr(self, name)) <= 0:
                raise JobError(f"{name} must be longer than nothing", hint='write a duration such as "28d"')
        if seconds(self.response_within) >= seconds(self.window):
            raise JobError(
                "response_within must be shorter than the window", hint='for example "3d" and "28d"'
            )
        if self.responses is not None and not self.responses:
            raise JobError("responses is empty", hint='name activities: responses = ["email_open"]')

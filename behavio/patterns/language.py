"""A small language for patterns: `email_sent -> email_open -> portal_visit within 14d, no call_f2f`.

    pattern     [^] steps [$] {, clause}            ^ at the case's first event, $ at its last
    steps       step {-> step}  or  {=> step}       -> later, => directly next
    step        one [repeat] [within 14d | within 3 events] [of STEP] [after 2d]
    one         name [tests] | * | ( steps )  and alternatives of these with |
    repeat      {2}  {2,}  {2,4}  +  ?
    tests       [brand=X, message~"Efficacy"]       = != ~ (contains) < <= > >=, values may be A|B
    clause      within 14d  |  no ONE  |  no ONE before STEP  |  no ONE after STEP [within 30d]
                |  no ONE between STEP and STEP

`within` inside counts from the step before; after the last step, or as a clause, it counts from the first
event to the last. `no x` forbids x between the first and the last event of the match. Names are activities;
they may hold * (call_*) and need quotes only where they hold a character of the language.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from fnmatch import fnmatchcase

from behavio.durations import WRITTEN, seconds
from behavio.errors import JobError
from behavio.patterns.nodes import ANY_TIME, Ban, Either, Item, Link, Pattern, Step, Steps, Test

KEYWORDS = ("within", "after", "before", "between", "and", "no", "of", "events", "event")
ENDS_NAME = set(" \t\n\r,()[]{}|\"'^$=<>!~+?*→")
TEST_SIGNS = ("!=", "<=", ">=", "=", "~", "<", ">")


class PatternError(JobError):
    """A pattern that cannot be read: shows the place, what was expected, and the nearest name."""

    def __init__(self, text: str, at: int, said: str, hint: str = "") -> None:
        super().__init__(f"{said}\n  {text}\n  {' ' * min(at, len(text))}^", hint=hint)
        self.at = at


def parse(text: str, activities: Sequence[str], fields: Sequence[str] = ()) -> Pattern:
    """Read a pattern; activities and fields are those the log has. Raises PatternError."""
    return _Parser(text, activities, fields).pattern()


class _Parser:
    """Reads from left to right; `at` is the next character."""

    def __init__(self, text: str, activities: Sequence[str], fields: Sequence[str]) -> None:
        self.text, self.at, self.depth = text, 0, 0
        self.activities, self.fields = tuple(activities), tuple(fields)
        self.longest_first = sorted(self.activities, key=len, reverse=True)

    # characters

    def _space(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def _sign(self, *signs: str) -> str:
        """The sign that comes next, passed over; "" when none of them does."""
        self._space()
        for sign in signs:
            if self.text.startswith(sign, self.at):
                self.at += len(sign)
                return sign
        return ""

    def _word(self, *words: str) -> str:
        """The keyword that comes next, passed over; "" when none of them does."""
        self._space()
        for word in words:
            end = self.at + len(word)
            if self.text[self.at : end].lower() == word and (
                end == len(self.text) or self.text[end] in ENDS_NAME
            ):
                self.at = end
                return word
        return ""

    def _wrong(self, expected: str, hint: str = "", at: int | None = None) -> PatternError:
        self._space()
        place = self.at if at is None else at
        seen = repr(self.text[place]) if place < len(self.text) else "the end"
        return PatternError(self.text, place, f"expected {expected}, found {seen}", hint)

    def _need(self, sign: str) -> None:
        if not self._sign(sign):
            raise self._wrong(repr(sign))

    # the whole

    def pattern(self) -> Pattern:
        """All of the text."""
        if not self.text.strip():
            raise PatternError(
                self.text, 0, "the pattern is empty", 'for example "email_open -> portal_visit"'
            )
        at_start = bool(self._sign("^"))
        steps, whole = self._steps(top=True)
        at_end = bool(self._sign("$"))
        bans: list[Ban] = []
        while self._sign(","):
            if self._word("within"):
                whole = self._limit(whole)
            elif self._word("no"):
                bans.append(self._ban(steps))
            else:
                raise self._wrong("'no' or 'within' after the comma", "for example: , no call_f2f")
        self._space()
        if self.at < len(self.text):
            more = "within 14d, after 2d, {2,}, " if not at_end else ""
            raise self._wrong(f"{more}'->', '=>', ',' or the end", self._joined_name())
        return Pattern(self.text, steps, at_start, at_end, whole, tuple(bans))

    def _joined_name(self) -> str:
        """A hint where a name of several words was not known."""
        rest = self.text[self.at :].split("->")[0].split(",")[0].strip()
        before = self.text[: self.at].replace("=>", "->").split("->")[-1].strip()
        near = get_close_matches(f"{before} {rest}", self.activities, 1)
        return f"did you mean {near[0]!r}?" if near else "names with signs of the language need quotes"

    def _steps(self, top: bool = False) -> tuple[Steps, Link]:
        items: list[Item] = []
        whole = Link()
        link = Link()
        while True:
            item, own, of = self._item(link, items)
            arrow = self._arrow()
            if top and not arrow and not of and own != Link():
                whole, own = replace(own, min_time=0), Link(min_time=own.min_time)
            if own != Link() and not items:
                where = "first step" if top else "first step in the parentheses"
                raise PatternError(
                    self.text, self.at, f"nothing comes before the {where}", "put the limit on a later step"
                )
            items.append(replace(item, link=_joined(link, own)))
            if not arrow:
                return Steps(tuple(items)), whole
            link = Link(max_events=1) if arrow == "=>" else Link()

    def _arrow(self) -> str:
        found = self._sign("->", "=>", "→")
        self._space()
        if not found and self.text.startswith(("-", "="), self.at):
            raise self._wrong("'->' (later) or '=>' (directly next)")
        return found

    def _item(self, link: Link, before: list[Item]) -> tuple[Item, Link, bool]:
        """One item, its limits, and whether they say since when they count."""
        self._space()
        start = self.at
        part, least, most = self._either()
        text = self.text[start : self.at].strip()
        own, of = Link(), False
        while word := self._word("within", "after"):
            if word == "after":
                own = replace(own, min_time=self._duration())
                continue
            own = self._limit(own)
            if self._word("of"):
                of = True
                self._space()
                at = self.at
                self._either()
                said, known = self.text[at : self.at].strip(), before[-1].text if before else ""
                if said != known:
                    hint = f"the step before is {known!r}" if known else "there is no step before"
                    raise PatternError(self.text, at, "within … of looks back to the step before", hint)
        return Item(part, least, most, link, text), own, of

    def _either(self) -> tuple[Step | Either | Steps, int, int | None]:
        """One or several alternatives, and how often: a repetition belongs to the alternative it follows."""
        self._space()
        start = self.at
        options: list[Item] = []
        while not options or self._sign("|"):
            self._space()
            here = self.at
            part = self._one()
            options.append(Item(part, *self._repeat(), Link(), self.text[here : self.at].strip()))
        if len(options) == 1:
            return options[0].part, options[0].least, options[0].most
        parts = [o.part if (o.least, o.most) == (1, 1) else Steps((o,)) for o in options]
        return Either(tuple(parts), self.text[start : self.at].strip()), 1, 1

    def _one(self) -> Step | Steps | Either:
        if self._sign("("):
            self.depth += 1
            if self.depth > 20:
                raise self._wrong("fewer parentheses inside each other")
            steps, _ = self._steps()
            self._need(")")
            self.depth -= 1
            return steps
        return self._step()

    def _step(self) -> Step:
        self._space()
        start = self.at
        names = self._names()
        tests: list[Test] = []
        if self._sign("["):
            tests.append(self._test())
            while self._sign(","):
                tests.append(self._test())
            self._need("]")
        return Step(names, tuple(tests), self.text[start : self.at].strip(), start)

    # names and values

    def _names(self) -> tuple[str, ...] | None:
        """The activities meant; None for all."""
        self._space()
        start = self.at
        if self.text.startswith(('"', "'"), self.at):
            return (self._known(self._quoted(), start),)
        for name in self.longest_first:
            end = start + len(name)
            if (
                name
                and self.text.startswith(name, start)
                and (
                    end == len(self.text)
                    or self.text[end] in ENDS_NAME - {"*"}
                    or self.text.startswith("->", end)
                )
            ):
                self.at = end
                return (name,)
        word = self._bare(stars=True)
        if not word:
            raise self._wrong("an activity, '*' or '('", self._example())
        if set(word) == {"*"}:
            return None
        if "*" in word:
            found = tuple(a for a in self.activities if fnmatchcase(a, word.replace("[", "[[]")))
            if not found:
                raise PatternError(self.text, start, f"no activity is like {word!r}", self._example())
            return found
        return (self._known(word, start),)

    def _example(self) -> str:
        return f"the log has, for example, {', '.join(self.activities[:3])}" if self.activities else ""

    def _known(self, name: str, at: int) -> str:
        if name in self.activities:
            return name
        near = get_close_matches(name, self.activities, 1) or [
            a for a in self.activities if a.lower() == name.lower()
        ]
        if name.lower() in KEYWORDS and not near:
            self.at = at
            raise self._wrong("an activity, '*' or '('", self._example())
        hint = f"did you mean {near[0]!r}?" if near else self._example()
        raise PatternError(self.text, at, f"the log has no activity {name!r}", hint)

    def _bare(self, stars: bool = False) -> str:
        start = self.at
        stop = ENDS_NAME - {"*"} if stars else ENDS_NAME
        while (
            self.at < len(self.text)
            and self.text[self.at] not in stop
            and not self.text.startswith("->", self.at)
        ):
            self.at += 1
        return self.text[start : self.at]

    def _quoted(self) -> str:
        mark, start = self.text[self.at], self.at
        end = self.text.find(mark, start + 1)
        if end < 0:
            raise PatternError(
                self.text, start, f"this {mark} is never closed", f"add {mark} at the end of it"
            )
        self.at = end + 1
        return self.text[start + 1 : end]

    def _test(self) -> Test:
        self._space()
        at = self.at
        field = self._bare()
        if field not in self.fields:
            near = get_close_matches(field, self.fields, 1, 0.5)
            listed = f"it has {', '.join(self.fields)}" if self.fields else "it has none"
            hint = f"did you mean {near[0]!r}?" if near else listed
            raise PatternError(self.text, at, f"the log has no attribute {field!r}", hint)
        sign = self._sign(*TEST_SIGNS)
        if not sign:
            raise self._wrong("one of = != ~ < <= > >=")
        values = [self._value()]
        while self._sign("|"):
            values.append(self._value())
        return Test(field, sign, tuple(values), at)

    def _value(self) -> str:
        self._space()
        if self.text.startswith(('"', "'"), self.at):
            return self._quoted()
        start = self.at
        while self.at < len(self.text) and self.text[self.at] not in ",]|":
            self.at += 1
        value = self.text[start : self.at].strip()
        if not value:
            raise self._wrong("a value", 'for example [brand=X] or [message~"Efficacy"]')
        return value

    # numbers

    def _repeat(self) -> tuple[int, int | None]:
        sign = self._sign("{", "+", "?")
        if sign == "+":
            return 1, None
        if sign == "?":
            return 0, 1
        if not sign:
            return 1, 1
        at = self.at
        least = self._number()
        most: int | None = least
        if self._sign(","):
            self._space()
            most = self._number() if self.text[self.at : self.at + 1].isdigit() else None
        self._need("}")
        if most is not None and most < max(least, 1):
            raise PatternError(self.text, at, f"{{{least},{most}}} repeats nothing", "write {2,} or {2,4}")
        return least, most

    def _number(self) -> int:
        self._space()
        start = self.at
        while self.at < len(self.text) and self.text[self.at].isascii() and self.text[self.at].isdigit():
            self.at += 1
        if start == self.at:
            raise self._wrong("a number")
        return int(self.text[start : self.at])

    def _limit(self, link: Link) -> Link:
        """`14d` or `3 events` added to the limits."""
        self._space()
        start = self.at
        while self.at < len(self.text) and self.text[self.at].isdigit():
            self.at += 1
        if start < self.at and self._word("events", "event"):
            return replace(link, max_events=max(int(self.text[start : self.at].split()[0]), 1))
        self.at = start
        return replace(link, max_time=self._duration())

    def _duration(self) -> int:
        self._space()
        found = WRITTEN.match(self.text, self.at)
        if not found or (found.end(2) < len(self.text) and self.text[found.end(2)] not in ENDS_NAME):
            raise self._wrong("a duration", 'a number and a unit: "45s", "30m", "12h", "14d" or "2w"')
        self.at = found.end(2)
        return int(seconds(found[0]) * 1e6)

    # clauses

    def _ban(self, steps: Steps) -> Ban:
        self._space()
        start = self.at
        either, _, _ = self._either()
        options = either.options if isinstance(either, Either) else (either,)
        single = tuple(o for o in options if isinstance(o, Step))
        if len(single) < len(options):
            raise PatternError(
                self.text, start, "'no' takes single events", "for example: no call_f2f|call_phone"
            )
        end = len(steps.items) - 1
        if self._word("before"):
            last = self._item_named(steps)
            return Ban(single, "before" if last else "start", 0, last, ANY_TIME)
        if self._word("after"):
            first = self._item_named(steps)
            if first < end:
                return Ban(single, "between", first, end, ANY_TIME)
            within = self._duration() if self._word("within") else ANY_TIME
            return Ban(single, "end", end, end, within)
        if self._word("between"):
            first = self._item_named(steps)
            if not self._word("and"):
                raise self._wrong("'and'", "for example: no call_f2f between email_sent and portal_visit")
            last = self._item_named(steps)
            if last <= first:
                raise self._wrong("a step that comes after the other one")
            return Ban(single, "between", first, last, ANY_TIME)
        return Ban(single, "whole", 0, end, ANY_TIME)

    def _item_named(self, steps: Steps) -> int:
        """Which item of the top level this step is."""
        self._space()
        at = self.at
        self._either()
        said = self.text[at : self.at].strip()
        texts = [item.text for item in steps.items]
        for i, item in enumerate(steps.items):
            whole = getattr(item.part, "text", item.text)
            if said in (item.text, whole) or said.strip("\"'") == item.text.strip("\"'"):
                return i
        raise PatternError(
            self.text, at, f"{said!r} is no step of this pattern", f"its steps are {', '.join(texts)}"
        )


def _joined(arrow: Link, own: Link) -> Link:
    """The limits of an arrow and of the step after it."""
    events = [n for n in (arrow.max_events, own.max_events) if n]
    return Link(own.max_time, min(events, default=0), own.min_time)

"""What the pages say of numbers, in the reader's language: the same words in the table, at the pointer and for screen readers."""

from collections.abc import Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

from babel.dates import format_date, format_skeleton

from cloud.counts.bins import Watch
from cloud.counts.periods import HOUR, local_day
from cloud.fleet.alerts import Kind
from cloud.web.codes import ALERT_TITLES, LABEL_NAMES
from cloud.web.compliance import RankAnswer, Why
from cloud.web.door import Slot, weekday_names
from cloud.web.language import Language, interval, number
from cloud.web.spans import Bin, Shown, Span
from contract.labels import Label

DOT = " \N{MIDDLE DOT} "
NO_BREAK = "\N{NO-BREAK SPACE}"


class Words:
    """Sentences of one language, with the times of one zone."""

    def __init__(self, language: Language, zone: ZoneInfo) -> None:
        self._language, self._zone = language, zone

    @property
    def labels(self) -> Mapping[Label, str]:
        return {label: self._language.say(name) for label, name in LABEL_NAMES.items()}

    @property
    def watches(self) -> Mapping[Watch, str]:
        say = self._language.say
        return {
            Watch.WATCHED: say("observed"),
            Watch.PARTLY: say("partly observed"),
            Watch.UNSEEN: say("not observed"),
            Watch.CLOSED: say("closed"),
            Watch.UNTOLD: say("not known whether observed"),
            Watch.AHEAD: say("nothing yet"),
        }

    @property
    def states(self) -> Mapping[str, str]:
        say = self._language.say
        return {"online": say("online"), "offline": say("offline"), "silent": say("silent")}

    @property
    def kinds(self) -> Mapping[Kind, str]:
        return {kind: self._language.say(title) for kind, title in ALERT_TITLES.items()}

    @property
    def spans(self) -> Mapping[Span, str]:
        say = self._language.say
        return {Span.TODAY: say("Today"), Span.WEEK: say("7 days"), Span.MONTH: say("28 days")}

    @property
    def weekdays(self) -> list[tuple[str, str]]:
        """Monday first, each short and in full."""
        locale = self._language.locale
        return [
            (format_date(day, "EEEEEE", locale=locale), format_date(day, "EEEE", locale=locale)) for day in weekday_names()
        ]  # fmt: skip

    def share(self, one: Shown | None) -> str:
        """`63 %`, or a dash."""
        return self._language.percent(one.rate) if one else "\N{EN DASH}"

    def hours(self, start: datetime) -> str:
        """09:00-10:00 of the zone."""
        begin, end = start.astimezone(self._zone), (start + HOUR).astimezone(self._zone)
        return f"{begin:%H:%M}\N{EN DASH}{end:%H:%M}"

    def when(self, one: Bin, span: Span) -> str:
        """The name of an hour or a day."""
        if span is Span.TODAY:
            return self.hours(one.start)
        return format_skeleton("MMMEd", local_day(one.start, self._zone), locale=self._language.locale)

    def tick(self, start: datetime, span: Span) -> str:
        """The same, short, for an axis."""
        if span is Span.TODAY:
            return f"{start.astimezone(self._zone):%H:%M}"
        return format_skeleton("MMMd", local_day(start, self._zone), locale=self._language.locale)

    def bin(self, one: Bin) -> str:
        """All that is known of an hour or day, as one line."""
        say, passes, share = self._language.say, one.estimate.passes, one.shown
        if passes is None:
            return self.watches[one.watch]
        parts = [self._language.plural(passes, "pass", "passes")]
        if one.running:
            parts[0] = say("{passes} so far").format(passes=parts[0])
        if share:
            text = say("{share} properly worn, interval {interval}") if share.corrected else say(
                "{share} properly worn as counted, interval {interval}"
            )  # fmt: skip
            parts.insert(0, text.format(share=self._language.percent(share.rate), interval=interval(share)))
        elif passes:
            parts.append(say("too few for a share"))
        if one.watch is not Watch.WATCHED:
            parts.append(self.watch(one))
        if one.release is not None:
            parts.append(say("release {number} begins").format(number=one.release))
        return DOT.join(parts)

    def watch(self, one: Bin) -> str:
        """How far it was watched, with its share where that is not all or nothing."""
        seen = one.estimate.observed.share
        if one.watch in (Watch.WATCHED, Watch.PARTLY) and seen is not None:
            return self._language.say("{share} observed").format(share=self._language.percent(seen))
        return self.watches[one.watch]

    def slot(self, one: Slot) -> str:
        """An hour of today beside its usual."""
        say = self._language.say
        first = self.watches[one.watch] if one.passes is None else self._language.plural(one.passes, "pass", "passes")
        if one.passes is not None and one.running:
            first = say("{passes} so far").format(passes=first)
        parts = [first]
        if one.passes is not None and one.watch in (Watch.PARTLY, Watch.UNTOLD):
            parts.append(self.watches[one.watch])
        if one.band:
            text = say("usually {median}, between {low} and {high}")
            low, middle, high = (number(round(value)) for value in (one.band.low, one.band.median, one.band.high))
            parts.append(text.format(median=middle, low=low, high=high))
        return DOT.join(parts)

    def against(self, today: Shown | None, before: Shown | None) -> str:
        """Whether today's share is unlike the usual one."""
        say = self._language.say
        if today is None or before is None or today.corrected != before.corrected:
            return say("Too little is known to compare.")
        if not today.apart(before):
            return say("Their intervals overlap: today cannot be told apart from the usual.")
        if today.rate > before.rate:
            return say("Today is higher than usual: the intervals do not touch.")
        return say("Today is lower than usual: the intervals do not touch.")

    def rank(self, rank: RankAnswer | None, of: int) -> str:
        """A place where it is sure, places where it is not, and nothing where no place can be told."""
        say = self._language.say
        if rank is None:
            return "\N{EN DASH}"
        if of < 2:
            return say("the only one")
        if rank.best == rank.worst:
            return say("{place} of {doors}").format(place=rank.best, doors=of)
        if rank.best == 1 and rank.worst == of:
            return say("cannot be told apart")
        return say("{best} to {worst} of {doors}").format(best=rank.best, worst=rank.worst, doors=of)

    def why(self, why: Why | None, lacking: list[int], least: int) -> str:
        """Why there is no corrected number."""
        say = self._language.say
        if why is Why.NO_PASSES:
            return say("No passes yet.")
        if why is Why.FEW_PASSES:
            return say("Too few passes: a share needs {least}.").format(least=least)
        if why is Why.FEW_LABELS and lacking:
            text = say("Not corrected: too few control labels of release {releases} yet; {least} are needed.")
            return text.format(releases=", ".join(map(str, lacking)), least=least)
        return ""

"""What is claimed, held against the records: the ledgers of conf/claims, and what becomes of their claims."""

from collections.abc import Mapping, Sequence

from wrnexp.report.arms import Arm
from wrnexp.report.claims.judged import Claim, ClaimVerdict, held, judge
from wrnexp.report.claims.ledger import Entry, Ledger, read_ledger, read_ledgers
from wrnexp.report.claims.scope import ELSEWHERE

__all__ = ["ELSEWHERE", "Claim", "ClaimVerdict", "Entry", "Ledger", "judge", "read_ledger", "read_ledgers"]
LIGHT = "light"  # the ledger that any two arms can be held against


def all_claims(arms: Sequence[Arm], ledgers: Mapping[str, Ledger]) -> list[Claim]:
    """Hold ledgers against the arms of a report: those of which at least one claim has its arms there."""
    labelled = {arm.label: arm for arm in arms}
    found = []
    for ledger in ledgers.values():
        claims = [held(ledger, entry, *_arms(ledger, entry, labelled)) for entry in ledger.claims]
        if any(claim.scope for claim in claims):
            found += claims
    return found


def pair_claims(a: Arm, b: Arm, ledgers: Mapping[str, Ledger]) -> list[Claim]:
    """Hold what is claimed of light against base against any two arms; a level is claimed of light alone."""
    ledger = ledgers[LIGHT]
    kept = [entry for entry in ledger.claims if entry.compare != "level" or b.label in ledger.b]
    return [held(ledger, entry, a, b) for entry in kept]


def _arms(ledger: Ledger, entry: Entry, labelled: Mapping[str, Arm]) -> tuple[Arm | None, Arm | None]:
    """Return the arms that an entry is about: of its labels the first pair that is there, else the first that are."""
    first, second = ledger.labels(entry)
    for a, b in zip(first, second, strict=False):
        if a in labelled and b in labelled:
            return labelled[a], labelled[b]
    if entry.compare == "level":
        return None, next((labelled[label] for label in second if label in labelled), None)
    return None, None

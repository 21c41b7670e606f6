"""Checks of what runs when a row is saved: Apex triggers, flows, validation and duplicate rules."""

from __future__ import annotations

from collections.abc import Iterator

from kpc.campaign.system_check import CheckSubject, SystemCheck
from kpc.campaign.target_facts import TargetFacts

# By kind: where it is visible, how it affects a load, and what a person can do about it.
_KINDS = {
    "trigger": (
        "ApexTrigger",
        "runs for every 200 rows: it slows the load, may change fields after they are written and may refuse rows",
        "Ask its owner whether it may be switched off for the integration user during the load (a bypass setting).",
    ),
    "flow": (
        "FlowDefinitionView",
        "runs for every row: it may change fields, send mail, or refuse rows with CANNOT_EXECUTE_FLOW_TRIGGER",
        "Deactivate it for the load, or let its entry conditions leave out the integration user.",
    ),
    "validation rule": (
        "ValidationRule",
        "refuses historical rows that it was not made for, with FIELD_CUSTOM_VALIDATION_EXCEPTION",
        "Deactivate it for the load, or leave out the integration user in its formula ($User.Username).",
    ),
    "duplicate rule": (
        "DuplicateRule",
        "refuses rows that look alike with DUPLICATES_DETECTED, although their external ids differ",
        "Deactivate it for the load, or let it bypass the integration user's profile.",
    ),
}


def check_rules(facts: TargetFacts) -> Iterator[SystemCheck]:
    """A warning per object and kind of automation that is active; what the user may not see is a warning as well."""
    for kind, (source, effect, remedy) in _KINDS.items():
        for object_name in facts.descriptions:
            about = CheckSubject("Salesforce", object_name)
            names = facts.automations.get(kind, {}).get(object_name, [])
            if names:
                what = f"The active {kind} {', '.join(sorted(names))} of {object_name} {effect}."
                yield about.warning(f"{kind}s", what, remedy)
            elif source not in facts.hidden:
                yield about.ok(f"{kind}s", "none is active")
    for name in facts.hidden:
        yield CheckSubject("Salesforce", name).warning(
            "hidden setup",
            f"The user may not see {name}; the checks that need it were skipped.",
            "Grant View Setup and Configuration in the user's permission set, at least until preflight has passed.",
        )

"""Checks of one object of the org: what the user may do with it, facts about its fields, and what it already holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kpc.campaign.system_check import CheckSubject, SystemCheck
from kpc.campaign.target_facts import MODIFY_ALL, VIEW_ALL, TargetFacts
from kpc.catalog import Table
from kpc.catalog.types import CURRENCY_FIELD, EXTERNAL_ID, PARTITION_FIELD
from kpc.salesforce import ExplainedPlan

_RIGHTS = {
    "queryable": ("Read", "its records are counted and read back"),
    "createable": ("Create", "rows are inserted"),
    "updateable": ("Edit", "rows that are there already are updated"),
    "deletable": ("Delete", "`kpc rollback` deletes what a load created"),
}
_PUBLIC = ("ReadWrite", "ReadWriteTransfer", "FullAccess", "ControlledByParent")
_FEW_RECORDS = 1_000  # for an object with fewer, the org's query plan does not predict the later one


def check_target_object(table: Table, facts: TargetFacts, *, was_loaded: bool) -> Iterator[SystemCheck]:
    """All checks of a table's object that the user may see."""
    about = CheckSubject("Salesforce", table.target)
    description = facts.descriptions[table.target]
    fields = {field["name"]: field for field in description["fields"]}
    yield _access(about, description)
    yield _view_all(about, facts)
    yield _modify_all(about, facts)
    yield _external_id(about, fields)
    yield _encryption(about, table, fields)
    yield _currency(about, table, facts, fields)
    yield from _locks(about, table, fields)
    yield _record_types(about, description)
    yield _records(about, facts, was_loaded=was_loaded)
    if table.is_monthly:
        yield _query_plan(about, facts.plans.get(table.target))


def _access(about: CheckSubject, description: dict[str, Any]) -> SystemCheck:
    missing = [right for flag, right in _RIGHTS.items() if not description.get(flag, True)]
    if not missing:
        return about.ok("access", "Read, Create, Edit and Delete")
    why = "; ".join(f"without {right} it stops where {reason}" for right, reason in missing)
    names = ", ".join(right for right, _ in missing)
    return about.failed(
        "access",
        f"The integration user has no {names} on {about.subject}: {why}.",
        f"Grant {names} on {about.subject} in the user's permission set (Setup, Permission Sets, Object Settings).",
    )


def _view_all(about: CheckSubject, facts: TargetFacts) -> SystemCheck:
    model = facts.sharing.get(about.subject, "unknown")
    if facts.has(about.subject, VIEW_ALL):
        return about.ok("view all", f"the user sees all records (sharing model {model})")
    remedy = f"Grant View All on {about.subject}, or View All Data, in the user's permission set."
    if model in _PUBLIC:
        return about.warning(
            "view all",
            f"The user sees other users' records of {about.subject} only because its sharing model is {model}: if "
            "somebody changes it, counts and reads would miss them.",
            remedy,
        )
    return about.failed(
        "view all",
        f"The user does not see records of {about.subject} that belong to others (sharing model {model}): counts, "
        "comparisons and the check for an empty object would leave them out, without an error.",
        remedy,
    )


def _modify_all(about: CheckSubject, facts: TargetFacts) -> SystemCheck:
    if facts.has(about.subject, MODIFY_ALL):
        return about.ok("modify all", "the user may change and delete all records")
    model = facts.sharing.get(about.subject, "unknown")
    state = about.warning if model in _PUBLIC else about.failed
    return state(
        "modify all",
        f"The user may not change or delete every record of {about.subject} (sharing model {model}): an update of a "
        "record with a new owner, and its rollback, fail with INSUFFICIENT_ACCESS_OR_READONLY.",
        f"Grant Modify All on {about.subject}, or Modify All Data, in the user's permission set.",
    )


def _external_id(about: CheckSubject, fields: dict[str, dict[str, Any]]) -> SystemCheck:
    """Uniqueness must ignore case, as staging does; the schema check does not cover this."""
    field = fields.get(EXTERNAL_ID, {})
    if field.get("unique") and field.get("caseSensitive"):
        return about.warning(
            "external id case",
            f"{EXTERNAL_ID} of {about.subject} treats case as different, but rows whose ids differ only in case "
            "are rejected at staging as equal.",
            f"In Setup let {EXTERNAL_ID} treat `ABC` and `abc` as duplicate values, or accept the rejected rows.",
        )
    return about.ok("external id case", "unique regardless of case")


def _encryption(about: CheckSubject, table: Table, fields: dict[str, dict[str, Any]]) -> SystemCheck:
    encrypted = [name for name, field in fields.items() if field.get("encrypted")]
    keys = [name for name in encrypted if name in (EXTERNAL_ID, PARTITION_FIELD)]
    sent = [name for name in encrypted if name in table.header]
    if keys:
        return about.failed(
            "encryption",
            f"{', '.join(keys)} of {about.subject} {'is' if len(keys) == 1 else 'are'} encrypted by Shield Platform "
            "Encryption: it can be neither filtered by nor used as an external id, so that nothing can be "
            "counted or read back by partition.",
            f"In Setup (Encryption Policy) leave {', '.join(keys)} unencrypted; they hold no personal data.",
        )
    if sent:
        return about.warning(
            "encryption",
            f"{', '.join(sent)} of {about.subject} is encrypted: it cannot be filtered, sorted or summed in a query; "
            "it is compared only when records are read back.",
            "Reconcile this table in full (not by sample), or leave the field unencrypted until the load is proven.",
        )
    return about.ok("encryption", "no field is encrypted")


def _currency(about: CheckSubject, table: Table, facts: TargetFacts, fields: dict[str, dict[str, Any]]) -> SystemCheck:
    if CURRENCY_FIELD not in fields:
        return _one_currency(about, table)
    if not table.currencies:
        return _undeclared_currency(about, table)
    unknown = [code for code in table.currencies if code not in facts.active_currencies]
    if unknown:
        return about.failed(
            "currency",
            f"{', '.join(unknown)}, in which {table.name} is declared, is not an active currency of the org.",
            "Activate it in Setup (Manage Currencies), or correct the declaration in kpc/catalog.",
        )
    if table.amounts and set(table.currencies) != {facts.corporate_currency}:
        return about.warning(
            "currency",
            f"Amounts of {table.name} are in {', '.join(table.currencies)}, the org's corporate currency is "
            f"{facts.corporate_currency}: sums computed by the org are converted, so that only the records read back "
            "verify them.",
            f"Reconcile {table.name} in full (KPC__RECONCILE__LEVEL3=full, the default).",
        )
    return about.ok("currency", ", ".join(table.currencies))


def _one_currency(about: CheckSubject, table: Table) -> SystemCheck:
    if not table.currencies:
        return about.ok("currency", "one currency")
    return about.failed(
        "currency",
        f"{table.name} is declared in {', '.join(table.currencies)}, but the org has one currency: its records have no "
        f"{CURRENCY_FIELD}.",
        f"Leave the currency of {table.name} out of kpc/catalog, or have several currencies enabled in Setup (this "
        "cannot be undone).",
    )


def _undeclared_currency(about: CheckSubject, table: Table) -> SystemCheck:
    if not table.amounts:
        return about.ok("currency", "no currency field is sent")
    fields = ", ".join(str(one.field) for one in table.amounts)
    return about.failed(
        "currency",
        f"The org has several currencies, and {table.name} does not say in which one {fields} are: every record would "
        "get the user's own currency, and sums would be converted.",
        f'Declare it for {table.name} in kpc/catalog: currency="THB" for all rows, or a column whose field is '
        f"{CURRENCY_FIELD}.",
    )


def _locks(about: CheckSubject, table: Table, fields: dict[str, dict[str, Any]]) -> Iterator[SystemCheck]:
    """Whether each lookup locks its parent as declared: the declaration decides which loads wait for each other."""
    for lookup in table.lookups:
        if (field := fields.get(lookup.field)) is None:
            continue
        flags = ("restrictedDelete", "cascadeDelete")
        locks = not field.get("nillable", True) or any(field.get(flag) for flag in flags)
        if locks == lookup.locks_parent:
            text = f"{lookup.field} {'locks' if locks else 'does not lock'} its parents"
            yield about.ok("parent locks", text)
            continue
        effect = (
            "loads of its sibling tables will run at once, and rows will be refused with UNABLE_TO_LOCK_ROW"
            if locks
            else "its loads wait needlessly for those of its sibling tables"
        )
        does = "locks" if locks else "does not lock"
        yield about.warning(
            "parent locks",
            f"{lookup.field} of {about.subject} {does} its parent's record, but the catalog says otherwise: {effect}.",
            f"Declare on_delete of the lookup {lookup.field} in kpc/catalog as in the org (OnDelete.RESTRICT, CASCADE "
            "or CLEAR); no row has to be loaded again.",
        )


def _record_types(about: CheckSubject, description: dict[str, Any]) -> SystemCheck:
    infos = description.get("recordTypeInfos", [])
    names = [info["name"] for info in infos if info.get("active", True) and not info.get("master")]
    if not names:
        return about.ok("record types", "none but the master")
    return about.warning(
        "record types",
        f"{about.subject} has the record types {', '.join(names)}: every row gets the user's default one, and its "
        "picklist values apply.",
        "Ask the administrator which record type the migrated rows should have, and make it the user's default.",
    )


def _records(about: CheckSubject, facts: TargetFacts, *, was_loaded: bool) -> SystemCheck:
    found = facts.records.get(about.subject, 0)
    if not found or was_loaded:
        return about.ok("records", f"about {found:,} records" if found else "empty")
    return about.warning(
        "records",
        f"{about.subject} holds about {found:,} records although this ledger has loaded none: rows with the same "
        "external ids will change them, and each is kept in a pre-image first.",
        "Ask whose they are: empty the object, name the ledger that loaded them (KPC__LEDGER_URL), or accept that.",
    )


def _query_plan(about: CheckSubject, plan: ExplainedPlan | None) -> SystemCheck:
    if plan is None:
        return about.warning(
            "query plan",
            f"The org does not say how it would count one bucket of {about.subject}.",
            f"Ask Salesforce support for a custom index on {PARTITION_FIELD} if counts time out.",
        )
    if plan.leadingOperationType == "Index" and plan.relativeCost < 1:
        return about.ok("query plan", f"by index, cost {plan.relativeCost:.3f}")
    if plan.sobjectCardinality < _FEW_RECORDS:
        return about.ok("query plan", f"{plan.leadingOperationType} of {plan.sobjectCardinality:,} records")
    return about.failed(
        "query plan",
        f"One bucket of {about.subject} would be counted by {plan.leadingOperationType} (cost {plan.relativeCost:.2f}) "
        f"over {plan.sobjectCardinality:,} records; at the campaign's size such queries time out.",
        f"Make {PARTITION_FIELD} an External ID, which has an index, and ask Salesforce support to renew its "
        "statistics.",
    )

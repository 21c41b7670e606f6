"""The standard objects that clients ask for."""

from __future__ import annotations

from kpc.emulators.salesforce.org.fields import external_id_field, reference_field, system_fields, text_field
from kpc.emulators.salesforce.org.schema import SObject, SObjectField

_ADDRESS = ("Street", "City", "State", "PostalCode", "Country")


def standard_objects() -> list[SObject]:
    """Account, Contact, User and Organization, with the fields that clients commonly touch."""
    return [_account(), _contact(), _user(), _organization()]


def _account() -> SObject:
    fields = [
        text_field("Name", nillable=False, name_field=True),
        external_id_field(),
        text_field("AccountNumber", 40),
        SObjectField("Type", "picklist", 255, picklist=("Prospect", "Customer", "Partner", "Other")),
        SObjectField("Industry", "picklist", 255, picklist=("Banking", "Retail", "Technology", "Other")),
        SObjectField("AnnualRevenue", "currency", precision=18, scale=0),
        SObjectField("NumberOfEmployees", "int"),
        SObjectField("Rating", "picklist", 255, picklist=("Hot", "Warm", "Cold")),
        SObjectField("Phone", "phone", 40),
        SObjectField("Fax", "phone", 40),
        SObjectField("Website", "url", 255),
        SObjectField("Description", "textarea", 32000),
        text_field("Site", 80),
        *(text_field(f"Billing{part}") for part in _ADDRESS),
        *(text_field(f"Shipping{part}") for part in _ADDRESS),
        reference_field("ParentId", "Account", "Parent", child_relationship="ChildAccounts"),
    ]
    return SObject("Account", "001", (*system_fields(), *fields), "Account")


def _contact() -> SObject:
    fields = [
        SObjectField("Name", "string", 121, createable=False, updateable=False, name_field=True),
        text_field("FirstName", 40),
        text_field("LastName", 80, nillable=False),
        external_id_field(),
        SObjectField("Email", "email", 80, id_lookup=True),
        SObjectField("Phone", "phone", 40),
        SObjectField("MobilePhone", "phone", 40),
        text_field("Title", 128),
        SObjectField("Birthdate", "date"),
        SObjectField("Description", "textarea", 32000),
        SObjectField("DoNotCall", "boolean", nillable=False, defaulted=True),
        *(text_field(f"Mailing{part}") for part in _ADDRESS),
        reference_field("AccountId", "Account", "Account", child_relationship="Contacts"),
    ]
    return SObject("Contact", "003", (*system_fields(), *fields), "Contact")


def _user() -> SObject:
    fields = [
        SObjectField("Name", "string", 121, createable=False, updateable=False, name_field=True),
        SObjectField("Username", "string", 80, nillable=False, id_lookup=True, unique=True),
        text_field("FirstName", 40),
        text_field("LastName", 80, nillable=False),
        SObjectField("Email", "email", 80, nillable=False),
        SObjectField("IsActive", "boolean", nillable=False, defaulted=True),
        text_field("TimeZoneSidKey", 40, nillable=False, defaulted=True),
        text_field("LocaleSidKey", 40, nillable=False, defaulted=True),
        text_field("LanguageLocaleKey", 40, nillable=False, defaulted=True),
        text_field("UserType", 40, nillable=False, defaulted=True),
        text_field("ProfileId", 18, nillable=False, defaulted=True),
    ]
    return SObject("User", "005", (*system_fields(owner=False), *fields), "User")


def _organization() -> SObject:
    fields = [
        text_field("Name", 80, nillable=False, name_field=True),
        text_field("OrganizationType", 40),
        SObjectField("IsSandbox", "boolean", nillable=False, defaulted=True),
        text_field("InstanceName", 5),
        text_field("NamespacePrefix", 15),
        text_field("TrialExpirationDate", 40),
        text_field("LanguageLocaleKey", 40),
        text_field("TimeZoneSidKey", 40),
    ]
    every = (*system_fields(owner=False), *fields)
    return SObject("Organization", "00D", every, "Organization", createable=False, updateable=False, deletable=False)

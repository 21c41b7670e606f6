"""Types of settings: texts without stray line ends, secrets, paths, places, durations."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from kpc.errors import ConfigError
from kpc.setting_sources import expanded

_LINE_END = re.compile(r"[\r\n\0]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_QUOTED = re.compile(r"(['\"]).*\1", re.DOTALL)
_SCHEME_ONLY = re.compile(r"[a-z][a-z0-9+.-]+:(?!//)")  # s3:bucket, s3:/bucket


def _one_line(value: str) -> str:
    """A text without blanks around it; files of variables for containers keep quotation marks."""
    value = value.strip()
    if _CONTROL.search(value):
        raise ValueError("it has a line end or another control character inside")
    if _QUOTED.fullmatch(value):
        raise ValueError("it stands in quotation marks, which would become part of it")
    return value


def _secret_line(value: SecretStr) -> SecretStr:
    """A secret may begin and end with blanks, but line ends around it belong to the store that it comes from."""
    text = value.get_secret_value().strip("\r\n")
    if _LINE_END.search(text):
        raise ValueError("it has a line end inside")
    return SecretStr(text)


def _secret_text(value: SecretStr) -> SecretStr:
    """A secret of several lines, such as a key in PEM form."""
    return SecretStr(value.get_secret_value().strip())


def _place(value: object) -> str:
    text = _one_line(str(value))
    if _SCHEME_ONLY.match(text):
        raise ValueError("a URL has // behind its scheme, as in s3://bucket/kpc")
    return text if "://" in text else str(_home_replaced(text))


def _path(value: object) -> object:
    return _home_replaced(_one_line(str(value))) if isinstance(value, str | Path) else value


def _home_replaced(path: str) -> Path:
    try:
        return expanded(path)
    except ConfigError as error:
        raise ValueError(error.what.rstrip(".")) from None


def _address(value: SecretStr) -> SecretStr:
    return SecretStr(_one_line(value.get_secret_value()))


Text = Annotated[str, AfterValidator(_one_line)]
Secret = Annotated[SecretStr, AfterValidator(_secret_line)]
SecretText = Annotated[SecretStr, AfterValidator(_secret_text)]
SecretAddress = Annotated[SecretStr, AfterValidator(_address)]  # may contain a password
LocalPath = Annotated[Path, BeforeValidator(_path)]
Place = Annotated[str, BeforeValidator(_place)]  # a directory, or the URL of an object store
Seconds = Annotated[float, Field(le=10_000_000)]

"""The expectation that a number in Oracle, less the listed exceptions, equals the number in Salesforce."""

from __future__ import annotations

from dataclasses import asdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from great_expectations.core.result_format import DEFAULT_RESULT_FORMAT
from great_expectations.expectations.expectation import BatchExpectation, render_suite_parameter_string
from great_expectations.expectations.expectation_configuration import parse_result_format
from great_expectations.render.components import LegacyRendererType, RenderedStringTemplateContent
from great_expectations.render.renderer.renderer import renderer
from great_expectations.validator.validator import ValidationDependencies

from kpc.reconcile.comparison import Comparison

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]  # its stubs are a package of their own
    from great_expectations.core.expectation_validation_result import ExpectationValidationResult
    from great_expectations.execution_engine.execution_engine import ExecutionEngine
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

COLUMNS = ("level", "measure", "source", "excepted", "target", "tolerance")
EXPECTATION_TYPE = "expect_oracle_to_equal_salesforce"


class ExpectOracleToEqualSalesforce(BatchExpectation):
    """Expect one compared number to agree, exactly or within an absolute tolerance.

    The batch has one row per comparison and the text columns of `COLUMNS`; decimals are passed as text, because binary
    floats would lose satang. The row's own tolerance applies only up to the one declared here. A missing or duplicate
    row is a failure.
    """

    level: int
    measure: str
    tolerance: str = "0"

    domain_keys: ClassVar[tuple[str, ...]] = ("batch_id",)
    success_keys: ClassVar[tuple[str, ...]] = ("level", "measure", "tolerance")
    args_keys: ClassVar[tuple[str, ...]] = ("level", "measure", "tolerance")

    def _validate(
        self,
        metrics: dict[str, Any],
        runtime_configuration: dict[str, Any] | None = None,
        execution_engine: ExecutionEngine[Any] | None = None,
    ) -> dict[str, Any]:
        del metrics, runtime_configuration
        data = execution_engine.batch_manager.active_batch_data if execution_engine else None
        frame: pd.DataFrame = data.dataframe  # type: ignore[union-attr]  # a pandas batch always has its frame
        rows = _rows_of(frame, (str(self.level), self.measure))
        if len(rows) != 1:
            observed = "no comparison was given" if not rows else f"{len(rows)} comparisons were given"
            return {"success": False, "result": {"observed_value": observed}}
        comparison = _comparison(rows[0], Decimal(self.tolerance))
        return {
            "success": comparison.agrees,
            "result": {"observed_value": describe(comparison), "details": _details(comparison)},
        }

    def get_validation_dependencies(
        self, execution_engine: ExecutionEngine[Any] | None = None, runtime_configuration: dict[str, Any] | None = None
    ) -> ValidationDependencies:
        """None: the whole batch is read. The library's own method searches every argument for them, twice per run."""
        del execution_engine
        wanted = (runtime_configuration or {}).get("result_format", DEFAULT_RESULT_FORMAT)
        return ValidationDependencies(metric_configurations={}, result_format=parse_result_format(wanted))

    @classmethod
    @renderer(renderer_type=LegacyRendererType.PRESCRIPTIVE)
    @render_suite_parameter_string
    def _prescriptive_renderer(
        cls,
        configuration: ExpectationConfiguration | None = None,
        result: ExpectationValidationResult | None = None,
        runtime_configuration: dict[str, Any] | None = None,
    ) -> list[RenderedStringTemplateContent]:
        """The sentence that Great Expectations' own pages and `result.render()` show."""
        del runtime_configuration
        config = configuration or (result.expectation_config if result else None)
        kwargs = dict(config.kwargs) if config else {}
        sentence = sentence_for(int(kwargs["level"]), kwargs["measure"], kwargs.get("tolerance", "0"))
        return [
            RenderedStringTemplateContent(
                content_block_type="string_template",
                string_template={"template": "$sentence", "params": {"sentence": sentence}},
            )
        ]


def _rows_of(frame: pd.DataFrame, wanted: tuple[str, str]) -> list[dict[str, Any]]:
    """The frame's rows of a level and measure. A frame of Python objects is read far faster by column than by row."""
    named = zip(frame["level"].tolist(), frame["measure"].tolist(), strict=True)
    return [{name: frame[name].tolist()[at] for name in COLUMNS} for at, name in enumerate(named) if name == wanted]


def sentence_for(level: int, measure: str, tolerance: str) -> str:
    """The expectation as a sentence for people."""
    within = "" if Decimal(tolerance) == 0 else f" within {tolerance}"
    if level == 3:
        return f"Every compared record has the same checksum in Oracle and Salesforce{within}"
    column, _, aggregate = measure.partition(" ")
    what = f"{aggregate} of {column}" if aggregate else f"number of {measure}"
    return f"Oracle's {what}, less the listed exceptions, equals Salesforce's{within}"


def describe(comparison: Comparison) -> str:
    """The comparison in one line: `Oracle 500,000 | exceptions 2 | Salesforce 499,998 | difference 0`."""
    parts = {
        "Oracle": comparison.source,
        "exceptions": comparison.excepted,
        "Salesforce": comparison.target,
        "difference": comparison.difference,
    }
    return " | ".join(f"{name} {'null' if value is None else f'{value:,f}'}" for name, value in parts.items())


def frame_row(comparison: Comparison) -> dict[str, str | None]:
    """The comparison as a row of the validated frame."""
    return {name: None if value is None else _text(value) for name, value in asdict(comparison).items()}


def _text(value: object) -> str:
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _comparison(row: dict[str, Any], allowed: Decimal) -> Comparison:
    def number(name: str) -> Decimal | None:
        return Decimal(row[name]) if isinstance(row[name], str) else None

    return Comparison(
        level=int(row["level"]),
        measure=row["measure"],
        source=number("source"),
        target=number("target"),
        excepted=number("excepted") or Decimal(0),
        tolerance=min(number("tolerance") or Decimal(0), allowed),
    )


def _details(comparison: Comparison) -> dict[str, str | None]:
    """The figures for the pages, as text so that JSON keeps every digit."""
    values = {
        "source": comparison.source,
        "excepted": comparison.excepted,
        "target": comparison.target,
        "difference": comparison.difference,
        "tolerance": comparison.tolerance,
    }
    return {name: None if value is None else _text(value) for name, value in values.items()}

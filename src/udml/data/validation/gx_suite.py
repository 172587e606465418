"""The adapter to Great Expectations: rules in, outcomes and Data Docs pages out.

Everything that knows that library's interface is in this file. Importing the library takes seconds,
so it happens inside the functions. Contexts are in memory: nothing is written but what is returned.
"""

import html
import os
from dataclasses import dataclass
from typing import Any

import pandas as pd

from udml.data.validation.rules import BETWEEN, MATCHES, ONE_OF, UNIQUE, Rule
from udml.errors import UdmlError

EXAMPLES = 5
_EXPECTATIONS = {
    UNIQUE: "ExpectColumnValuesToBeUnique",
    MATCHES: "ExpectColumnValuesToMatchRegex",
    BETWEEN: "ExpectColumnValuesToBeBetween",
    ONE_OF: "ExpectColumnValuesToBeInSet",
}


@dataclass(frozen=True)
class Outcome:
    """What checking one rule found.

    Attributes:
        rule: the rule.
        success: whether enough rows meet it.
        rows: rows looked at (not null).
        failing: rows that break it.
        values, sources: of the first few failing rows.
    """

    rule: Rule
    success: bool
    rows: int
    failing: int
    values: list[Any]
    sources: list[str]


def check_rules(rules: list[Rule], table: pd.DataFrame, name: str) -> tuple[list[Outcome], str]:
    """Check `rules` on the columns of `table`, and render the result as a Data Docs page.

    Args:
        rules: all of one table.
        table: has the rules' columns and `source`.
        name: of the table, for the page.

    Returns:
        An outcome per rule, in order, and the page's HTML as the library renders it.

    Raises:
        UdmlError: if a rule could not be checked at all.
    """
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations as gx

    context: Any = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("catalogue").add_dataframe_asset(name)
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": _escaped(table)})
    suite = context.suites.add(gx.ExpectationSuite(name))
    for rule in rules:
        suite.add_expectation(_expectation(gx.expectations, rule))
    report = batch.validate(
        suite,
        result_format={
            "result_format": "SUMMARY",
            "partial_unexpected_count": EXAMPLES,
            "unexpected_index_column_names": ["source"],
        },
    )
    results: list[Any] = report.results
    found = {result.expectation_config.meta["rule"]: result for result in results}
    return [_outcome(rule, found[rule.name]) for rule in rules], _page(report)


def _escaped(table: pd.DataFrame) -> pd.DataFrame:
    """The library writes values into its page as they are; file names may look like HTML."""
    texts = [name for name in table.columns if pd.api.types.is_string_dtype(table[name])]
    return table.assign(**{name: table[name].map(html.escape, na_action="ignore") for name in texts})


def _plain(value: Any) -> Any:
    return html.unescape(value) if isinstance(value, str) else value


def _expectation(expectations: Any, rule: Rule) -> Any:
    kind = getattr(expectations, _EXPECTATIONS[rule.check])
    return kind(
        column=rule.column,
        mostly=rule.mostly,
        description=rule.sentence,
        severity="critical" if rule.required else "warning",
        meta={"rule": rule.name},
        **rule.arguments,
    )


def _outcome(rule: Rule, result: Any) -> Outcome:
    facts = result.result
    if "element_count" not in facts:
        problems = result.exception_info.values()
        messages = [item["exception_message"] for item in problems if isinstance(item, dict)]
        reason = messages[0] if messages else result.exception_info.get("exception_message")
        raise UdmlError(f"rule {rule.name} could not be checked: {reason}", "run `dvc repro -f prepare`")
    examples = facts.get("partial_unexpected_index_list") or []
    return Outcome(
        rule,
        bool(result.success),
        int(facts["element_count"] - facts.get("missing_count", 0)),
        int(facts["unexpected_count"]),
        [_plain(row[rule.column]) for row in examples],
        [_plain(str(row["source"])) for row in examples],
    )


def _page(report: Any) -> str:
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view.view import DefaultJinjaPageView

    document = ValidationResultsPageRenderer(run_info_at_end=True).render(report)
    page: str = DefaultJinjaPageView().render(document)
    return page

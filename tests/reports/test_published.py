from __future__ import annotations

import pytest

from nclforensics.errors import UsageError
from nclforensics.reports.published import AVERAGE, PublishedRow, published_rows

PROTOCOLS = ("mvss", "catnet", "trufor")
SETS = ("casiav1", "columbia", "coverage", "nist16", "imd2020", "cocoglide", "autosplice")


def everything() -> list[PublishedRow]:
    """Return all rows of all sets."""
    return [row for protocol in PROTOCOLS for dataset in (*SETS, AVERAGE) for row in published_rows(protocol, dataset)]


def test_ncl_s_row_under_the_mvss_protocol() -> None:
    """The figures that "as good as NCL" means."""
    values = {name: row.value for name in SETS for row in published_rows("mvss", name) if row.model == "NCL"}
    assert values == {"coverage": 0.225, "columbia": 0.446, "nist16": 0.260, "casiav1": 0.502, "imd2020": 0.237}
    assert {row.average for row in published_rows("mvss", "coverage") if row.model == "NCL"} == {0.334}


def test_sets_nobody_published_have_no_rows() -> None:
    """No figure is made up, and none borrowed from another set."""
    assert published_rows("catnet", "imd2020") == published_rows("mvss", "my_photos") == ()


@pytest.mark.parametrize("protocol", ["native", "MVSS", ""])
def test_protocols_without_a_table_are_refused(protocol: str) -> None:
    """Another protocol's figures must not stand in; the message says which ones there are."""
    with pytest.raises(UsageError, match=r"not comparable.*mvss or catnet or trufor"):
        published_rows(protocol, "coverage")


def test_every_row_says_where_it_is_from() -> None:
    """A figure without source and caveat is hearsay; all are shares."""
    rows = everything()
    assert len(rows) > 200
    for row in rows:
        assert 0 < row.value < 1, row
        assert row.source, row
        assert row.caveats.endswith("."), row
        assert row.figure in {"f1@0.5", "f1_permute", "f1_noscore_permute"}, row


def test_averages_are_those_of_their_rows_but_for_what_the_caveats_name() -> None:
    """A slip in typing the tables would show here; so does a slip in the sources."""
    rows: dict[tuple[str, ...], list[float]] = {}
    stated: dict[tuple[str, ...], float] = {}
    for row in everything():
        key = (row.protocol, row.source, row.figure, row.model)
        if row.dataset == AVERAGE:
            stated[key] = row.value
        else:
            rows.setdefault(key, []).append(row.value)
    off = {
        key[-1]: round(sum(values) / len(values), 3)
        for key, values in rows.items()
        if len(values) > 1 and key in stated and abs(sum(values) / len(values) - stated[key]) > 0.0015
    }
    assert off == {"MVSS-Net": 0.493, "Mesorch": 0.622}


def test_a_permuted_f1_is_never_the_lower_one_but_for_the_known_slip() -> None:
    """The maximum of two figures is at least the first."""
    plain = {(row.source, row.model, row.dataset): row.value for row in everything() if row.figure == "f1@0.5"}
    lower = [
        (row.model, row.dataset)
        for row in everything()
        if row.figure == "f1_permute" and row.value < plain[row.source, row.model, row.dataset]
    ]
    assert lower == [("CAT-Net", "nist16")]

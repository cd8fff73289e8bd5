"""Contagion on the page and in the terminal: the numbers are those of the run."""

import io
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from rich.console import Console

from flows.format import money, short
from flows.report.picture import Picture, Sentence
from flows.report.stress import contagion, network
from flows.report.stress.failures import LEAST, Failures
from flows.stress_tables import print_stress
from flows.stress_view import stress_view
from tests.workers.stressed import plan_file, stress
from workers.stress.request import StressRequest


@pytest.fixture(scope="module")
def done(synthetic_book, margin_of, tmp_path_factory):
    home = tmp_path_factory.mktemp("contagion")
    margined = margin_of(synthetic_book(2_000), runs=home / "runs")
    plan = plan_file(home)
    return stress(
        StressRequest(
            run=margined.run.run_id, plan=plan, runs=home / "runs", stresses=home / "stresses"
        )
    )


@pytest.fixture(scope="module")
def view(done):
    return stress_view(done.run)


@pytest.fixture(scope="module")
def row(view):
    """The scenario in which those who fail owe most."""
    return int(view.failures.unpaid.argmax())


def short_of(network, row):
    """What each node does not pay, the vault apart: by node, and the vault's; straight loops."""
    unpaid, vault = {}, 0.0
    names, kinds = network["node"].values.tolist(), network["kind"].values.tolist()
    for at, (name, kind) in enumerate(zip(names, kinds, strict=True)):
        owed, paid = (float(network[one].values[row, at]) for one in ("obligation", "payment"))
        if kind == "vault":
            vault += owed - paid
        elif owed - paid > 1.0:
            unpaid[name] = owed - paid
    return unpaid, vault


def test_bands_are_what_is_not_paid_and_who_fails_is_red(view, row):
    picture = network.network(view)
    assert isinstance(picture, Picture)
    assert picture.choices[0].label == view.names[row]
    inside = view.network["link_scenario"].values == row
    for choice, name in ((picture.choices[0], "unpaid"), (picture.choices[-1], "owed")):
        (trace,) = choice.traces
        whole = view.network[f"link_{name}"].values[inside].sum()
        assert sum(trace["link"]["value"]) == pytest.approx(whole, rel=1e-5)
        unpaid, vault = short_of(view.network, row)
        for became, sum_of in ((network.LATE, sum(unpaid.values())), (network.VAULTS, vault)):
            drawn = np.array(trace["link"]["color"]) == network.COLOURS[became]
            amount = np.array(trace["link"]["value"])[drawn].sum()
            assert amount == pytest.approx(sum_of, rel=1e-5)
        # The largest have their amount beside the name: what goes in or out.
        through = {
            node: max(
                sum(
                    value
                    for end, value in zip(trace["link"][side], trace["link"]["value"], strict=True)
                    if end == node
                )
                for side in ("source", "target")
            )
            for node in range(len(trace["node"]["label"]))
        }
        for node in sorted(through, key=through.get)[-network.WORDED :]:
            assert trace["node"]["label"][node].endswith(f"  {money(through[node])}")
        # From the left to the right, never round in a circle.
        ends = list(zip(trace["link"]["source"], trace["link"]["target"], strict=True))
        after = {
            node: {b for a, b in ends if a == node} for node in range(len(trace["node"]["label"]))
        }
        reached = set()
        for _ in after:
            reached |= {node for node in after if after[node] <= reached}
        assert reached == set(after)
    labels = zip(trace["node"]["label"], trace["node"]["color"], strict=True)
    red = {label.partition("  ")[0] for label, colour in labels if colour == "--alarm"}
    assert {name for name in red if not name.startswith("other")} <= set(unpaid)
    assert red


def test_tables_have_the_sums_of_the_run(view, row):
    found = view.network
    (layers, kinds) = (contagion.layer_table(view), contagion.kind_table(view))
    first = [one for one in layers.rows if one[0] == view.names[row]]
    unpaid, vault = short_of(found, row)
    by_layer = found["unpaid"].values[row].copy()
    by_layer[list(contagion.LAYER_WORDS).index("margin_calls")] -= vault
    told = {one[1]: one[5] for one in first}
    assert told.pop("What the vault lost") == short(vault)
    words = list(contagion.LAYER_WORDS.values())
    assert told == {words[at]: short(float(one)) for at, one in enumerate(by_layer) if one > LEAST}
    venue = next(one for one in kinds.rows if one[:2] == (view.names[row], "The venue"))
    at = found["kind"].values.tolist().index("venue")
    assert venue[4] == short(float(found["borne"].values[row, at]))
    failed = contagion.failed_table(view).rows
    assert {one[0] for one in failed} <= set(unpaid)
    assert len(failed) == min(len(unpaid), contagion.FAILED)
    every = contagion.scenario_table(view).rows
    assert {one[0] for one in every} == {
        name for at, name in enumerate(view.names) if short_of(found, at)[0]
    }
    (told,) = [one for one in every if one[0] == view.names[row]]
    assert told[2:5] == (
        short(sum(unpaid.values())),
        str(len(unpaid)),
        str((view.failures.round[row] > 1).sum()),
    )
    assert told[5] == short(vault)


def test_dust_and_the_vault_are_no_failures(view):
    """A network of two members, the venue and the vault, in which only the last owes for real."""
    links = {"scenario": [0, 0, 0], "debtor": [0, 1, 3], "owed": [8.0, 9.0, 70.0]}
    unpaid = [LEAST, LEAST + 0.5, 70.0]
    network = xr.Dataset(
        {
            "kind": ("node", np.array(["member", "member", "venue", "vault"], dtype=object)),
            "obligation": (("scenario", "node"), [[8.0, 9.0, 0.0, 70.0]]),
            "payment": (("scenario", "node"), [[8.0 - LEAST, 8.5 - LEAST, 0.0, 0.0]]),
            "default_round": (("scenario", "node"), [[1, 1, 0, 1]]),
            **{f"link_{name}": ("link", np.array(value)) for name, value in links.items()},
            **{f"link_{name}": ("link", unpaid) for name in ("unpaid", "unpaid_directly")},
        }
    )
    found = Failures(network)
    assert found.round.tolist() == [[0, 1, 0, 0]]
    assert found.unpaid.tolist() == [LEAST + 0.5]
    assert found.vault.tolist() == [70.0]


def test_the_terminal_says_it_in_lines(done, view, row):
    output = io.StringIO()
    print_stress(Console(file=output, width=200), done.run)
    (line,) = [one for one in output.getvalue().splitlines() if one.startswith("Contagion, ")]
    unpaid, _ = short_of(view.network, row)
    assert line.startswith(f"Contagion, {view.names[row]}: {len(unpaid)} fail")
    assert f"creditors lose {short(sum(unpaid.values()))}," in line
    worst = max(range(len(view.names)), key=lambda at: short_of(view.network, at)[1])
    assert (
        f"The vault loses most in {view.names[worst]}, "
        f"{short(short_of(view.network, worst)[1])}, which the layers pay"
    ) in output.getvalue()
    assert "borne in the end, with what the vault lost, by member" in output.getvalue()


def test_where_everybody_pays_there_is_nothing_to_draw(view):
    kept = view.network["kind"] == "vault"
    paid = view.network["payment"].where(kept, view.network["obligation"])
    said = network.network(replace(view, network=view.network.assign(payment=paid)))
    assert isinstance(said, Sentence)
    assert f"The vault loses {money(float(view.failures.vault.max()))} at most" in said.text
    nobody = view.network.assign(payment=view.network["obligation"])
    said = network.network(replace(view, network=nobody))
    assert said.text == "In every scenario everybody pays all they owe."

"""Grafana and Prometheus ask for what Ray exports."""

import ast
import re
from pathlib import Path

import pytest
import ray

from tests.infra.files import Document, read_json

RAY = Path(ray.__file__).parent
FUNCTIONS = {"sum", "by", "clamp_min", "label_values"}


def exported() -> set[str]:
    """The metrics that Ray's own dashboard shows, and the gauges of its agent on each node."""
    metrics = RAY / "dashboard" / "modules" / "metrics" / "dashboards"
    shown = (metrics / "default_dashboard_panels.py").read_text()
    agent = (RAY / "dashboard" / "modules" / "reporter" / "reporter_agent.py").read_text()
    gauges = {
        f"ray_{node.args[0].value}"
        for node in ast.walk(ast.parse(agent))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") == "Gauge"
        and isinstance(node.args[0], ast.Constant)
    }
    return gauges | set(re.findall(r"\b(ray_\w+)\{", shown))


def asked_for(dashboard: Document) -> set[str]:
    """The metrics in the expressions of a dashboard's panels and variables."""
    expressions = [
        target["expr"] for panel in dashboard["panels"] for target in panel["targets"]
    ] + [one["query"]["query"] for one in dashboard["templating"]["list"] if one["type"] == "query"]
    bare = [re.sub(r"\{.*?\}|\bby \(\w+\)|,.*", "", one) for one in expressions]
    return {name for one in bare for name in re.findall(r"[a-z_]+", one)} - FUNCTIONS


def test_every_metric_of_the_dashboard_is_one_of_ray():
    asked = asked_for(read_json("monitoring/grafana.json"))
    assert len(asked) >= 10
    assert asked <= exported()


@pytest.mark.parametrize("metric", ["ray_node_cpu_utilisation", "ray_task", "node_cpu_count"])
def test_a_metric_that_ray_has_not_is_caught(metric):
    dashboard = read_json("monitoring/grafana.json")
    dashboard["panels"][0]["targets"][0]["expr"] = f'sum({metric}{{Name="CPU"}})'
    assert asked_for(dashboard) - exported() == {metric}


def test_panels_do_not_lie_on_one_another():
    panels = read_json("monitoring/grafana.json")["panels"]
    places = [(one["gridPos"]["x"], one["gridPos"]["y"]) for one in panels]
    assert len(set(places)) == len({one["id"] for one in panels}) == len(panels)
    assert all(one["title"] and one["description"] for one in panels)

"""The arms of a run as a table for people."""

from rich.table import Table

from nemo_gym_lite.clients import Json


def arm_table(agent_name: str, summary: Json) -> Table:
    """The arms of one agent, a line each, with the difference of each to the first.

    Args:
        agent_name: Whose rollouts.
        summary: What `ArmMetrics.summary` gives, with at least one arm.
    """
    arms, pairs = summary["arms"], summary["arm_comparisons"]["pairs"]
    first = arms[0]["arm"]
    to_first = {pair["arm"]: pair for pair in pairs if pair["baseline"] == first}
    ks = [name for name in max(arms, key=len) if name.startswith("pass@")]
    table = Table("arm", "tasks", "rollouts", "reward", title=f"arms of {agent_name}", title_justify="left")
    for name in (*ks, "tokens in", "tokens out", f"reward - {first}", "95 % interval"):
        table.add_column(name.removesuffix("/reward"))
    for column in table.columns[1:]:
        column.justify = "right"
    for arm in arms:
        pair = to_first.get(arm["arm"], {})
        passes = [f"{arm[name]:.1f} %" if name in arm else "-" for name in ks]
        tokens = [f"{arm[f'mean/{name}']:.0f}" for name in ("input_tokens", "output_tokens")]
        counts = (str(arm["tasks"]), str(arm["rollouts"]), f"{arm['mean/reward']:.4f}")
        difference, interval = pair.get("difference"), pair.get("ci95")
        away = "-" if difference is None else f"{difference:+.4f}"
        table.add_row(arm["arm"], *counts, *passes, *tokens, away, _interval(interval))
    return table


def _interval(interval: tuple[float, float] | None) -> str:
    return "-" if interval is None else f"{interval[0]:+.4f} to {interval[1]:+.4f}"

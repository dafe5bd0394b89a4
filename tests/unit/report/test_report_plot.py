"""The plot's numbers: what is beyond the bounds is drawn beyond the bar."""

from __future__ import annotations

from lab import spread
from lab.report import plot
from lab.report.model import Distribution


def sample(counts: dict[str, int], *, client: str = "node01", turns: bool = False) -> Distribution:
    judge = spread.round_robin if turns else spread.multinomial
    told = judge(counts, expected=set(counts)).told()
    return Distribution(client=client, path="ClusterIP", target="http://10.96.0.20", mode="nftables", **told)


def test_a_plot_is_one_mode_and_path_and_a_group_is_one_client() -> None:
    (found,) = plot.plots(
        [sample({"a": 300, "b": 300, "c": 300}), sample({"a": 310, "b": 290}, client="pod")]
    )
    assert (found.mode, found.path) == ("nftables", "ClusterIP")
    assert [(group.client, len(group.marks)) for group in found.groups] == [("node01", 3), ("pod", 2)]
    assert "even for every client" in found.told


def test_everything_is_drawn_in_its_order_and_within_the_picture() -> None:
    (found,) = plot.plots([sample({"a": 900, "b": 100, "c": 350})])
    (group,) = found.groups
    a, b, c = group.marks
    assert plot.LEFT <= b.seen < b.low < b.expected < b.high < a.seen <= plot.WIDTH - plot.RIGHT
    assert (a.inside, b.inside, c.inside) == (False, False, False)
    assert not group.even
    assert "not even for node01" in found.told
    assert all(plot.LEFT <= x <= plot.WIDTH for x, _ in found.ticks)
    assert all(0 < mark.y < found.height - plot.BOTTOM for mark in group.marks)


def test_turns_leave_no_room() -> None:
    (found,) = plot.plots([sample({"a": 300, "b": 300, "c": 300}, turns=True)])
    (group,) = found.groups
    assert {(mark.low, mark.seen, mark.high) for mark in group.marks} == {(group.marks[0].seen,) * 3}

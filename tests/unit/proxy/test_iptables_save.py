from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.proxy import UnreadableDump, UnrecognisedRule
from lab.proxy.iptables_save import Rule, parse


def test_options_are_taken_one_by_one() -> None:
    rule = Rule(
        '-A C ! -s 10.0.0.0/8 -p tcp -m comment --comment "a \\"b\\" c" -m set --match-set X dst,dst -j D'
    )
    assert rule.take("-s") is None
    assert rule.take("-s", negated=True) == "10.0.0.0/8"
    assert rule.take("--comment") == 'a "b" c'
    assert rule.must("--match-set") == "X dst,dst"
    with pytest.raises(UnrecognisedRule, match="-p tcp, -j D") as caught:
        rule.done()
    assert caught.value.raw == rule.raw
    assert (rule.must("-p"), rule.must("-j")) == ("tcp", "D")
    rule.done()


def understand(raw: str) -> None:
    """Read a rule of which only the target is expected."""
    rule = Rule(raw)
    rule.take("-j")
    rule.done()


@pytest.mark.parametrize(
    "raw",
    ["-A C stray -j D", "-A C -p tcp -p udp", "-D C -j D", "-A", "-A C -m quota --quota 7 -j D"],
)
def test_what_it_does_not_know_raises(raw: str) -> None:
    with pytest.raises(UnrecognisedRule):
        understand(raw)


def test_a_rule_without_the_needed_option() -> None:
    with pytest.raises(UnrecognisedRule, match="no -j"):
        Rule("-A C -p tcp").must("-j")


def test_tables_chains_and_counters() -> None:
    text = "# c\n*nat\n:OUTPUT ACCEPT [1:60]\n:C - [0:0]\n[5:300] -A OUTPUT -p tcp -j C\nCOMMIT\n"
    nat = parse(text)["nat"]
    assert list(nat.chains) == ["OUTPUT", "C"]
    assert nat.jumps("OUTPUT", "C")
    assert not nat.jumps("OUTPUT", "D")
    (rule,) = nat.rules("OUTPUT")
    assert rule.chain == "OUTPUT"
    assert nat.rules("NONE") == []


@pytest.mark.parametrize("text", ["-A C -j D\n", "*nat\nnonsense\n", "Warning: legacy tables present\n"])
def test_other_text_is_no_dump(text: str) -> None:
    with pytest.raises(UnreadableDump):
        parse(text)


@given(st.text(st.characters(blacklist_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=60))
def test_any_comment_comes_back(comment: str) -> None:
    quoted = comment.replace("\\", "\\\\").replace('"', '\\"')
    rule = Rule(f'-A C -m comment --comment "{quoted}" -j D')
    assert (rule.must("--comment"), rule.must("-j")) == (comment, "D")
    rule.done()

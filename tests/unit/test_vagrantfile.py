"""The Vagrantfile reads lab.yaml by itself, and must come to what lab/config.py comes to."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import paths
from lab.config import Config, from_values

FILE = paths.share("Vagrantfile")
# Vagrant's side of the file: takes every setting, and prints what of it was asked for.
RECORDER = """
require "json"
class Taker
  attr_reader :said
  def initialize = @said = {}
  def vm = (@vm ||= Taker.new)
  def network(kind, **options) = @said["network"] = options
  def define(name, **) = (@said[name] = Taker.new).then { |one| yield one; @said[name] = one.vm.said }
  def provider(name) = (one = Taker.new).then { yield one; @said[name] = one.said }
  def method_missing(name, *values) = @said[name.to_s.delete("=")] = values.first
  def respond_to_missing?(*) = true
end
module Vagrant
  def self.configure(_)
    config = Taker.new
    yield config
    puts JSON.generate(config.vm.said.merge("default" => ENV["VAGRANT_DEFAULT_PROVIDER"]))
  end
end
load ARGV[0]
"""
needs_ruby = pytest.mark.skipif(shutil.which("ruby") is None, reason="ruby comes with Vagrant")


def evaluate(folder: Path, text: str | None = None, told: Path | None = None) -> dict[str, Any]:
    shutil.copy(FILE, folder / "Vagrantfile")
    if text is not None:
        (folder / "lab.yaml").write_text(text)
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
    if told:
        env["LAB_VAGRANT_CONFIG"] = str(told)
    done = subprocess.run(
        ["ruby", "-e", RECORDER, folder / "Vagrantfile"], capture_output=True, text=True, env=env, check=False
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_its_defaults_are_those_of_the_configuration() -> None:
    found = re.search(r"<<~DEFAULTS\)\n(.*?)\nDEFAULTS", FILE.read_text(), re.DOTALL)
    assert found
    ours = Config().model_dump(mode="json")
    for key, value in yaml.safe_load(found[1]).items():
        there = {name: ours[key][name] for name in value} if isinstance(value, dict) else ours[key]
        assert value == there, key


@needs_ruby
@pytest.mark.parametrize(
    "text",
    [
        "",
        "name: other\nmachine: {memory: 3000}\nvagrant: {box: mine}\n",
        "network: {subnet: 10.77.0.0/24}\n",
        "network: {subnet: 10.77.0.0/28}\n",
        "network: {subnet: 172.16.4.0/22}\n",
        "network:\n",
        "nodes:\n- {name: one, address: 192.168.1.7}\n- {name: two, address: 192.168.1.9}\n",
        "vagrant: {hypervisor: virtualbox, boot_timeout: 60}\nnetwork: {subnet: 192.168.56.0/24}\n",
    ],
)
def test_it_comes_to_the_same_machines(tmp_path: Path, text: str) -> None:
    said = evaluate(tmp_path, text)
    values = yaml.safe_load(text) or {}
    config = from_values({key: value for key, value in values.items() if value is not None})
    assert said["box"] == config.vagrant.box
    assert said["boot_timeout"] == config.vagrant.boot_timeout
    for node in config.nodes:
        one = said[node.name]
        assert one["hostname"] == node.name
        assert one["network"]["ip"] == str(node.address)
        assert one["network"]["netmask"] == str(config.network.subnet.netmask)
        assert one["libvirt"]["memory"] == one["virtualbox"]["memory"] == config.machine.memory
        assert one["libvirt"]["cpus"] == one["virtualbox"]["cpus"] == config.machine.cpus
        assert one["virtualbox"]["name"] == f"kube-service-lab-{config.name}-{node.name}"
        assert ("lab up --provider vagrant" in one.get("post_up_message", "")) is (node == config.nodes[-1])
    chosen = "virtualbox" if "virtualbox" in text else None
    assert said["default"] == chosen


@needs_ruby
def test_the_lab_command_tells_it_everything(tmp_path: Path) -> None:
    config = from_values({"name": "mine", "network": {"subnet": "10.9.0.0/24"}})
    told = tmp_path / "machines.json"
    told.write_text(
        json.dumps({**config.model_dump(mode="json"), "prefix": "lab-of-mine", "box_version": "1.2"})
    )
    said = evaluate(tmp_path, "name: not-this\n", told)
    assert said["box_version"] == "1.2"
    assert said["master"]["network"]["ip"] == "10.9.0.200"
    assert said["master"]["network"]["libvirt__network_name"] == "lab-of-mine"
    assert said["node02"]["virtualbox"]["name"] == "lab-of-mine-node02"
    assert "post_up_message" not in said["node02"]


def test_the_partition_table_of_our_box() -> None:
    from lab.bundle.kinds.box import partition_table  # noqa: PLC0415

    table = partition_table(2048, 16777216)
    assert len(table) == 66
    assert table[-2:] == b"\x55\xaa"
    assert (table[0], table[4]) == (0x80, 0x83)
    assert int.from_bytes(table[8:12], "little") == 2048
    assert int.from_bytes(table[12:16], "little") == 16777216
    assert table[16:64] == bytes(48)

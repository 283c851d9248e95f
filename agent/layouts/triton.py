"""Triton: a ``config.pbtxt`` that names the model and says where it runs, as its backend understands it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from agent.errors import PinError
from agent.layouts import python_stub
from agent.layouts.backends import BACKEND_OF_PLATFORM, Placing, placing_of
from agent.layouts.port import Arrangement, Asked
from agent.pbtxt import Config, minimal_config, read_config
from agent.pins import instance_group
from agent.storage.layout import CONFIG

_LARGEST = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class TritonLayout:
    """How models are laid out for one server.

    Parameters
    ----------
    shows_gpus
        Whether a python model's processes are shown its own GPUs alone.
    """

    shows_gpus: bool = False

    def __call__(self, asked: Asked) -> Arrangement:
        """Return the config that the model's own becomes with its pin.

        Raises
        ------
        PinError
            The model's own config cannot be read, or it has none and needs one.
        """
        original = asked.record / CONFIG
        text = _read(original) if original.is_file() else minimal_config(asked.framework)
        config = read_config(text)
        ordinals = () if config.is_ensemble else asked.pin.ordinals
        placing = placing_of(_backend(config))
        match placing.way if ordinals else "instance_group":
            case "instance_group":
                return _arranged(asked, config, asked.pin.instance_group)
            case "gpu_device_ids":
                return _by_parameter(asked, config)
            case "told":
                return self._told(asked, config, placing)
            case way:
                assert_never(way)

    def _told(self, asked: Asked, config: Config, placing: Placing) -> Arrangement:
        """Return what a model gets whose code has the last word on where it runs."""
        ordinals = asked.pin.ordinals
        if placing.one_device and len(ordinals) > 1:
            return _arranged(asked, config, None, unenforced=placing.fault)
        if not self.shows_gpus or _backend(config) != "python":
            return _arranged(asked, config, asked.pin.instance_group, unenforced=placing.fault)
        fault = _unshowable(asked.folder, config)
        if fault is not None:
            return _arranged(asked, config, asked.pin.instance_group, unenforced=fault)
        # Its processes count from 0 what they are shown, and are told devices that they can count to.
        group = instance_group(range(len(ordinals)), instances=asked.pin.instances, on_cpu=False)
        return _arranged(asked, config, group, program=python_stub.stub(ordinals))


lay_out = TritonLayout()
"""The layout of a server whose python models see all of its GPUs."""


def _arranged(
    asked: Asked,
    config: Config,
    group: str | None,
    *,
    program: bytes | None = None,
    unenforced: str | None = None,
) -> Arrangement:
    placed = config.with_placement(name=asked.name, instance_group=group)
    files = {CONFIG: placed.encode()}
    if program is not None:
        files[python_stub.NAME] = program
    stale = program is None and python_stub.is_ours(asked.folder)
    return Arrangement(
        files=files,
        programs=frozenset(files) - {CONFIG},
        absent=frozenset({python_stub.NAME} if stale else ()),
        unenforced=unenforced,
    )


def _by_parameter(asked: Asked, config: Config) -> Arrangement:
    """Return what TensorRT-LLM gets: instances that are no GPU's, and the GPUs that all of them use."""
    placed = config.with_placement(
        name=asked.name,
        instance_group=instance_group((), instances=asked.pin.instances, on_cpu=True),
        parameters={"gpu_device_ids": ",".join(map(str, asked.pin.ordinals))},
    )
    return Arrangement(files={CONFIG: placed.encode()})


def _backend(config: Config) -> str | None:
    return config.value("backend") or BACKEND_OF_PLATFORM.get(config.value("platform") or "")


def _unshowable(folder: Path, config: Config) -> str | None:
    """Return why a python model's processes cannot be shown its GPUs alone; None where they can."""
    if python_stub.has_own(folder):
        return f"the model brings a {python_stub.NAME} of its own, in whose place its GPUs would be shown"
    if config.parameter("FORCE_CPU_ONLY_INPUT_TENSORS") == "no":
        return "the model takes tensors that lie on a GPU, so it has to count GPUs as its server does"
    return None


def _read(config: Path) -> str:
    # A token takes a hundred bytes while it is scanned, and some microseconds.
    if config.stat().st_size > _LARGEST:
        raise PinError("BadConfig", f"{CONFIG} is larger than {_LARGEST} bytes")
    return config.read_text(encoding="utf-8")

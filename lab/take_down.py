"""Taking a lab down: whatever of it there is, so that nothing is left."""

from __future__ import annotations

from lab import leftovers, providers
from lab.config import Config
from lab.errors import InputError, LabError
from lab.progress import Progress
from lab.state import LabState


def down(state: LabState, progress: Progress, *, forget: bool = False) -> bool:
    """End a lab's processes and machines and remove its folder.

    Works on a lab that is half made or half gone, and when its own notes are missing or broken; killed at any
    moment, it can be run again. The folder goes last: as long as anything is left, the lab is still listed.

    Args:
        state: the lab.
        progress: is shown every step.
        forget: leave as they are machines that cannot be given back, and remove the folder all the same.

    Returns:
        Whether there was such a lab.

    Raises:
        LabError: the provider could not end everything; the folder stays.
    """
    if not state.exists():
        if state.lock_file.exists():
            # What a command left that was killed before it made anything; letting go of a lock removes it.
            with state.lock(verb="lab down"):
                pass
        return False
    with state.lock(verb="lab down"):
        with progress.step(f"Ending what runs for {state.name}"):
            leftovers.end(state.dir)
        with progress.step("Taking the machines down"):
            try:
                _machines(state, progress)
            except LabError as error:
                if not forget:
                    raise
                progress.warn(str(error.what))
        with progress.step("Removing its files"):
            state.remove()
    return True


def _machines(state: LabState, progress: Progress) -> None:
    config: Config | None = None
    try:
        config = state.read_config()
    except InputError as broken:
        progress.warn(f"{broken.what} Every provider is asked for machines of that name.")
    if config is not None:
        providers.get(config, state).down()
        return
    # The lab's own notes do not say whose it is.
    for name in providers.PROVIDERS:
        try:
            providers.get(Config.model_validate({"name": state.name, "provider": name}), state).down()
        except (LabError, ImportError) as error:
            progress.warn(f"{name}: {error}")

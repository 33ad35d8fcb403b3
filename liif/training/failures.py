"""What a user is told of a training that failed, and where the step that diverged is recorded."""

from pathlib import Path

from liif.core.errors import UserError
from liif.core.files import to_json, write_atomically
from liif.core.memory import is_out_of_memory
from liif.data.loader import image_of
from liif.data.samplers import SampleSource
from liif.training.loop import FailedValidationError
from liif.training.step import DivergedError, HalfUpdatedError, compile_error


def explain(error: Exception, step: int, folder: Path, *, is_saved: bool) -> str | None:
    """Return what to tell the user of a step that failed; None for a fault of the program."""
    last = folder / "last.pt"
    saved = f"The run is saved as it was before that step ({last})." if is_saved else ""
    error = compile_error(error) or error
    if isinstance(error, HalfUpdatedError):
        return (
            f"step {step + 1}: out of memory while the weights were updated ({error}). They are "
            f"not saved: the same command resumes from {last}"
        )
    if isinstance(error, FailedValidationError):
        remedy = "" if isinstance(error.__cause__, UserError) else "; lower valid.crop"
        return f"validation of step {step}: {error}{remedy}\nThe run is saved ({last})."
    if isinstance(error, UserError):
        return f"step {step + 1}: {error}\n{saved}"
    if "not implemented for 'Half'" in str(error):
        return (
            f"step {step + 1}: precision: fp16 is not supported by this device and version of "
            f"PyTorch ({error}); use bf16. {saved}"
        )
    if is_out_of_memory(error):
        is_host = isinstance(error, MemoryError) or "allocate memory" in str(error)
        place = "memory" if is_host else "GPU memory"
        return (
            f"step {step + 1}: out of {place}. {saved} Raise accumulate (the same numbers in "
            "smaller micro-batches), or lower batch_size, train_data.patch, train_data.queries or "
            "model.encoder.width, or try precision: bf16."
        )
    if isinstance(error, DivergedError):
        return (
            f"step {step + 1}: {error}: not finite. {saved} Its samples are named in "
            f"{folder / 'diverged.json'}, and the same command repeats the step. Try a lower "
            "learning_rate, clip_gradient: 1, or precision: float32, in a branch: --name NEW "
            f"--resume {last} --set learning_rate=…"
        )
    return None


def write_samples(
    folder: Path, source: SampleSource, seed: int, batch_size: int, step: int
) -> None:
    """Write diverged.json: which samples a step learned from, and the images they were cut from."""
    numbers = range(step * batch_size, (step + 1) * batch_size)
    samples = [{"sample": n, "image": source.name(image_of(source, seed, n))} for n in numbers]
    text = to_json({"step": step + 1, "seed": seed, "samples": samples}, indent=1)
    write_atomically(folder / "diverged.json", text.encode())
